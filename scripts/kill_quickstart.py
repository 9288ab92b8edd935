"""Shows that a killed quickstart ends with the numbers of an uninterrupted one.

    python scripts/kill_quickstart.py --out out/kills --scale 0.25 --kills 2

Runs the quickstart once undisturbed and once with SIGKILL at random moments (of its process alone:
its workers must end by themselves), then compares the `numbers` of both boards byte by byte.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


def start(out: Path, scale: float, seed: int) -> subprocess.Popen[bytes]:
    """Returns a quickstart under way; its output goes to OUT.log."""
    with out.with_suffix(".log").open("ab") as log:
        command = ["longspan", "quickstart", "--out", str(out), "--scale", str(scale)]
        return subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:], "--seed", str(seed)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(out: Path, scale: float, seed: int) -> float:
    """Runs a quickstart to its end and returns the seconds it took."""
    started = time.monotonic()
    if code := start(out, scale, seed).wait():
        raise SystemExit(f"the quickstart ended with {code}; see {out.with_suffix('.log')}")
    return time.monotonic() - started


def numbers(out: Path) -> str:
    """Returns the board's numbers as text."""
    board = json.loads((out / "board" / "board.json").read_text("utf-8"))
    return json.dumps(board["numbers"], sort_keys=True)


def main() -> None:
    """Runs both and exits 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    whole, killed = options.out / "whole", options.out / "killed"
    options.out.mkdir(parents=True, exist_ok=True)
    seconds = finish(whole, options.scale, options.seed)
    print(f"uninterrupted: {seconds:.0f} s", flush=True)
    rng = random.Random()
    for number in range(options.kills):
        process = start(killed, options.scale, options.seed)
        moment = rng.uniform(3, seconds / (1 + number))
        try:
            process.wait(timeout=moment)
            print(f"ended before the kill at {moment:.1f} s", flush=True)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"killed after {moment:.1f} s", flush=True)
    print(f"finished: {finish(killed, options.scale, options.seed):.0f} s", flush=True)
    same = numbers(whole) == numbers(killed)
    print("the boards' numbers are", "the same" if same else "DIFFERENT")
    raise SystemExit(not same)


if __name__ == "__main__":
    main()
