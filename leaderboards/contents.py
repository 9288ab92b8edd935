"""Samples of one id that ask different things: they are told apart, so that none are paired.

A task whose data was changed without a new version leaves logs whose samples have the same ids but
other questions or gold answers. Such samples get a part of the hash of their content into their
ids: they count for their own run, and differences are over those that are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from longspan.leaderboards.rows import Run

SHOWN_CHARS = 6


@dataclass(frozen=True)
class Conflict:
    """Samples of a task, in one version, of which logs disagree what they ask."""

    task: str
    task_version: str
    num_samples: int


def tell_contents_apart(
    runs: Sequence[Run], samples: pd.DataFrame
) -> tuple[pd.DataFrame, tuple[Conflict, ...]]:
    """Returns the samples with ids of one content each, and where ids had several."""
    tasks = {run: (one.task, one.task_version) for run, one in enumerate(runs)}
    known = samples[["run", "sample", "content"]].dropna(subset=["content"])
    known = known.assign(task=known["run"].map(tasks)).drop(columns="run").drop_duplicates()
    several = known[known.duplicated(["task", "sample"], keep=False)]
    if several.empty:
        return samples, ()
    ids = set(zip(several["task"], several["sample"], strict=True))
    rows: Iterable[tuple[int, str, str | None]] = zip(
        samples["run"], samples["sample"], samples["content"], strict=True
    )
    changed = [
        f"{name} ({content[:SHOWN_CHARS]})"
        if isinstance(content, str) and (tasks[run], name) in ids
        else name
        for run, name, content in rows
    ]
    counts: dict[tuple[str, str], int] = {}
    for task, _ in ids:
        counts[task] = counts.get(task, 0) + 1
    conflicts = [Conflict(*task, number) for task, number in sorted(counts.items())]
    return samples.assign(sample=pd.Series(changed, samples.index, dtype=object)), tuple(conflicts)
