"""Rollouts per second of GRPO steps, end to end: the embedded engine and TRL's GRPOTrainer.

    python -m venv trl && trl/bin/pip install torch==2.13.0 -c constraints.txt
    trl/bin/pip install trl==1.16.0 -c constraints.txt
    python benchmarks/engine_vs_trl.py --trl-python trl/bin/python --out engine_vs_trl.json

Both train the packaged checkpoint on the same prompts of a synthesized task set, with the same
group size, limit, temperature, learning rate and number of threads; no reference model. Processes
take turns. Workloads:

- `task`: the embedded policy's task as it is: 24 prompts of about 145 tokens, 8 rollouts each that
  end by themselves; the reward is whether the gold answer is in the text;
- `fixed`: the same with the end token moved to one that the policy does not sample, so that every
  rollout has 32 tokens; the reward is the parity of the ids, which leaves no group without signal;
- `long`: 8 prompts of about 1,024 tokens (beyond the window that the policy was trained on, so its
  text means nothing), otherwise as `fixed`.

`longspan` is the engine with the same reward function as TRL; `trainer` is the whole trainer, in
which Inspect runs the task's solver and scorer; `without ...` are the engine with one part done as
it is commonly done (see `grpo_longspan.py`). `--shape` trains a larger model of random weights, on
the workloads in which no rollout ends by itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from grpo_longspan import PARTS
from grpo_workload import Prompt, Workload
from paired import Runs, alternate, machine, medians, write_results
from shared_prefix import SHAPES, shaped_model

from longspan.harness.environment import Environment
from longspan.harness.resolve import registered_task
from longspan.trainers.local.checkpoint import find_checkpoint
from longspan.trainers.local.engine import Engine
from longspan.trainers.local.provider import register_policy

HERE = Path(__file__).parent
WINDOW = 2048
"""Of the copies of the checkpoint that are trained; rotary positions go on beyond its own."""
NEVER_SAMPLED = "<s>"
"""End token of workloads in which no rollout ends by itself."""


class Kind(NamedTuple):
    """A kind of workload: how many prompts, document tokens of each, and whether rollouts end."""

    num_prompts: int
    tokens: int
    ends: bool


KINDS = {
    "task": Kind(24, 131, True),
    "fixed": Kind(24, 131, False),
    "long": Kind(8, 1008, False),
}


def main() -> None:
    """Measures every workload and prints what it took."""
    options = parse()
    options.work.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in vars(options).items()}
    where = machine(options.device, options.threads)
    print(f"{where['device']}, {options.threads} threads of {where['processor']}, {where['date']}")
    results = {"machine": where, "settings": settings, "workloads": {}}
    for name in options.workloads:
        workload, taskset = prepare(name, options)
        path = options.work / f"{name}.json"
        workload.save(path)
        own = [sys.executable, str(HERE / "grpo_longspan.py"), str(path)]
        commands = {
            "longspan": own,
            "trl": [
                str(options.trl_python),
                str(HERE / "grpo_trl.py"),
                *(str(path), "--micro-batch", str(options.trl_micro_batch)),
            ],
            "trainer": [*own, "--taskset", str(taskset)],
            **{f"without {part}": [*own, "--without", part] for part in PARTS},
        }
        wanted = [side for side in commands if side in options.sides]
        runs = alternate(commands.__getitem__, wanted, options.repeats)
        results["workloads"][name] = report(name, workload, runs)
        write_results(options.out, results)


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    sides = ("longspan", "trl", "trainer", *(f"without {part}" for part in PARTS))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trl-python", type=Path, help="Interpreter that has TRL.")
    parser.add_argument("--workloads", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--sides", nargs="+", choices=sides, default=list(sides))
    parser.add_argument("--shape", choices=tuple(SHAPES), default="nano")
    parser.add_argument("--trl-micro-batch", type=int, default=64)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="Measured steps of a process.")
    parser.add_argument("--repeats", type=int, default=3, help="Processes of a side.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--work", type=Path, default=Path("out/engine_vs_trl"))
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    options = parser.parse_args()
    if options.shape != "nano" and "task" in options.workloads:
        parser.error(f"random weights of shape {options.shape} solve no task: use fixed and long")
    if "trl" in options.sides and options.trl_python is None:
        parser.error("name an interpreter that has TRL (--trl-python), or leave trl out (--sides)")
    return options


def prepare(name: str, options: argparse.Namespace) -> tuple[Workload, Path]:
    """Returns a workload and the task set that its prompts are of; what is there is used again."""
    kind = KINDS[name]
    taskset = options.work / f"taskset-{kind.tokens}"
    # Eight of ten samples are the train split.
    size = ("--num-samples", str(kind.num_prompts * 10 // 8), "--tokens", str(kind.tokens))
    command = str(Path(sys.executable).parent / "longspan")
    synth = [command, "synth", "--out", str(taskset), "--tokenizer", "nano", "--quiet", *size]
    subprocess.run(synth, check=True)
    checkpoint = options.work / f"{options.shape}-{'ends' if kind.ends else 'goes-on'}"
    copy_checkpoint(checkpoint, kind.ends)
    if options.shape != "nano":
        random_weights(checkpoint, options)
    workload = Workload(
        checkpoint=str(checkpoint),
        prompts=task_prompts(taskset, checkpoint, kind.num_prompts),
        group_size=options.group_size,
        max_new_tokens=options.max_new_tokens,
        reward="answer" if kind.ends else "parity",
        temperature=1.0,
        learning_rate=1e-6,
        num_steps=options.steps,
        threads=options.threads,
        device=options.device,
        dtype=options.dtype,
    )
    return workload, taskset


def copy_checkpoint(folder: Path, ends: bool) -> None:
    """Writes the packaged checkpoint with a larger window and, unless it `ends`, another end."""
    shutil.copytree(find_checkpoint("nano"), folder, dirs_exist_ok=True)
    _edit(folder / "config.json", {"max_position_embeddings": WINDOW})
    if ends:
        return
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    end_id = vocabulary["vocab"][NEVER_SAMPLED]
    for file in ("config.json", "generation_config.json"):
        _edit(folder / file, {"eos_token_id": end_id})
    _edit(folder / "tokenizer_config.json", {"eos_token": NEVER_SAMPLED})


def random_weights(folder: Path, options: argparse.Namespace) -> None:
    """Replaces the model of a checkpoint by a random one of a shape; the tokenizer stays."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = shaped_model(SHAPES[options.shape], WINDOW, getattr(torch, options.dtype))
    for own in (model.config, model.generation_config):
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(own, key, config[key])
    model.save_pretrained(folder)


