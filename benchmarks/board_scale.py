"""What a board of many logs takes: first build, rebuild with a new log, memory, size, opening it.

    python benchmarks/board_scale.py FOLDER [--logs 100] [--samples 500] [--out board_scale.json]

The logs are made by really running scripted checkpoints through Inspect (ten checkpoints over tasks
of several lengths, one task in five read by the memory agent) and kept in FOLDER, so that only the
first run pays for them. A build is the command itself in a process of its own, so that starting
Python and importing count too; memory is that of all its processes together, sampled. Byte code is
compiled beforehand, as it is wherever packages are installed. Two logs are added one after the
other: the baseline's on a new task, which adds rows, and another checkpoint's on that task, with
which the pictures change.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from board_page import find_browser, measure_opening
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, ModelUsage, get_model, modelapi

from longspan.agents.full_context import full_context
from longspan.agents.memory import memory_agent
from longspan.harness.scoring.scorers import by_sample

NUM_CHECKPOINTS = 10
NUM_NEW = 2
"""Logs that are added after the first build, one by one."""
TASKS_OF_AGENT = 5
"""Every so many tasks one is read by the memory agent."""
WORDS = ("Kukton", "Tastal", "Karo", "Dresex", "Melvar", "Opitz")
TYPES = ("multi_hop", "multiple_choice", "reading_comprehension", "aggregation", "dialogue")
SENTENCE = "The harbour lay quiet and the weather was mild for days. "
THOUGHT = "I look for the land in question and compare what the passages say about it. "
POLL_SECONDS = 0.25
"""Between two looks at the memory, which take time from the build themselves."""
MEGABYTE = 1e6


@dataclass(frozen=True)
class Unit:
    """One log: a checkpoint on a task."""

    checkpoint: int
    task: int
    num_samples: int

    @property
    def name(self) -> str:
        """Folder of the log."""
        return f"checkpoint-{self.checkpoint:02d}-task-{self.task:02d}-n{self.num_samples}"


@dataclass(frozen=True)
class Build:
    """What one build took."""

    name: str
    num_logs: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Of all processes of the build together: memory that no other process shares (USS)."""
    site_mb: float
    cache_mb: float


