"""What the launcher sees of a driver, without OpenRLHF: steps, a checkpoint, or how a run ends.

Run as `python fake_driver.py RUN_FILE OPTIONS...`; `BEHAVIOUR` beside the run file says what to do.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

STEP = {
    "reward_mean": 0.5,
    "entropy": None,
    "response_tokens": 3.0,
    "num_live_groups": 1,
    "num_groups": 2,
    "gradient_norm": 1.0,
    "rollout_seconds": 0.1,
    "train_seconds": 0.1,
    "aepo_masking": False,
    "num_invalid": 4,
    "num_rollouts": 8,
    "invalid_by_kind": {"scorer_failed": 4},
}


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as the real one
    path, *options = sys.argv[1:]
    folder = Path(path).parent
    run = json.loads(Path(path).read_text())
    behaviour = (folder / "BEHAVIOUR").read_text()
    if behaviour == "killed":  # before it could say anything
        return 137
    states = Path(options[options.index("--ckpt.path") + 1]) / "_actor"
    metrics = Path(run["folder"]) / "metrics.jsonl"
    done = len(list(states.glob("global_step*")))
    for step in range(done + 1, run["stage"]["num_steps"] + 1):
        (states / f"global_step{step}").mkdir(parents=True)
        (states / "whole").write_text(f"global_step{step}")
        with metrics.open("a") as file:
            file.write(json.dumps({"step": step, **STEP}) + "\n")
        if behaviour == "fail" and step == 2:
            (folder / "error.txt").write_text("loss is nan; lower the learning rate\n")
            return 2
        if behaviour == "crash" and step == 2:
            print("Segmentation fault")
            return 139
        if behaviour == "hang" and step == 2:
            try:
                (folder / "hanging").touch()
                time.sleep(60)
            except KeyboardInterrupt:
                (folder / "interrupted").touch()
                return 130
    out = Path(options[options.index("--ckpt.output_dir") + 1])
    out.mkdir()
    (out / "config.json").write_text("{}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
