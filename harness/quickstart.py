"""`longspan quickstart`: the whole loop on one machine, in minutes, without a GPU or a network.

It synthesizes tasks from a generated world; evaluates the shipped base checkpoint with full context
and with the memory agent at 1x, 4x and 16x its window; trains it with the recipe's RL; evaluates
again; builds the board; and says what it did, what it cost and where things are. It only calls the
commands that users call themselves.

Every part is finished or absent on disk, so running it again after a kill goes on where it stopped
and ends with the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from longspan.harness.cli import load_command
from longspan.harness.errors import DataError
from longspan.harness.quickstart_summary import write_summary
from longspan.harness.workers import Job, folder_lock, run_job, worker_pool

RECIPE = files("longspan.trainers") / "recipes" / "quickstart.yaml"
OUTPUT_TOKENS = 48
TOP_P = 0.95
TEMPERATURES = {1: 1.0, 4: 0.0, 16: 0.0}
"""Length of a document in windows -> temperature of its evaluation, for both solvers alike. At 1x
that of the training. Longer ones are read greedily: a reading of 36 sampled turns carries every
unlikely note to its end."""
LENGTHS = {1: 176, 4: 1024, 16: 4096}
"""Length of a document in windows of 256 tokens -> in tokens. At 1x, the prompt around it and the
response fill the rest of the window."""
NUM_TRAIN = 1600
NUM_TEST = {1: 800, 4: 100, 16: 120}
"""Held-out samples by length in windows: enough to tell the differences that the board reports."""
NUM_EPOCHS = {("full_context", 1): 2}
"""Attempts at every sample, where sampling noise matters most: the gain of RL is read here."""
SHARE_READ = {("memory_agent", 1): 0.5}
"""Share of the samples that is read, where fewer are enough: within a window no agent is needed."""
SAMPLES_PER_LONG_WORLD = 8
"""Half of the default: few long samples still come from enough worlds, the intervals' clusters."""
NUM_WORKERS = 2
BASE, TRAINED, CEILING = "nano", "trained", "nano-ceiling"
SOLVERS = ("full_context", "memory_agent")
AGENT_OPTIONS: dict[str, Any] = {"layout": "chunk_first", "chunk_tokens": 64}
"""The embedded policy finds facts more reliably in short texts than in half a window."""


Submit = Callable[[Job], Future[float]]


def num_test(windows: int, scale: float) -> int:
    """Returns the number of held-out samples at a length."""
    return max(10, round(scale * NUM_TEST[windows]))


@dataclass(frozen=True)
class Unit:
    """One evaluation: a checkpoint read by a solver at a length."""

    checkpoint: str
    solver: str
    windows: int

    @property
    def label(self) -> str:
        """What a user reads while it runs."""
        reads = "full context" if self.solver == "full_context" else "memory agent"
        return f"evaluate {self.checkpoint}, {reads} at {self.windows}x"

    def num_calls(self) -> int:
        """Returns about how many calls of the model it takes: the longest unit starts first."""
        chunks = LENGTHS[self.windows] // AGENT_OPTIONS["chunk_tokens"]
        turns = 1 if self.solver == "full_context" else 1 + chunks
        return self.num_samples() * NUM_EPOCHS.get((self.solver, self.windows), 1) * turns

    def num_samples(self, scale: float = 1.0) -> int:
        """Returns how many of the test samples are read."""
        share = SHARE_READ.get((self.solver, self.windows), 1.0)
        return max(1, round(share * num_test(self.windows, scale)))


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "out/quickstart"
    ),
    docs: Annotated[
        Path | None, typer.Option(help="Also synthesize from these documents (folder or file).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of tasks, training and sampling.", min=0)] = 0,
    scale: Annotated[
        float, typer.Option(help="Share of samples and training steps.", min=0.05, max=1.0)
    ] = 1.0,
) -> None:
    """Run the whole loop: synthesize, evaluate, train, evaluate again, build the board; resumes."""
    started = time.monotonic()
    with folder_lock(out) as lock:
        _require_same_run(out, seed, scale)
        _require_space(out)
        if docs is not None:
            _synthesize_documents(out, docs, seed)
        _say("1/5 synthesizing tasks from generated worlds")
        for job in synthesis_jobs(out, seed, scale):
            run_job(job)
        _say("2/5 evaluating the base checkpoint  |  3/5 training it with AEPO (side by side)")
        with worker_pool(NUM_WORKERS, lock) as submit:
            _run_units(out, seed, scale, submit)
        _say("5/5 building the board")
        run_job(board_job(out))
    summary = write_summary(out, seed, time.monotonic() - started)
    print(summary)