def _edit(path: Path, changes: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}, indent=2) + "\n", encoding="utf-8")


def task_prompts(taskset: Path, checkpoint: Path, num_prompts: int) -> list[Prompt]:
    """Returns what the policy is shown of the train split's samples, by the task's own solver."""
    engine = Engine.load(checkpoint)
    register_policy("prompts", engine)
    task = registered_task("longspan/taskset", path=str(taskset), split="train")
    samples = list(task.dataset)[:num_prompts]
    environment = Environment([task], "longspan-rl/prompts")
    (name,) = environment.tasks
    shown = {
        one.sample_id: one.turns[0].prompt_ids
        for one in environment.rollouts({name: samples}, 1, require_reward=False)
    }
    prompts = []
    for sample in samples:
        ids = list(shown[str(sample.id)])
        text = engine.tokenizer.decode(ids)
        prompts.append(Prompt(ids, text, str(sample.target)))
    return prompts


def report(name: str, workload: Workload, runs: Runs) -> dict[str, Any]:
    """Prints what the sides took and how much faster the engine is; returns all of it."""
    num_rollouts = len(workload.prompts) * workload.group_size
    lengths = [len(prompt.ids) for prompt in workload.prompts]
    print(
        f"\n{name}: {len(lengths)} prompts of {min(lengths)} to {max(lengths)} tokens (mean "
        f"{statistics.mean(lengths):.0f}), {workload.group_size} rollouts each, at most "
        f"{workload.max_new_tokens} tokens, {workload.dtype}"
    )
    ratios = {}
    for side, own in runs.items():
        found = medians(own)
        pairs = list(zip(own, runs.get("longspan", own), strict=True))
        ratios[side] = {
            key: statistics.median(other[key] / ours[key] for other, ours in pairs)
            for key in ("seconds", "cpu_seconds")
        }
        print(
            f"{side:15} {found['seconds']:7.2f} s a step {found['cpu_seconds']:7.2f} CPU s "
            f"{num_rollouts / found['seconds']:7.1f} rollouts/s "
            f"{found['sampled_tokens']:6.0f} tokens, reward {found['reward']:.2f}; takes "
            f"{ratios[side]['seconds']:.2f}x as long ({ratios[side]['cpu_seconds']:.2f}x CPU)"
        )
    return {
        "num_rollouts": num_rollouts,
        "prompt_tokens": lengths,
        "runs": runs,
        "times_of_longspan": ratios,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
