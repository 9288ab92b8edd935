"""Training metrics to curves: one JSON object per step, in files named metrics.jsonl."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longspan.harness.files import Problem, file_hash
from longspan.leaderboards.rows import finite

METRICS_FILE, RUN_FILE = "metrics.jsonl", "run.json"
MAX_STEP = 1 << 53
CURVES = (
    *("reward_mean", "entropy", "aepo_low", "aepo_high", "aepo_masking", "masked_share"),
    *("response_tokens", "cut_off_share", "gradient_norm"),
)
"""Keys of a step that are drawn; a trainer that does not report one leaves it None."""


@dataclass(frozen=True)
class Training:
    """The curves of a training run, and what of its metrics could not be read."""

    stages: tuple[dict[str, Any], ...] = ()
    """Each with its name and its steps in order."""
    problems: tuple[Problem, ...] = ()
    inputs: tuple[dict[str, str], ...] = ()
    """Names and hashes of the files that were read."""


def read_training(folder: Path | None) -> Training:
    """Returns the stages below a folder.

    A line without a step is left out and counted (a run that was killed while writing, or still
    writes); of a step that was repeated after a resume, the last line counts.
    """
    if folder is None:
        return Training()
    stages, problems, inputs = [], [], []
    order = _order(folder)
    for path in sorted(folder.rglob(METRICS_FILE), key=lambda p: (order.get(p.parent.name, 0), p)):
        place = path.relative_to(folder)
        steps, reason = _read_steps(path)
        if reason:
            problems.append(Problem(place.as_posix(), reason))
        if steps:
            name = place.parent.as_posix().removeprefix("stages/")
            stages.append({"stage": "training" if name == "." else name, "steps": steps})
            what = {"what": "training curves", "name": place.as_posix()}
            inputs.append(what | {"sha256": file_hash(path)})
    return Training(tuple(stages), tuple(problems), tuple(inputs))


def _order(folder: Path) -> dict[str, int]:
    """Returns the place of each stage in the recipe of a run; nothing where none is told."""
    try:
        recipe = json.loads((folder / RUN_FILE).read_text("utf-8"))["recipe"]
        return {stage["name"]: place for place, stage in enumerate(recipe["stages"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _read_steps(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Returns the steps of a file, and what is wrong with it in one line; nothing where it is."""
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError as error:
        return [], f"cannot be read ({error.strerror or error})"
    steps: dict[int, dict[str, Any]] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        step = _step(line)
        if step is not None:
            steps[step[0]] = step[1]
        elif line.strip():
            wrong.append(number)
    found = [{"step": step, **steps[step]} for step in sorted(steps)]
    if not wrong:
        return found, "" if found else "holds no step"
    if wrong == [len(lines)] and found:
        return found, "its last line is not whole: it is being written, or its writer was killed"
    what = "line is no JSON object" if len(wrong) == 1 else "lines are no JSON objects"
    left = f"{len(wrong)} {what} with a step (the first: line {wrong[0]}) and left out"
    return found, left if found else f"holds no step: {left}"


def _step(line: str) -> tuple[int, dict[str, Any]] | None:
    """Returns the number and values of a step; None where a line holds none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    number = row.get("step") if isinstance(row, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_STEP:
        return None
    return number, {key: _value(row.get(key)) for key in CURVES}


def _value(value: Any) -> float | bool | None:
    if isinstance(value, bool):
        return value
    number = finite(value) if isinstance(value, int | float) else None
    return None if number is None else round(number, 6)
