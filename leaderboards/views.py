"""The board as numbers: rows, paired differences and their breakdowns, ready to be written as JSON.

`numbers` depends on nothing but what the logs say about samples (no time, no path, no order of
files), so that a run that was killed and resumed has the numbers of one that was not. What it cost
stands in `cost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from longspan.harness.errors import BoardError
from longspan.leaderboards.breakdowns import breakdowns, retention, truncation_shares
from longspan.leaderboards.data_card import read_data_cards
from longspan.leaderboards.labels import Label, label_runs
from longspan.leaderboards.lengths import by_length, heat_map
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.rows import Run
from longspan.leaderboards.statistics import (
    Estimate,
    estimate_difference,
    estimate_mean,
    holm,
    minimum_detectable_effect,
    num_samples_needed,
    verdict,
)
from longspan.leaderboards.training import read_training

FORMAT = 1
DIGITS = 6
FULL_CONTEXT = "full_context"
DEFAULT_TITLE = "Leaderboard"


@dataclass(frozen=True)
class Entry:
    """One run with its label and its sample rows."""

    label: Label
    run: Run
    rows: pd.DataFrame

    @cached_property
    def scores(self) -> dict[str, float]:
        """Sample id -> score, mean over the attempts that have one."""
        valid = self.rows.dropna(subset=["value"])
        return {str(k): float(v) for k, v in valid.groupby("sample")["value"].mean().items()}

    @cached_property
    def groups(self) -> dict[str, Any]:
        """Sample id -> document group, the cluster of its statistics."""
        return dict(zip(self.rows["sample"], self.rows["document_group"], strict=True))


def build_board(
    logs: Logs,
    *,
    title: str | None = None,
    baseline: str | None = None,
    training: Path | None = None,
    tasksets: Sequence[Path] = (),
) -> dict[str, Any]:
    """Returns the board: title, baseline, numbers, cost, data, skipped logs and sources.

    Raises:
        BoardError: there is no run, or the baseline is none of the checkpoints.
    """
    entries = make_entries(logs, baseline)
    rows = [_row(entry) for entry in entries]
    numbers = {
        "baseline": baseline,
        "checkpoints": _checkpoints(entries),
        "rows": rows,
        "differences": checkpoint_differences(entries, baseline) if baseline else [],
        "solver_differences": solver_differences(entries),
        "breakdowns": {
            column: [item for entry in entries for item in breakdowns(entry, column)]
            for column in ("task_type", "kind", "hops")
        }
        | {"input_length": [item for entry in entries for item in by_length(entry)]},
        "heat_maps": [found for entry in entries if (found := heat_map(entry)) is not None],
        "retention": [item for entry in entries for item in retention(entry)],
        "training": read_training(training),
    }
    return {
        "format": FORMAT,
        "title": title or DEFAULT_TITLE,
        "baseline": baseline,
        "numbers": rounded(numbers),
        "cost": rounded(_cost(entries)),
        "data": read_data_cards(tasksets),
        "skipped": [{"place": one.place, "reason": one.reason} for one in logs.skipped],
        "sources": [_source(entry) for entry in entries],
    }


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


def checkpoint_differences(entries: Sequence[Entry], baseline: str) -> list[dict[str, Any]]:
    """Returns every checkpoint minus the baseline, on shared samples, read the same way."""
    others = {e.label.condition: e for e in entries if e.label.checkpoint == baseline}
    pairs = [
        (entry, others[entry.label.condition], {"baseline": baseline})
        for entry in entries
        if entry.label.checkpoint != baseline and entry.label.condition in others
    ]
    return _differences(pairs)


def solver_differences(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Returns every solver minus the full context, with the same checkpoint on the same samples."""

    def key(label: Label) -> tuple[Any, ...]:
        return label.checkpoint, label.task, label.input_over_window

    full: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        if entry.run.solver == FULL_CONTEXT:
            full.setdefault(key(entry.label), []).append(entry)
    pairs = [
        (entry, other, {"baseline_solver": other.label.solver})
        for entry in entries
        if entry.run.solver != FULL_CONTEXT
        for other in full.get(key(entry.label), [])
    ]
    return _differences(pairs)


