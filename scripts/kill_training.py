"""Shows that training killed at random moments ends with the weights of an undisturbed run.

    python scripts/kill_training.py --out out/kills --kills 10 --seed 0

Trains a recipe of two small stages (full context, then the memory agent) once undisturbed, and
again with SIGKILL at random points, each time continued by the same command. The points are spread
over the run: a step is drawn, and a moment in or shortly after it. Exits 1 where the final weights
(SHA-256 of the file) or the metrics, seconds left out, differ, or a kill came too late.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

STEP_LIMIT_SECONDS = 3600


def stage(name: str, num_steps: int, **more: Any) -> dict[str, Any]:
    """Returns a stage of a recipe."""
    return {
        "name": name,
        "tasks": [{"task": "longspan/taskset"}],
        "num_steps": num_steps,
        "sampling": {"batch_size": 5, "group_size": 4, "temperature": 1.0, "max_output_tokens": 32},
        "objective": {
            "aepo": {"low": 0.9, "high": 1.0, "thresholds": "relative", "reference_steps": 2}
        },
        "optimizer": {"learning_rate": 2.0e-4},
        **more,
    }


def recipe(num_steps: int) -> dict[str, Any]:
    """Returns the recipe that is killed."""
    agent = {"chunk_tokens": 64, "layout": "chunk_first"}
    return {
        "name": "kills",
        "description": "Two stages of a few seconds each.",
        "checkpoint": "nano",
        "stages": [
            stage("full_context", num_steps),
            stage("memory", num_steps, solver="longspan/memory_agent", solver_args=agent),
        ],
    }


class Training:
    """Runs of one recipe over one task set."""

    def __init__(self, folder: Path, num_steps: int) -> None:
        self.folder, self.num_steps = folder, num_steps
        self.recipe, self.tasks = folder / "recipe.yaml", folder / "taskset"
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe.write_text(yaml.safe_dump(recipe(num_steps)), encoding="utf-8")
        made = ("--out", str(self.tasks), "--tokens", "176", "--tokenizer", "nano")
        self._check(self._start("synth", *made, "--num-samples", "60"))

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """Returns a run under way, new or continued."""
        return self._start("train", str(self.recipe), "--tasks", str(self.tasks), "--out", str(out))

    def finish(self, out: Path) -> float:
        """Runs to the end and returns the seconds it took."""
        started = time.monotonic()
        self._check(self.start(out))
        return time.monotonic() - started

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = str(Path(sys.executable).parent / "longspan")
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen([command, *arguments], stdout=log, stderr=subprocess.STDOUT)

    def _check(self, process: subprocess.Popen[bytes]) -> None:
        if code := process.wait(STEP_LIMIT_SECONDS):
            raise SystemExit(f"longspan ended with {code}; see {self.folder / 'log.txt'}")


def fingerprint(out: Path) -> dict[str, str]:
    """Returns hashes of a finished run: its final weights, and its metrics without seconds."""
    weights = (out / "final" / "model.safetensors").read_bytes()
    rows = [
        {key: value for key, value in json.loads(line).items() if not key.endswith("seconds")}
        for path in sorted(out.glob("stages/*/metrics.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return {
        "weights": hashlib.sha256(weights).hexdigest(),
        "metrics": hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest(),
    }


def steps_done(out: Path) -> dict[str, int]:
    """Returns by stage how many steps have a line of metrics."""
    paths = sorted(out.glob("stages/*/metrics.jsonl"))
    return {path.parent.name: path.read_bytes().count(b"\n") for path in paths}


def place(out: Path) -> str:
    """Returns where a killed run stands: steps done by stage, and what lies there half-written."""
    done = [f"{stage} {number}" for stage, number in steps_done(out).items()]
    partial = [path.name for path in out.rglob(".*partial*")]
    steps = f"steps done: {', '.join(done) or 'none'}"
    return steps + (f"; half-written: {', '.join(partial)}" if partial else "")


def kill(training: Training, out: Path, step: int, seconds: float) -> bool:
    """Runs until so many steps are done, and so long further, and kills.

    Returns False where the run ended before.
    """
    wanted = step and max(step, sum(steps_done(out).values()) + 1)
    process = training.start(out)
    while process.poll() is None and sum(steps_done(out).values()) < wanted:
        time.sleep(0.005)
    try:
        if code := process.wait(timeout=seconds):
            raise SystemExit(f"training ended with {code}; see {training.folder / 'log.txt'}")
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def main() -> None:
    """Runs both and exits 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    if options.out.exists():
        raise SystemExit(f"{options.out} exists; remove it or choose another --out")
    training = Training(options.out, options.steps)
    seconds = training.finish(options.out / "whole")
    expected = fingerprint(options.out / "whole")
    print(f"undisturbed: {seconds:.1f} s, weights {expected['weights']}", flush=True)
    out, dice = options.out / "killed", random.Random(options.seed)
    num_steps, kills = 2 * options.steps, 0
    for step in sorted(dice.sample(range(num_steps), options.kills)):
        # Up to the length of a step, the start of the process counted in.
        moment = dice.uniform(0, seconds / num_steps)
        if not kill(training, out, step, moment):
            print(f"the run ended before the kill {moment:.2f} s after step {step}", flush=True)
            break
        kills += 1
        print(f"kill {kills}, {moment:.2f} s after step {step}: {place(out)}", flush=True)
    training.finish(out)
    found = fingerprint(out)
    for key, value in expected.items():
        print(f"{key}: {found[key]}, {'equal' if found[key] == value else 'DIFFERENT'}")
    same = found == expected
    print(f"after {kills} kills the final weights are", "the same" if same else "DIFFERENT")
    if kills < options.kills:
        print(f"{options.kills} kills were asked for: give another --seed, or more --steps")
    raise SystemExit(not same or kills < options.kills)


if __name__ == "__main__":
    main()
