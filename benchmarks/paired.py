"""Paired measurements: sides take turns, each run in a process of its own.

So a load that comes and goes meets all of them, and a peak of memory is a side's own. Results carry
machine and date.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

Runs = dict[str, list[dict[str, Any]]]
"""By side, what each of its processes found."""


def alternate(
    command_of: Callable[[str], Sequence[str]], sides: Sequence[str], repeats: int
) -> Runs:
    """Runs every side's command `repeats` times, in turns; the last line of each is its JSON.

    Raises:
        SystemExit: a command fails; its own error output is shown.
    """
    found: Runs = {side: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            command = list(command_of(side))
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(
                    f"{side} ended with {done.returncode}: {' '.join(command)}\n{done.stderr}"
                )
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the median over a side's runs of every number that all of them have."""
    numbers = [key for key, value in runs[0].items() if isinstance(value, int | float)]
    return {key: statistics.median(run[key] for run in runs) for key in numbers}


class Watch:
    """Wall-clock and CPU seconds since the last look; work on an accelerator is waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.lap()

    def lap(self) -> tuple[float, float]:
        """Returns the seconds since the last lap: wall clock, CPU of this process."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter(), time.process_time()
        before, self._last = getattr(self, "_last", now), now
        return now[0] - before[0], now[1] - before[1]


def peak_mib(device: torch.device) -> float:
    """Returns the peak memory so far in MiB: of the process, or since the last call of a GPU."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


def machine(device: str, threads: int) -> dict[str, Any]:
    """Returns what a reader must know of where figures come from."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """Returns the processor's name, as far as the system tells."""
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write_results(out: Path | None, results: Mapping[str, Any]) -> None:
    """Writes results as JSON where asked."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"written to {out}")