def synthesis_jobs(out: Path, seed: int, scale: float = 1.0) -> list[Job]:
    """Returns the jobs that make the task sets: one to train and test on, one per longer length."""
    plans: dict[str, dict[str, Any]] = {
        f"{k}x": {"test": {LENGTHS[k]: num_test(k, scale)}} for k in LENGTHS
    }
    plans["1x"]["train"] = {LENGTHS[1]: max(20, round(scale * NUM_TRAIN))}
    jobs = []
    for name, splits in plans.items():
        plan = {"name": f"world-{name}", "seed": seed, "tokenizer": BASE, "splits": splits}
        if name != "1x":
            plan["source"] = {"type": "world", "samples_per_world": SAMPLES_PER_LONG_WORLD}
        path = out / "plans" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
        arguments = {"plan": path, "out": out / "tasksets" / name, "quiet": True}
        jobs.append(Job(f"synthesize {name}", "synth", arguments))
    return jobs


def training_job(out: Path, seed: int, scale: float = 1.0) -> Job:
    """Returns the job that trains the base checkpoint on the train split."""
    recipe = yaml.safe_load(RECIPE.read_text("utf-8"))
    for stage in recipe["stages"]:
        stage["num_steps"] = max(2, round(scale * stage["num_steps"]))
    path = out / "plans" / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), "utf-8")
    arguments = {
        "recipe": str(path),
        "out": out / "training",
        "tasks": [out / "tasksets" / "1x"],
        "checkpoint": BASE,
        "seed": seed,
        "quiet": True,
    }
    return Job("train with AEPO", "train", arguments)


def evaluation_job(out: Path, unit: Unit, seed: int, scale: float = 1.0) -> Job:
    """Returns the job of one evaluation; a finished log of the same identity is kept."""
    trained = unit.checkpoint == TRAINED
    model = str(out / "training" / "final") if trained else unit.checkpoint
    arguments: dict[str, Any] = {
        "task": str(out / "tasksets" / f"{unit.windows}x"),
        "model": f"longspan-local/{model}",
        "solver": f"longspan/{unit.solver}",
        "solver_args": AGENT_OPTIONS if unit.solver == "memory_agent" else {},
        "checkpoint": unit.checkpoint,
        "input_over_window": unit.windows,
        "log_dir": out / "logs" / unit.checkpoint / f"{unit.solver}-{unit.windows}x",
        "temperature": TEMPERATURES[unit.windows],
        "epochs": NUM_EPOCHS.get((unit.solver, unit.windows), 1),
        "limit": unit.num_samples(scale),
        "top_p": TOP_P,
        "max_tokens": OUTPUT_TOKENS,
        "seed": seed,
        "quiet": True,
    }
    return Job(unit.label, "eval", arguments)


def board_job(out: Path) -> Job:
    """Returns the job that builds the page from all logs."""
    arguments = {
        "logs": [out / "logs"],
        "out": out / "board",
        "title": "longspan quickstart",
        "baseline": BASE,
        "training": out / "training",
        "taskset": sorted(path for path in (out / "tasksets").iterdir() if path.is_dir()),
    }
    return Job("build the board", "board", arguments)


