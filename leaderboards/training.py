"""Training metrics to curves: one JSON object per step, in files named metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

METRICS_FILE, RUN_FILE = "metrics.jsonl", "run.json"
CURVES = (
    *("reward_mean", "entropy", "aepo_low", "aepo_high", "aepo_masking", "masked_share"),
    *("response_tokens", "cut_off_share", "gradient_norm"),
)
"""Keys of a step that are drawn; a trainer that does not report one leaves it None."""


def read_training(folder: Path | None) -> list[dict[str, Any]]:
    """Returns the stages below a folder, each with its steps in order; none without metrics.

    A line that is no JSON object is left out (a run that was killed while writing, or still
    writes); of a step that was repeated after a resume, the last line counts.
    """
    if folder is None or not folder.is_dir():
        return []
    stages = []
    order = _order(folder)
    for path in sorted(folder.rglob(METRICS_FILE), key=lambda p: (order.get(p.parent.name, 0), p)):
        steps = _read_steps(path)
        if steps:
            name = path.parent.relative_to(folder).as_posix().removeprefix("stages/")
            stages.append({"stage": "training" if name == "." else name, "steps": steps})
    return stages


def _order(folder: Path) -> dict[str, int]:
    """Returns the place of each stage in the recipe of a run; nothing where none is told."""
    try:
        recipe = json.loads((folder / RUN_FILE).read_text("utf-8"))["recipe"]
        return {stage["name"]: place for place, stage in enumerate(recipe["stages"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _read_steps(path: Path) -> list[dict[str, Any]]:
    steps: dict[int, dict[str, Any]] = {}
    for line in path.read_text("utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            steps[row["step"]] = {key: _value(row.get(key)) for key in CURVES}
    return [{"step": step, **steps[step]} for step in sorted(steps)]


def _value(value: Any) -> float | bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return round(float(value), 6)
    return None
