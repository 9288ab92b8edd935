"""Whole training steps by OpenRLHF as it is and as we patch it, on the same model and prompts.

    python benchmarks/openrlhf_step.py --work out/step --out openrlhf_step.json

Both sides are the real stack (Ray, DeepSpeed, vLLM) in CPU mode, from the same options, in turns
(A B B A ...); the first is OpenRLHF's own controller, training process, engine and executor with
the CPU stand-ins alone and the same measure as reward. The model cannot end an answer, so every
output has the same length on both sides. AEPO decides in every step; its thresholds let it mask
nothing, as masked sequences would be left out and the update cost less. A step is the time from the
end of one to the end of the next: rollouts, rewards, forward, update, weights to vLLM. CPU seconds
are those of all processes of a run. Needs OpenRLHF's packages (make openrlhf-cpu); about a quarter
of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import runpy
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from paired import machine, write_results
from scipy.stats import ttest_ind
from transformers import LlamaConfig, LlamaForCausalLM

from longspan.harness.prompts import render_prompt
from longspan.trainers.local.checkpoint import CHECKPOINTS, load_tokenizer
from longspan.trainers.local.stage import StageRun
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.openrlhf import cpu
from longspan.trainers.openrlhf.arguments import Places, command_line, openrlhf_options
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.openrlhf.run_file import RUN_VARIABLE
from longspan.trainers.recipe import parse_recipe

SIDES = ("openrlhf", "patched")
GROUP_SIZE, ROWS = 16, 4
"""Rollouts of a sample, and sequences of a forward."""
ANSWER_MARK = "<|assistant|>"
"""Stands before the answer in nano's chat template."""
PROMPT_WORDS = 100
TARGET_WORDS = 20
"""So short that difflib takes no character for junk: any answer shares some, no two as many."""
WINDOW = 512
MIN_STEP_SECONDS = 20.0
"""Of a step that overhead is measured on."""
SHAPE = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
}
REWARD = """from longspan.harness.scoring.similarity import sequence_ratio


def reward_func(queries, prompts, labels):
    answer = queries[0].rpartition("%s")[2]
    return {"rewards": sequence_ratio(answer, labels[0])}
"""
SPEC = {
    "name": "overhead",
    "description": "Random words, scored by similarity: any answer earns something",
    "dataset": {
        "files": ["overhead.jsonl"],
        "fields": {name: name for name in ("id", "context", "question", "target")},
    },
    "question": "{{ question }}",
    "instructions": "",
    "scorer": "sequence_ratio",
    "scorer_options": {"scoring": "compat"},  # counts an output that was cut off, as reward.py does
}
TIMINGS = {
    "openrlhf": {
        "rollouts": "timing/generation",
        "forward and weighing": "timing/make_experience",
        "update": "timing/ppo_train",
        "weights to vLLM": "timing/broadcast",
    },
    "patched": {
        "rollouts": "rollout_seconds",
        "forward": "measure_seconds",
        "weighing": "weigh_seconds",
        "weights to vLLM": "transfer_seconds",
    },
}
"""Parts of a step by the names that a side has for them."""


