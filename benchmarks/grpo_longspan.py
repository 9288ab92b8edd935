"""GRPO steps of the embedded engine on a workload; its last line is what a step took, as JSON.

    python benchmarks/grpo_longspan.py WORKLOAD.json [--without rollout|prefix|loss]
    python benchmarks/grpo_longspan.py WORKLOAD.json --taskset DIR

Run by `engine_vs_trl.py`. A step is what TRL's trainer does in one: sample every prompt G times,
reward, update. `--without` does one part as it is commonly done: sampling by transformers'
`generate` with every rollout in a row of its own, an update without shared prefixes, a loss over
all logits at once. With `--taskset` the step is the whole trainer's: Inspect runs the task's solver
and scorer for every rollout.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from grpo_workload import Workload, summary
from paired import Watch
from shared_prefix import rollout, unshared

from longspan.trainers.batch import PackedItem, build_batch
from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.local.engine import Engine, GenerationRequest
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.output import output_logits
from longspan.trainers.local.prefix import packed_target_hidden
from longspan.trainers.local.stage import StageRun
from longspan.trainers.local.trainer import train_stage
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings
from longspan.trainers.stages import TaskSource, TrainStage
from longspan.trainers.streamed_loss import ChunkLoss

PARTS = ("rollout", "prefix", "loss")

Sampler = Callable[[list[GenerationRequest]], list[tuple[int, ...]]]


def main() -> None:
    """Trains the workload's steps and prints the mean step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workload")
    parser.add_argument("--without", choices=PARTS)
    parser.add_argument("--taskset", type=Path)
    options = parser.parse_args()
    workload = Workload.load(options.workload)
    torch.set_num_threads(workload.threads)
    if options.taskset:
        print(json.dumps(train_in_environment(workload, options.taskset)))
    else:
        print(json.dumps(train(workload, options.without)))


def train(workload: Workload, without: str | None) -> dict[str, float]:
    """Returns what a step took on average."""
    engine = Engine.load(workload.checkpoint, device=workload.device, dtype=workload.dtype)
    kind = WholeLogitsLearner if without == "loss" else Learner
    optimizer = OptimizerSettings(learning_rate=workload.learning_rate)
    learner = kind(engine.model, optimizer, workload.temperature)
    objective = Objective(ObjectiveSettings(deviation="group"))
    sample: Sampler = engine_sampler(engine)
    if without == "rollout":
        sample = generate_sampler(engine)
    watch = Watch(engine.device)
    steps = []
    for step in range(workload.num_steps + 1):
        sampled = sample(requests(workload, step))
        texts = engine.tokenizer.batch_decode(sampled, skip_special_tokens=True)
        rollouts = []
        for number, (ids, text) in enumerate(zip(sampled, texts, strict=True)):
            place, epoch = divmod(number, workload.group_size)
            prompt = workload.prompts[place]
            reward = workload.reward_of(prompt.answer, text, list(ids))
            rollouts.append(rollout(f"{place:04d}", epoch, tuple(prompt.ids), ids, reward))
        rollout_seconds, rollout_cpu = watch.lap()
        batch = build_batch(rollouts, merge_identical=without != "prefix")
        learner.update(unshared(batch) if without == "prefix" else batch, objective, step)
        update_seconds, update_cpu = watch.lap()
        steps.append(
            {
                "seconds": rollout_seconds + update_seconds,
                "cpu_seconds": rollout_cpu + update_cpu,
                "rollout_cpu_seconds": rollout_cpu,
                "update_cpu_seconds": update_cpu,
                "sampled_tokens": sum(map(len, sampled)),
                "reward": sum(one.reward or 0.0 for one in rollouts) / len(rollouts),
            }
        )
    return summary(steps)


def requests(workload: Workload, step: int) -> list[GenerationRequest]:
    """Returns a step's requests, the rollouts of a prompt next to each other."""
    return [
        GenerationRequest(
            prompt_ids=tuple(prompt.ids),
            max_new_tokens=workload.max_new_tokens,
            temperature=workload.temperature,
            top_p=1.0,
            seed=(step * len(workload.prompts) + place) * workload.group_size + number,
        )
        for place, prompt in enumerate(workload.prompts)
        for number in range(workload.group_size)
    ]


