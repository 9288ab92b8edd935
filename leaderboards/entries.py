"""A board's entries: every run with its label and its sample rows, in the order of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from longspan.harness.errors import BoardError
from longspan.leaderboards.attempts import passes_of_samples
from longspan.leaderboards.labels import Label, label_runs
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.rows import Run


@dataclass(frozen=True)
class Entry:
    """One run with its label and its sample rows."""

    label: Label
    run: Run
    rows: pd.DataFrame

    @cached_property
    def scores(self) -> dict[str, float]:
        """Sample id -> score, mean over the attempts that have one."""
        means = self.rows["value"].groupby(self.rows["sample"]).mean().dropna()
        return {str(key): float(value) for key, value in means.items()}

    def values_of(self, metric: str) -> dict[str, float]:
        """Returns sample id -> value of a metric of declared boards (`declared.METRIC`)."""
        if metric == "score":
            return self.scores
        if metric == "compat":
            known = self.rows.dropna(subset=["compat"])
            means = known.groupby("sample")["compat"].mean()
        else:
            means = passes_of_samples(self.rows, int(metric.removeprefix("pass@")))
        return {str(key): float(value) for key, value in means.items()}

    @cached_property
    def groups(self) -> dict[str, Any]:
        """Sample id -> document group, the cluster of its statistics."""
        return dict(zip(self.rows["sample"], self.rows["document_group"], strict=True))


def make_entries(logs: Logs, baseline: str | None = None) -> list[Entry]:
    """Returns the runs with labels and rows, by length, task and solver, the baseline first.

    Raises:
        BoardError: there is no run, or the baseline is none of the checkpoints.
    """
    if not logs.runs:
        reasons = "; ".join(str(problem) for problem in logs.skipped[:2])
        raise BoardError(
            "no finished, scored log among those given "
            f"({reasons or 'neither .eval files nor results of lm-eval'}); "
            "run `longspan eval` or `longspan lm-eval` first"
        )
    labels = label_runs(logs.runs)
    require_checkpoint(labels, baseline)
    frames = dict(iter(logs.samples.groupby("run", sort=True)))
    entries = [
        Entry(label, run, frames[index])
        for index, (label, run) in enumerate(zip(labels, logs.runs, strict=True))
    ]

    def order(entry: Entry) -> tuple[Any, ...]:
        label = entry.label
        first = label.checkpoint != baseline
        return (label.input_over_window or 0, label.task, label.solver, first, label.checkpoint)

    return sorted(entries, key=order)


def require_checkpoint(labels: Sequence[Label], name: str | None) -> None:
    """Raises BoardError unless a checkpoint of that name has runs; None is no name."""
    known = sorted({label.checkpoint for label in labels})
    if name is not None and name not in known:
        raise BoardError(f"no runs of checkpoint {name!r}; the logs have: {', '.join(known)}")
