"""The identity of one evaluation, and its folder of logs: whole, unfinished or damaged.

A unit is a task read by a solver with a checkpoint under given settings. Two evaluations are the
same unit exactly if their identities are equal; each has a folder named by its hash, so a finished
log is found again and nothing else is taken for it. This module runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai.log import EvalLog, read_eval_log

DAMAGED_SUFFIX = ".damaged"
FAILED_SUFFIX = ".failed"
CALLS_FOLDER = "calls"
"""Folder in a unit's own with the calls of samples that are not in the log yet."""
_HASH_CHARS = 12


def unit_folder(log_dir: Path, identity: Mapping[str, Any]) -> Path:
    """Returns the folder of the unit with this identity; the identity has its task under "task"."""
    task = str(identity["task"]).removeprefix("longspan/")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", task).strip("-")[:60] or "task"
    return log_dir / f"{name}-{unit_hash(identity)[:_HASH_CHARS]}"


def unit_hash(identity: Mapping[str, Any]) -> str:
    """Returns the hash of an identity, which does not depend on the order of its keys."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def dataset_hash(task: Task) -> str:
    """Returns a hash of what the task asks: ids, inputs, targets and references to contexts."""
    digest = hashlib.sha256()
    for sample in task.dataset:
        asked = sample.input if isinstance(sample.input, str) else [m.text for m in sample.input]
        context = (sample.metadata or {}).get("context")
        row = [sample.id, asked, sample.target, sample.choices, context]
        digest.update(json.dumps(row, sort_keys=True, default=str).encode("utf-8"))
    return digest.hexdigest()


def finished_log(folder: Path) -> EvalLog | None:
    """Returns the header of the folder's whole log, None where there is none.

    Whole means that Inspect closed it as a success and that a sample at least has a score.
    """
    for path in _logs(folder):
        log = _read_header(path)
        if log is not None and log.status == "success" and num_scored(log) > 0:
            return log
    return None


def num_scored(log: EvalLog) -> int:
    """Returns how many samples have a score of every scorer."""
    if log.results is None or not log.results.scores:
        return 0
    return min(score.scored_samples or 0 for score in log.results.scores)


def set_damaged_aside(folder: Path) -> list[Path]:
    """Renames logs that cannot be read (a kill while writing), so that none is continued."""
    damaged = [path for path in _logs(folder) if _read_header(path) is None]
    return [path.rename(path.with_name(path.name + DAMAGED_SUFFIX)) for path in damaged]


def remove_leftovers(folder: Path, finished: EvalLog) -> None:
    """Removes the logs that the finished one continued and replaced, and kept calls."""
    shutil.rmtree(folder / CALLS_FOLDER, ignore_errors=True)
    for path in _logs(folder):
        if path.name != Path(finished.location).name:
            path.unlink(missing_ok=True)


def set_failed_aside(log: EvalLog) -> None:
    """Renames a log in which nothing was scored, so that the next run starts anew."""
    path = local_path(log)
    path.rename(path.with_name(path.name + FAILED_SUFFIX))


def local_path(log: EvalLog) -> Path:
    """Returns where a log lies on this machine."""
    return Path(log.location.removeprefix("file://"))


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.eval")) if folder.is_dir() else []


def _read_header(path: Path) -> EvalLog | None:
    try:
        return read_eval_log(str(path), header_only=True)
    except (OSError, ValueError, KeyError):
        return None