def engine_sampler(engine: Engine) -> Sampler:
    """Returns the engine's own sampling."""
    return lambda wanted: [one.token_ids for one in engine.generate(wanted)]


def generate_sampler(engine: Engine) -> Sampler:
    """Returns sampling by transformers: one batch, padded on the left, a row per rollout."""

    def sample(wanted: list[GenerationRequest]) -> list[tuple[int, ...]]:
        width = max(len(request.prompt_ids) for request in wanted)
        gaps = [width - len(request.prompt_ids) for request in wanted]
        ids = [[0] * gap + list(r.prompt_ids) for gap, r in zip(gaps, wanted, strict=True)]
        shown = [[0] * gap + [1] * (width - gap) for gap in gaps]
        first = wanted[0]
        with torch.inference_mode():
            found = engine.model.generate(
                input_ids=torch.tensor(ids, device=engine.device),
                attention_mask=torch.tensor(shown, device=engine.device),
                do_sample=True,
                temperature=first.temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=first.max_new_tokens,
            )
        return [_until_end(row, engine.end_ids) for row in found[:, width:].tolist()]

    return sample


def _until_end(ids: list[int], ends: frozenset[int]) -> tuple[int, ...]:
    """Returns the ids up to and with the first that ends a completion."""
    last = next((place for place, one in enumerate(ids) if one in ends), len(ids))
    return tuple(ids[: last + 1])


class WholeLogitsLearner(Learner):
    """Takes the loss over all logits of a micro-batch at once, by autograd."""

    def _loss(
        self, items: Sequence[PackedItem], loss_of: ChunkLoss
    ) -> tuple[torch.Tensor, TokenStatistics]:
        found = packed_target_hidden(self.model, [(item.prefix, item.branches) for item in items])
        log_p = (output_logits(self.model, found.hidden).float() / self.temperature).log_softmax(-1)
        logprobs = log_p.gather(-1, found.target_ids[:, None])[:, 0]
        with torch.no_grad():
            entropies = -(log_p.exp() * log_p).sum(-1)
        return loss_of(logprobs, slice(None)), TokenStatistics(logprobs, entropies)


def train_in_environment(workload: Workload, taskset: Path) -> dict[str, float]:
    """Returns what a step of the whole trainer took on average, on a task set's train split."""
    num_steps = workload.num_steps + 1
    stage = TrainStage(
        name="benchmark",
        num_steps=num_steps,
        sampling={
            "batch_size": len(workload.prompts),
            "group_size": workload.group_size,
            "balanced": False,
            "temperature": workload.temperature,
            "top_p": 1.0,
            "max_output_tokens": workload.max_new_tokens,
        },
        objective={"deviation": "group"},
        optimizer={"learning_rate": workload.learning_rate},
    )
    source = TaskSource(task="longspan/taskset", args={"path": str(taskset), "split": "train"})
    with tempfile.TemporaryDirectory() as folder:
        run = StageRun(
            stage=stage,
            folder=Path(folder) / "stage",
            start=workload.checkpoint,
            sources=(source,),
            state_every_steps=num_steps,
            quiet=True,
        )
        train_stage(run)
        lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return summary([_step(json.loads(line)) for line in lines])


def _step(row: dict[str, Any]) -> dict[str, float]:
    """Returns a step of the trainer in the terms of `train`."""
    return {
        "seconds": row["rollout_seconds"] + row["train_seconds"],
        "cpu_seconds": row["rollout_cpu_seconds"] + row["train_cpu_seconds"],
        "rollout_cpu_seconds": row["rollout_cpu_seconds"],
        "update_cpu_seconds": row["train_cpu_seconds"],
        "sampled_tokens": row["sampled_tokens"],
        "reward": row["reward_mean"],
    }


if __name__ == "__main__":
    main()