def main() -> None:
    """Runs both sides in turns and prints what a step takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder of the runs.")
    parser.add_argument("--steps", type=int, default=4, help="Of a run; the first is not counted.")
    parser.add_argument("--runs", type=int, default=3, help="Of each side.")
    parser.add_argument("--samples", type=int, default=1, help="Of a step.")
    parser.add_argument("--output-tokens", type=int, default=384)
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    options = parser.parse_args()
    work = options.work.resolve()
    prepare(work, options)
    turns = [SIDES[(number + number // 2) % 2] for number in range(2 * options.runs)]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for side in turns:
        runs[side].append(measure(side, work, options))
        print(f"{side:9} {runs[side][-1]}", flush=True)
    asked = {name: value for name, value in vars(options).items() if name not in ("work", "out")}
    results: dict[str, Any] = {"machine": machine("cpu", 1), "options": asked, "runs": runs}
    for unit in ("wall_seconds", "cpu_seconds"):
        results[unit] = compared(*([x for run in runs[side] for x in run[unit]] for side in SIDES))
        print(f"{unit} of a step: {results[unit]}")
    if results["wall_seconds"]["openrlhf"] < MIN_STEP_SECONDS:
        print(f"steps are shorter than {MIN_STEP_SECONDS:g} s; take more --output-tokens")
    write_results(options.out, results)


def compared(plain: list[float], patched: list[float]) -> dict[str, float]:
    """Returns the means of both sides' steps, and what the patch adds in percent with 95% limits.

    Welch's interval of the difference of means, over the mean of OpenRLHF's steps: it takes steps
    of one run as independent.
    """
    means = statistics.mean(plain), statistics.mean(patched)
    low, high = ttest_ind(patched, plain, equal_var=False).confidence_interval(0.95)
    added = (means[1] - means[0], low, high)
    names = ("added_percent", "added_percent_low", "added_percent_high")
    percents = [round(100 * float(one) / means[0], 2) for one in added]
    return {"openrlhf": round(means[0], 2), "patched": round(means[1], 2),
            **dict(zip(names, percents, strict=True))}  # fmt: skip


def prepare(work: Path, options: argparse.Namespace) -> None:
    """Writes model, task, prompts, reward and recipe."""
    (work / "tasks").mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(CHECKPOINTS / "nano")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=WINDOW,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        **SHAPE,
    )
    model = LlamaForCausalLM(config)
    never_ends(model)
    model.to(torch.bfloat16).save_pretrained(work / "start")
    tokenizer.save_pretrained(work / "start")
    draw = random.Random(0)
    words = [word for word in tokenizer.get_vocab() if word.isalpha() and word.isascii()]
    rows = [
        {
            "id": f"s{number}",
            "context": " ".join(draw.choices(words, k=PROMPT_WORDS)),
            "question": "?",
            "target": " ".join(draw.choices(words, k=TARGET_WORDS)),
        }
        for number in range(options.samples * options.steps)
    ]
    write_lines(work / "tasks" / "overhead.jsonl", rows)
    texts = [render_prompt(row["context"], row["question"], "") for row in rows]
    prompts = [
        {"prompt": [{"role": "user", "content": text}], "label": row["target"]}
        for text, row in zip(texts, rows, strict=True)
    ]
    write_lines(work / "prompts.jsonl", prompts)
    (work / "tasks" / "overhead.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    (work / "reward.py").write_text(REWARD % ANSWER_MARK)
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe(work, options), sort_keys=False))


def never_ends(model: LlamaForCausalLM) -> None:
    """Makes the end of an answer impossible: one hidden unit is always on and speaks against it."""
    end = model.config.eos_token_id
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0  # the other units are of the order of 0.02
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[end] = 0.0
        model.lm_head.weight[end, 0] = -100.0


def recipe(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the recipe of one stage: group advantages, AEPO, one update of a step."""
    longest = prompt_tokens(work) + options.output_tokens
    return {
        "name": "overhead",
        "checkpoint": str(work / "start"),
        "state_every_steps": 1000,
        "board": False,
        "stages": [
            {
                "name": "step",
                "tasks": [{"task": "overhead"}],
                "num_steps": options.steps,
                "sampling": {
                    "batch_size": options.samples,
                    "group_size": GROUP_SIZE,
                    "temperature": 1.0,
                    "top_p": 1.0,
                    "max_output_tokens": options.output_tokens,
                    "balanced": False,
                },
                "objective": {"deviation": "group", "aepo": {"low": 0.0, "high": 100.0}},
                "optimizer": {"learning_rate": 1e-6, "micro_batch_tokens": ROWS * longest},
            }
        ],
    }