def settings_hash() -> str:
    """Returns a hash of all that is constant here and in the recipe: what makes two runs alike."""
    settings = {
        "recipe": RECIPE.read_text("utf-8"),
        "lengths": LENGTHS,
        "num_train": NUM_TRAIN,
        "num_test": NUM_TEST,
        "samples_per_long_world": SAMPLES_PER_LONG_WORLD,
        "temperatures": TEMPERATURES,
        "top_p": TOP_P,
        "output_tokens": OUTPUT_TOKENS,
        "agent": AGENT_OPTIONS,
        "epochs": sorted(NUM_EPOCHS.items()),
        "share_read": sorted(SHARE_READ.items()),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def units_of(checkpoint: str) -> list[Unit]:
    """Returns the evaluations of a checkpoint; the ceiling is read at 1x only."""
    if checkpoint == CEILING:
        return [Unit(CEILING, "full_context", 1)]
    lengths = sorted(LENGTHS, reverse=True)
    return [Unit(checkpoint, solver, k) for k in lengths for solver in SOLVERS]


def _run_units(out: Path, seed: int, scale: float, submit: Submit) -> None:
    """Trains and evaluates side by side, the longest that can start first."""
    pending: dict[Future[float], Job] = {}

    def start(job: Job) -> Future[float]:
        future: Future[float] = submit(job)
        pending[future] = job
        return future

    training = start(training_job(out, seed, scale))
    waiting = [*units_of(BASE), *units_of(CEILING)]
    metrics, shown = out / "training", 0
    while pending or waiting:
        waiting.sort(key=Unit.num_calls)
        while waiting and len(pending) < NUM_WORKERS:
            start(evaluation_job(out, waiting.pop(), seed, scale))
        done, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        shown = _show_training(metrics, shown)
        for future in done:
            job = pending.pop(future)
            _say(f"    {job.label}: done in {future.result():.0f} s")
            if future is training:
                _say("4/5 evaluating the trained checkpoint")
                waiting += units_of(TRAINED)


PROGRESS_STEPS = 10


def _show_training(folder: Path, shown: int) -> int:
    """Prints every tenth training step that has not been shown; returns the last one shown."""
    for path in sorted(folder.glob("**/metrics.jsonl")):
        lines = path.read_text("utf-8").splitlines()
        complete = lines[: len(lines) // PROGRESS_STEPS * PROGRESS_STEPS]
        if len(complete) > shown:
            last = [json.loads(line) for line in complete[-PROGRESS_STEPS:]]
            reward = sum(row["reward_mean"] for row in last) / len(last)
            _say(f"    training step {len(complete)}: mean reward of the last ten {reward:.3f}")
            return len(complete)
    return shown


def _synthesize_documents(out: Path, docs: Path, seed: int) -> None:
    target = out / "tasksets" / "documents"
    _say(f"synthesizing from {docs}")
    load_command("synth")(docs=docs, out=target, seed=seed)
    _say(
        "    the embedded policy knows only its generated world, so these are not evaluated here; "
        f"with a real model: inspect eval longspan/taskset -T path={target} "
        "--model longspan-local/<checkpoint>"
    )


def _require_same_run(out: Path, seed: int, scale: float) -> None:
    """Refuses a folder that holds a run with other settings, whose parts would be mixed in."""
    path = out / "quickstart.json"
    here = {
        "seed": seed,
        "scale": scale,
        "longspan": version("longspan"),
        "settings": settings_hash(),
    }
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(here) + "\n", "utf-8")
        temporary.rename(path)
        return
    try:
        there = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"damaged: {path} ({error}); choose another --out or remove it") from error
    if there != here:
        raise DataError(
            f"{out} holds a run with other settings: {there}, asked for {here}; "
            "choose another --out or remove it"
        )


SPACE_BYTES = 200 * 2**20


def _require_space(out: Path) -> None:
    free = shutil.disk_usage(out).free
    if free < SPACE_BYTES:
        raise DataError(
            f"too little space at {out}: {free // 2**20} MiB free, the run needs "
            f"{SPACE_BYTES // 2**20} MiB; free some or choose another --out"
        )


def _say(line: str) -> None:
    print(line, flush=True)
