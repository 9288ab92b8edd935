"""Runs of the whole stack under way: their commands, states and processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from longspan.trainers.openrlhf.run_file import WHOLE_STATE
from tests.trainers.openrlhf.test_contract import is_installed

RECIPE = Path(__file__).parents[3] / "scripts" / "openrlhf" / "two_stages.yaml"
TIMEOUT_SECONDS = 900

takes_minutes = [
    is_installed,
    pytest.mark.slow,
    pytest.mark.timeout(4 * TIMEOUT_SECONDS),
    pytest.mark.skipif(
        os.environ.get("LONGSPAN_TEST_OPENRLHF") != "1",
        reason="takes minutes; run make test-openrlhf",
    ),
]
"""Marks of modules with such runs."""


def command(out: Path, recipe: Path = RECIPE, cluster: str = "cpu") -> list[str]:
    longspan = (sys.executable, "-m", "longspan.harness.cli")
    return [*longspan, "train", str(recipe), "--out", str(out), "--engine", "openrlhf",
            "--cluster", cluster]  # fmt: skip


def steps(out: Path, stage: str) -> list[dict[str, Any]]:
    path = out / "stages" / stage / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def last_state(out: Path) -> int:
    """Returns the number of steps behind the last whole state of the first stage."""
    place = out / "stages" / "full_context" / "openrlhf" / "states" / "_actor" / WHOLE_STATE
    return int(place.read_text().rpartition("step")[2]) if place.exists() else 0


class Watched:
    """A `longspan train` under way, with what it prints."""

    def __init__(self, line: list[str], log: Path) -> None:
        self.log = log
        self.running: list[psutil.Process] = []
        """Its processes when its last state was whole."""
        with log.open("w") as output:
            self.process = subprocess.Popen(
                line,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=hear_interrupts,
            )

    def wait_for_state(self, out: Path, number: int) -> None:
        """Waits until the state of that step is whole."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while last_state(out) < number:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.running = psutil.Process(self.process.pid).children(recursive=True)

    def process_of(self, title: str) -> psutil.Process:
        """Returns the process of the run whose title begins so."""
        return next(one for one in self.running if title_of(one).startswith(title))

    def end(self) -> tuple[int, str]:
        """Waits for the end, of its processes as well; returns exit code and what was printed."""
        code = self.process.wait(TIMEOUT_SECONDS)
        _, left = psutil.wait_procs([one for one in self.running if not is_agent(one)], timeout=60)
        assert not [title_of(one) for one in left]
        return code, self.log.read_text()


def hear_interrupts() -> None:
    """Jobs in the background of a shell, and all that they start, are deaf to them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_agent(process: psutil.Process) -> bool:
    """Whether it is one of two helpers of Ray, which notice the end of a killed run in minutes."""
    return title_of(process).startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))


def title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