def describe_difference(estimate: Estimate, adjusted_p: float) -> dict[str, Any]:
    """Returns a difference with its interval, p-values and verdict."""
    word = verdict(estimate, adjusted_p)
    return {
        "mean": estimate.mean,
        "interval": [estimate.low, estimate.high],
        "p_value": estimate.p_value,
        "p_adjusted": adjusted_p,
        "num_samples": estimate.num_samples,
        "num_clusters": estimate.num_clusters,
        "verdict": word,
        "num_samples_needed": None
        if word != "cannot tell"
        else num_samples_needed(estimate, adjusted_p),
        "minimum_detectable_effect": minimum_detectable_effect(estimate),
    }


def _differences(pairs: Sequence[tuple[Entry, Entry, dict[str, str]]]) -> list[dict[str, Any]]:
    """Returns the differences of pairs; p-values are adjusted for all of them together."""
    found = []
    for ours, other, names in pairs:
        estimate = estimate_difference(ours.scores, other.scores, ours.groups)
        if estimate is not None:
            found.append((ours.label.as_dict() | names, estimate))
    adjusted = holm([estimate.p_value for _, estimate in found])
    return [
        names | describe_difference(estimate, p)
        for (names, estimate), p in zip(found, adjusted, strict=True)
    ]


def _row(entry: Entry) -> dict[str, Any]:
    scores, rows = entry.scores, entry.rows
    estimate = estimate_mean(list(scores.values()), [entry.groups[key] for key in scores])
    endings = rows["validity"].value_counts()
    return {
        **entry.label.as_dict(),
        "accuracy": estimate.mean,
        "interval": [estimate.low, estimate.high],
        "num_samples": estimate.num_samples,
        "num_clusters": estimate.num_clusters,
        "epochs": entry.run.epochs,
        "coverage": float(rows["value"].notna().sum()) / max(1, entry.run.num_samples),
        "endings": {name: int(endings[name]) for name in sorted(endings.index)},
        **truncation_shares(rows),
    }


def _checkpoints(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        run, name = entry.run, entry.label.checkpoint
        facts = {"hash": run.checkpoint_hash, "step": run.step, "recipe_hash": run.recipe_hash}
        known = found.setdefault(name, {"checkpoint": name, **dict.fromkeys(facts)})
        # Not every harness knows all of them.
        known |= {key: value for key, value in facts.items() if value is not None}
    return [found[name] for name in sorted(found)]


def _cost(entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns what the evaluations cost: tokens and calls per attempt, and wall seconds per run."""
    counts = ("input_tokens", "output_tokens", "calls")
    rows = [
        {
            **entry.label.as_dict(),
            "seconds": entry.run.seconds,
            **{name: float(entry.rows[name].mean()) for name in counts},
        }
        for entry in entries
    ]
    totals: dict[str, Any] = {
        name: sum(int(e.rows[name].sum()) for e in entries) for name in counts
    }
    totals["seconds"] = float(np.nansum([entry.run.seconds for entry in entries]))
    totals["num_uncounted"] = sum(bool(e.rows["input_tokens"].isna().all()) for e in entries)
    return {"rows": rows, "totals": totals}


def _source(entry: Entry) -> dict[str, Any]:
    run = entry.run
    return {
        "log": run.log,
        "sha256": run.log_hash,
        "task": entry.label.task,
        "task_version": run.task_version,
        "checkpoint": entry.label.checkpoint,
        "checkpoint_hash": run.checkpoint_hash,
        "solver": entry.label.solver,
        "settings": dict(run.settings) | dict(run.solver_args),
        "generates": run.generates,
    }


def rounded(value: Any) -> Any:
    """Returns a JSON value with floats rounded, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if abs(value) < float("inf") else None
    return value