def prompt_tokens(work: Path) -> int:
    """Returns the tokens of the longest prompt in its chat template."""
    tokenizer = load_tokenizer(work / "start")
    prompts = [json.loads(line)["prompt"] for line in (work / "prompts.jsonl").open()]
    return max(
        len(tokenizer.apply_chat_template(one, add_generation_prompt=True)["input_ids"])
        for one in prompts
    )


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measure(side: str, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Returns what the steps of a run take, the first one left out."""
    log = work / f"{side}.log"
    environment = {**os.environ, "LONGSPAN_TASKS": str(work / "tasks")}
    command = patched_command(work) if side == "patched" else plain_command(work, options)
    marks: list[tuple[float, float]] = []
    shutil.rmtree(work / side, ignore_errors=True)  # steps of an earlier run
    with log.open("w") as output:
        run = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    watched = psutil.Process(run.pid)
    try:
        while run.poll() is None:
            done = num_steps(side, work)
            if done > len(marks) + 1:
                raise SystemExit(f"{side}: two steps ended within a quarter of a second; see {log}")
            if done > len(marks):
                marks.append((time.perf_counter(), cpu_of(watched)))
            time.sleep(0.25)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGTERM)
    if run.returncode or len(marks) < options.steps:
        raise SystemExit(f"{side} ended with {run.returncode} after {len(marks)} steps; see {log}")
    pairs = list(zip(marks, marks[1:], strict=False))
    walls = [round(after[0] - before[0], 2) for before, after in pairs]
    cpus = [round(after[1] - before[1], 2) for before, after in pairs]
    return {"wall_seconds": walls, "cpu_seconds": cpus, **reported(side, work)}


def patched_command(work: Path) -> list[str]:
    """Returns the command of the patched side."""
    return [
        *(sys.executable, "-m", "longspan.harness.cli", "train", str(work / "recipe.yaml")),
        *("--out", str(work / "patched"), "--engine", "openrlhf", "--cluster", "cpu"),
        "--no-resume",
    ]


def plain_command(work: Path, options: argparse.Namespace) -> list[str]:
    """Returns the command of OpenRLHF's side: the same options, its own data and reward."""
    stage = parse_recipe(recipe(work, options), "benchmark").stages[0]
    run = StageRun(stage=stage, folder=work, start=str(work / "start"), model=ModelSettings())
    places = Places(work / "start", work / "states", work / "plain")
    found = openrlhf_options(run, load_cluster("cpu"), places, WINDOW)  # type: ignore[arg-type]
    del found["train.agent_func_path"]
    found |= {
        "ckpt.load_enable": False,
        "ckpt.save_steps": -1,
        "train.batch_size": options.samples * GROUP_SIZE,
        "train.micro_batch_size": ROWS,
        "rollout.micro_batch_size": ROWS,
        "data.prompt_dataset": str(work / "prompts.jsonl"),
        "data.input_key": "prompt",
        "data.label_key": "label",
        "data.apply_chat_template": True,
        "reward.remote_url": str(work / "reward.py"),
    }
    return [sys.executable, __file__, "--plain", *command_line(found)]


def num_steps(side: str, work: Path) -> int:
    """Returns how many steps a side has finished."""
    if side == "patched":
        path = work / "patched" / "stages" / "step" / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0
    return len(
        re.findall(r"Global step \d+: ", (work / "openrlhf.log").read_text("utf-8", "replace"))
    )


def reported(side: str, work: Path) -> dict[str, Any]:
    """Returns what a side says of its steps after the first: outputs, and seconds of their parts.

    OpenRLHF writes the length of its outputs and its timings as `'name': value`, patched runs write
    metrics.
    """
    if side == "patched":
        lines = (work / "patched" / "stages" / "step" / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines][1:]
        rest = {
            "groups_that_took_part": [row["num_live_groups"] for row in rows],
            "aepo_decisions": [row["aepo_reason"] for row in rows],
            "update": statistics.median(
                row["train_seconds"] - row["measure_seconds"] - row["weigh_seconds"]
                - row["transfer_seconds"]
                for row in rows
            ),
        }  # fmt: skip
        tokens = [row["response_tokens"] for row in rows]
        rewards = [row["reward_mean"] for row in rows]
    else:
        log = (work / "openrlhf.log").read_text("utf-8", "replace")
        lines = re.findall(r"Global step \d+: (.*)", log)[1:]
        rows = [
            {name: float(value) for name, value in re.findall(r"'([\w/]+)': ([-\d.e]+)", line)}
            for line in lines
        ]
        rest = {}
        tokens = [row["rollout/response_length_mean"] for row in rows]
        rewards = [row["rollout/reward_mean"] for row in rows]
    parts = {
        part: round(statistics.median(row[name] for row in rows), 3)
        for part, name in TIMINGS[side].items()
    }
    if "update" in rest:
        parts["update"] = round(rest.pop("update"), 3)
    means = {"output_tokens": statistics.mean(tokens), "reward": statistics.mean(rewards)}
    return {**means, "seconds_of_parts": parts, **rest}


def cpu_of(process: psutil.Process) -> float:
    """Returns the CPU seconds of a process and all that it started and that still run."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def run_unpatched() -> None:
    """The driver of OpenRLHF's side: its own classes with the CPU stand-ins alone."""
    os.environ.update({**cpu.ENVIRONMENT, **os.environ, RUN_VARIABLE: "none"})
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # servers on 127.0.0.1 only
    cpu.stand_in()
    import ray
    from openrlhf.trainer.ray import ppo_actor, vllm_engine

    from longspan.trainers.openrlhf.contract import plain
    from longspan.trainers.openrlhf.run import _cluster

    class Actor(plain(ppo_actor.PolicyModelActor)):  # type: ignore[misc]
        def _setup_distributed(self, strategy: Any) -> None:
            cpu.adapt_training()
            super()._setup_distributed(strategy)

    class Engine(plain(vllm_engine.RolloutRayActor)):  # type: ignore[misc]
        async def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs["worker_extension_cls"] = cpu.WORKER_EXTENSION
            kwargs |= {"enable_chunked_prefill": False, "max_num_batched_tokens": 4096}
            await super().__init__(*args, **kwargs)

    with _cluster(load_cluster("cpu")):
        ppo_actor.PolicyModelActor = ray.remote(num_gpus=1)(Actor)
        vllm_engine.RolloutRayActor = ray.remote(Engine)
        sys.argv = ["train_ppo_ray", *sys.argv[2:]]
        runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        run_unpatched()
    else:
        main()
