"""The table of a declared board: a row per checkpoint, a column per benchmark, and their average.

In the shape of the paper's Tables 7 and 10. A cell is the mean of its tasks; with a task missing it
is empty and says which, and so is the average with a column missing. Figures that others report
follow in rows of their own; nothing is computed with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from longspan.leaderboards.declared import BoardSpec, Column, DeclaredBoard, read_reported
from longspan.leaderboards.differences import describe_difference
from longspan.leaderboards.entries import Entry
from longspan.leaderboards.statistics import Estimate, holm
from longspan.leaderboards.suite_comparison import (
    leaf_name,
    matching,
    paired_scores,
    suite_tree,
    task_scores,
)
from longspan.leaderboards.suites import (
    TaskScores,
    leaf_weights,
    suite_average,
    suite_difference,
)


def suite_table(
    board: DeclaredBoard, entries: Sequence[Entry], baseline: str | None
) -> dict[str, Any]:
    """Returns the table: title, columns, rows, reported rows; fractions in [0, 1].

    Args:
        board: What is shown.
        entries: All runs.
        baseline: Checkpoint that averages are compared with.
    """
    spec = board.spec
    names = _checkpoints(spec, entries)
    return {
        "board": spec.name,
        "title": spec.title,
        "description": spec.description,
        "solver": spec.solver,
        "columns": [_column(spec, column) for column in spec.columns],
        "has_average": bool(spec.weights),
        "rows": [_row(spec, entries, name) for name in names],
        "differences": _differences(spec, entries, names, baseline),
        "reported": read_reported(board),
    }


def _column(spec: BoardSpec, column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "tasks": list(column.tasks),
        "args": dict(column.args),
        "solver": column.solver,
        "metric": column.metric or spec.metric,
        "weight": column.weight,
    }


def _checkpoints(spec: BoardSpec, entries: Iterable[Entry]) -> list[str]:
    """Returns the checkpoints of the rows: as declared, then by training step and name."""
    steps: dict[str, tuple[float, str]] = {}
    for entry in entries:
        if any(matching(spec, c, task, [entry]) for c in spec.columns for task in c.tasks):
            name, step = entry.label.checkpoint, entry.run.step
            steps[name] = (-1.0 if step is None else float(step), name)
    declared = [name for name in spec.checkpoints if name in steps]
    return [*declared, *sorted(steps.keys() - set(declared), key=steps.__getitem__)]


def _row(spec: BoardSpec, entries: Sequence[Entry], checkpoint: str) -> dict[str, Any]:
    own = [entry for entry in entries if entry.label.checkpoint == checkpoint]
    cells: list[dict[str, Any]] = []
    scores: dict[str, TaskScores] = {}
    for column in spec.columns:
        parts, reasons = _parts(spec, column, own)
        found = suite_average(parts, dict.fromkeys(parts, 1.0)).estimate if parts else None
        cells.append(_cell(None if reasons else found, reasons))
        scores |= parts
    average = None
    missing: list[str] = []
    if spec.weights:
        weights = leaf_weights(suite_tree(spec))
        found_average = suite_average(scores, weights)
        average, missing = found_average.estimate, list(found_average.missing)
    return {"checkpoint": checkpoint, "cells": cells, "average": _cell(average, missing)}


def _parts(
    spec: BoardSpec, column: Column, own: Sequence[Entry]
) -> tuple[dict[str, TaskScores], list[str]]:
    """Returns the scores of a column's tasks, and why some are not there."""
    parts, reasons = {}, []
    for task in column.tasks:
        found = matching(spec, column, task, own)
        if len(found) == 1:
            parts[leaf_name(spec, column, task)] = task_scores(spec, column, found[0])
        else:
            reasons.append(f"{task}: {len(found)} runs, ambiguous" if found else f"{task}: no run")
    return parts, reasons


def _cell(estimate: Estimate | None, missing: Sequence[str]) -> dict[str, Any]:
    if estimate is None:
        return {"mean": None, "interval": None, "num_samples": 0, "missing": list(missing)}
    return {
        "mean": estimate.mean,
        "interval": [estimate.low, estimate.high],
        "num_samples": estimate.num_samples,
        "missing": [],
    }


def _differences(
    spec: BoardSpec, entries: Sequence[Entry], names: Sequence[str], baseline: str | None
) -> list[dict[str, Any]]:
    """Returns each checkpoint's average minus the baseline's, adjusted for their number."""
    if baseline not in names or not spec.weights:
        return []
    weights = leaf_weights(suite_tree(spec))
    found = []
    for name in names:
        if name != baseline:
            pair = paired_scores(spec, entries, name, str(baseline))
            estimate = suite_difference(*pair, weights).estimate
            if estimate is not None:
                found.append((name, estimate))
    adjusted = holm([estimate.p_value for _, estimate in found])
    return [
        {"checkpoint": name, "baseline": baseline} | describe_difference(estimate, p)
        for (name, estimate), p in zip(found, adjusted, strict=True)
    ]
