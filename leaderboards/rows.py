"""What every harness's results become: one run, and one row per sample and epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]
"""The values of `COLUMNS` behind `run`."""

SET_ASIDE = (".damaged", ".failed")
"""Endings of logs and folders that `longspan eval` and `longspan lm-eval` have set aside."""

COLUMNS = (
    *("run", "sample", "epoch", "value", "validity", "task_type", "kind", "hops", "document_group"),
    *("truncation", "memory", "question", "answer", "completion", "target"),
    *("input_tokens", "output_tokens", "calls", "seconds", "error"),
)


@dataclass(frozen=True)
class Run:
    """One finished evaluation: a task read by a solver with a checkpoint under settings."""

    log: str
    """File name of the log."""
    log_hash: str
    eval_id: str
    created: str
    task: str
    task_version: str
    checkpoint: str
    checkpoint_hash: str | None
    solver: str
    solver_args: Mapping[str, Any]
    input_over_window: float | None
    """Length of the documents in windows of the model."""
    step: int | None
    recipe_hash: str | None
    settings: Mapping[str, Any]
    epochs: int
    num_samples: int
    """Samples and epochs that the log should hold."""
    seconds: float
    """Wall time of the evaluation, of its last start where it was resumed."""
    task_args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the task, defaults included."""
    generates: bool = True
    """Whether the model writes; a choice by likelihood is not sampled."""

    @property
    def identity(self) -> str:
        """What makes two logs the same evaluation; the later one counts then."""
        parts = [self.task, self.task_version, self.checkpoint, self.checkpoint_hash, self.solver]
        more = [self.solver_args, self.input_over_window, self.settings, self.epochs]
        return json.dumps([*parts, *more], sort_keys=True, default=str)


def short_name(name: str) -> str:
    """Returns a checkpoint's name; of a path only the last part, for pages are read elsewhere."""
    inner = name.removeprefix("longspan-local/")
    is_path = inner.startswith(("/", ".", "~")) or inner.count("/") > 2
    return Path(inner).name or name if is_path else inner
