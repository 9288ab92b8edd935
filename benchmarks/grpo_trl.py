"""GRPO steps of TRL's trainer on a workload; its last line is what a step took, as JSON.

    TRL_PYTHON benchmarks/grpo_trl.py WORKLOAD.json --micro-batch 64

Run by `engine_vs_trl.py` with an interpreter that has TRL. Settings for speed: no reference model
(beta 0), no gradient checkpointing, all rollouts of a step generated in one call, no logging and no
saving. A step is the time between two ends of steps, so that it holds all that the trainer does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from grpo_workload import Workload, summary
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Clock(TrainerCallback):
    """Notes when steps end."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def note(self) -> None:
        """Notes wall clock and CPU time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append((time.perf_counter(), time.process_time()))

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Called by the trainer."""
        self.note()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by the trainer."""
        self.note()


def main() -> None:
    """Trains the workload's steps and prints the mean step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workload")
    parser.add_argument("--micro-batch", type=int, default=64)
    options = parser.parse_args()
    workload = Workload.load(options.workload)
    torch.set_num_threads(workload.threads)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(train(workload, options.micro_batch, folder)))


def train(workload: Workload, micro_batch: int, folder: str) -> dict[str, float]:
    """Returns what a step took on average.

    Raises:
        SystemExit: TRL reads other token ids than the workload's.
    """
    tokenizer = AutoTokenizer.from_pretrained(workload.checkpoint)
    for prompt in workload.prompts:
        if tokenizer(prompt.text)["input_ids"] != prompt.ids:
            raise SystemExit(f"the tokenizer reads other ids than the workload's: {prompt.text!r}")
    answers = {prompt.text: prompt.answer for prompt in workload.prompts}
    sampled: list[int] = []
    rewards: list[float] = []

    def reward(
        prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        earned = [
            workload.reward_of(answers[prompt], text, ids)
            for prompt, text, ids in zip(prompts, completions, completion_ids, strict=True)
        ]
        sampled.append(sum(map(len, completion_ids)))
        rewards.append(sum(earned) / len(earned))
        return earned

    num_rollouts = len(workload.prompts) * workload.group_size
    clock = Clock()
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            workload.checkpoint, dtype=getattr(torch, workload.dtype)
        ),
        processing_class=tokenizer,
        reward_funcs=reward,
        train_dataset=Dataset.from_list([{"prompt": one.text} for one in workload.prompts]),
        callbacks=[clock],
        args=GRPOConfig(
            output_dir=folder,
            use_cpu=workload.device == "cpu",
            bf16=workload.dtype == "bfloat16",
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=num_rollouts // micro_batch,
            num_generations=workload.group_size,
            max_completion_length=workload.max_new_tokens,
            temperature=workload.temperature,
            learning_rate=workload.learning_rate,
            max_steps=workload.num_steps + 1,
            beta=0.0,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
    )
    trainer.train()
    laps = zip(clock.times[1:], clock.times, strict=False)
    steps = [
        {
            "seconds": after[0] - before[0],
            "cpu_seconds": after[1] - before[1],
            "sampled_tokens": num_sampled,
            "reward": mean_reward,
        }
        for (after, before), num_sampled, mean_reward in zip(laps, sampled, rewards, strict=True)
    ]
    return summary(steps)


if __name__ == "__main__":
    main()