@modelapi(name="board-scale")
class ScaleAPI(ModelAPI):
    """Is right in a share of samples that grows with its name's number."""

    async def count_text_tokens(self, text: str) -> int:
        """Returns an estimate; Inspect's own counter would fetch a tokenizer."""
        return max(1, len(text) // 4)

    async def generate(
        self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns a state of the memory agent or an answer."""
        prompt = input[-1].text
        identity = (input[-1].metadata or {}).get("longspan", {})
        number = int(str(identity.get("sample", "s0"))[1:])
        accuracy = 0.3 + 0.04 * int(self.model_name.rpartition("-")[2])
        rng = random.Random(f"{self.model_name}/{number}/{len(prompt) // 1000}")
        text = "<memory>The land lies there.</memory>\n<plan>read on</plan>"
        if "<memory>" not in prompt or "Therefore" in prompt:
            word = WORDS[number % len(WORDS)] if rng.random() < accuracy else "Nowhere"
            text = THOUGHT * rng.randrange(5, 40) + f"Therefore, the answer is {word}."
        output = ModelOutput.from_content(self.model_name, text)
        tokens = len(prompt) // 4, len(text) // 4
        output.usage = ModelUsage(
            input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens)
        )
        return output


def make_samples(task: int, count: int) -> list[Sample]:
    """Returns samples in worlds of ten, whose documents grow with the task's number."""
    made = []
    for number in range(count):
        depth = number % 11 / 10
        num_sentences = 40 * (1 + task % 5)
        before = int(depth * num_sentences)
        fact = f"The capital of Land {number} is {WORDS[number % len(WORDS)]}. "
        question = f"What is the capital of Land {number}?"
        metadata = {
            "question": question,
            "instructions": "End with: Therefore, the answer is X.",
            "context": {"text": SENTENCE * before + fact + SENTENCE * (num_sentences - before)},
            "task_type": TYPES[number % len(TYPES)],
            "scorer": "cover_exact_match",
            "kind": f"kind-{number % 8}",
            "hops": 1 + number % 4,
            "depth": depth,
            "document_group": f"world-{number // 10}",
        }
        target = WORDS[number % len(WORDS)]
        made.append(Sample(id=f"s{number:04d}", input=question, target=target, metadata=metadata))
    return made


def make_log(folder: Path, unit: Unit) -> None:
    """Runs one unit and leaves its log in the folder; a log that is there stays."""
    target = folder / unit.name
    if any(target.glob("*.eval")):
        return
    name = f"checkpoint-{unit.checkpoint:02d}"
    by_agent = unit.task % TASKS_OF_AGENT == TASKS_OF_AGENT - 1
    windows = 1 + unit.task % 5
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (log,) = inspect_eval(
            Task(
                dataset=MemoryDataset(make_samples(unit.task, unit.num_samples)),
                solver=memory_agent(chunk_tokens=1024) if by_agent else full_context(),
                scorer=by_sample(),
                name=f"land-{unit.task // 5}-{windows}x",
                version="v1",
            ),
            get_model(f"board-scale/{name}", memoize=False),
            metadata={
                "longspan_checkpoint": name,
                "longspan_solver": "memory_agent" if by_agent else "full_context",
                "longspan_input_over_window": windows,
            },
            log_dir=work,
            display="none",
            log_realtime=False,
            log_model_api=False,
            score_display=False,
            max_samples=32,
            ctl_server=False,
            acp_server=False,
        )
        if log.status != "success":
            raise RuntimeError(log.error)
        target.mkdir(parents=True, exist_ok=True)
        for path in Path(work).glob("*.eval"):
            path.rename(target / path.name)


def build(name: str, logs: list[Path], num_logs: int, work: Path) -> Build:
    """Returns what the command took in a process of its own."""
    site, cache = work / "site", work / "cache"
    command = [sys.executable, "-m", "longspan.harness.cli", "board", *map(str, logs)]
    command += ["--out", str(site), "--baseline", "checkpoint-00"]
    environment = {**os.environ, "LONGSPAN_CACHE": str(cache)}
    environment["PYTHONPYCACHEPREFIX"] = str(work / "bytecode")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.times()
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory_of(process.pid))
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - started
    after = os.times()
    if process.returncode:
        raise SystemExit(process.returncode)
    cpu = sum(after[2:4]) - sum(before[2:4])
    return Build(
        name, num_logs, seconds, cpu, peak / MEGABYTE, _size(site) / MEGABYTE, _size(cache) / 1e6
    )


def _memory_of(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().uss
    except psutil.Error:  # a process ended while it was looked at
        pass
    return total


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Makes the logs that are missing, measures the builds, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Where the logs are kept.")
    parser.add_argument("--logs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="Write the figures here, as JSON.")
    arguments = parser.parse_args()
    units = [
        Unit(number % NUM_CHECKPOINTS, number // NUM_CHECKPOINTS, arguments.samples)
        for number in range(arguments.logs + NUM_NEW)
    ]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        list(pool.map(partial(make_log, arguments.folder), units))
    folders = [arguments.folder / unit.name for unit in units]
    num_logs = arguments.logs
    with tempfile.TemporaryDirectory() as text:
        work = Path(text)
        build("byte code", folders[:1], 1, work)
        shutil.rmtree(work / "site")
        shutil.rmtree(work / "cache")
        builds = [
            build("first build", folders[:num_logs], num_logs, work),
            build("nothing new", folders[:num_logs], num_logs, work),
            build("one new log", folders[: num_logs + 1], num_logs + 1, work),
            build("another one", folders, num_logs + 2, work),
        ]
        page = measure_opening(work / "site") if find_browser() else None
    logs_mb = sum(map(_size, folders)) / MEGABYTE
    load = os.getloadavg()[1]
    print(
        f"{num_logs} logs of {arguments.samples} samples, {logs_mb:.0f} MB; {os.cpu_count()} CPUs"
    )
    print(f"load over the last five minutes, with what else ran: {load:.1f}")
    print(f"{'':12} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} {'site MB':>8} {'cache MB':>9}")
    for one in builds:
        print(
            f"{one.name:12} {one.seconds:7.1f} {one.cpu_seconds:7.1f} {one.peak_mb:8.0f} "
            f"{one.site_mb:8.1f} {one.cache_mb:9.1f}"
        )
    if page is not None:
        print(
            f"the page opens in {page.seconds:.2f} s (the slowest of 5: {page.slowest_seconds:.2f})"
        )
    if arguments.out:
        facts = {
            "num_samples": arguments.samples,
            "logs_mb": logs_mb,
            "num_cpus": os.cpu_count(),
            "load": load,
            "python": platform.python_version(),
            "builds": [asdict(one) for one in builds],
            "page": None if page is None else asdict(page),
        }
        arguments.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
