"""Two checkpoints on the average of a declared board, paired on every task of it.

A task of the board is taken from the one pair of runs that read it the same way. It is missing
where there is no such pair, and where there are several: which one to average is not for a program
to choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from longspan.harness.errors import BoardError
from longspan.leaderboards.declared import BOARDS, BoardSpec, Column, find_board
from longspan.leaderboards.differences import describe_difference
from longspan.leaderboards.entries import Entry
from longspan.leaderboards.suites import (
    Branch,
    TaskScores,
    leaf_weights,
    suite_average,
    suite_difference,
)


def boards_to_compare(name: str | None) -> list[BoardSpec]:
    """Returns the board of a name or path, or of all packaged ones those that average scores.

    Of several that average the same tasks in the same way only the first is returned.

    Raises:
        BoardError: there is none of that name, or it has no average of scores.
    """
    names = [name] if name else sorted(path.stem for path in BOARDS.glob("*.yaml"))
    specs = [find_board(one).spec for one in names]
    fit = [spec for spec in specs if spec.weights and spec.metric == "score"]
    if name and not fit:
        raise BoardError(f"board {name!r} has no average of scores; choose one with weights")
    distinct: dict[object, BoardSpec] = {}
    for spec in fit:
        key = (spec.solver, tuple(sorted(leaf_weights(suite_tree(spec)).items())))
        distinct.setdefault(key, spec)
    return list(distinct.values())


def suite_tree(spec: BoardSpec) -> dict[str, Branch]:
    """Returns a board's tree: its columns, each the unweighted mean of its tasks."""
    return {
        column.name: Branch(
            column.weight, {leaf_name(spec, column, task): Branch() for task in column.tasks}
        )
        for column in spec.columns
    }


def compare_suite(spec: BoardSpec, entries: Sequence[Entry], a: str, b: str) -> dict[str, Any]:
    """Returns A's and B's average, their paired difference and what is missing.

    The difference is one comparison; its p-value is not adjusted for the tasks'.
    """
    weights = leaf_weights(suite_tree(spec))
    ours, theirs = paired_scores(spec, entries, a, b)
    found = suite_difference(ours, theirs, weights)
    result: dict[str, Any] = {
        "board": spec.name,
        "title": spec.title,
        "missing": list(found.missing),
        "difference": None,
    }
    if found.estimate is None:
        return result
    for name, side in ((a, ours), (b, theirs)):
        average = suite_average(side, weights).estimate
        if average is not None:
            interval = [average.low, average.high]
            result.setdefault("averages", {})[name] = {"mean": average.mean, "interval": interval}
    result["difference"] = describe_difference(found.estimate, found.estimate.p_value)
    return result


def paired_scores(
    spec: BoardSpec, entries: Sequence[Entry], a: str, b: str
) -> tuple[dict[str, TaskScores], dict[str, TaskScores]]:
    """Returns A's and B's scores on the tasks of a board that both read the same way."""
    ours: dict[str, TaskScores] = {}
    theirs: dict[str, TaskScores] = {}
    for column in spec.columns:
        for task in column.tasks:
            pair = _pair(matching(spec, column, task, entries), a, b)
            if pair is not None:
                leaf = leaf_name(spec, column, task)
                ours[leaf], theirs[leaf] = (TaskScores(one.scores, one.groups) for one in pair)
    return ours, theirs


def matching(spec: BoardSpec, column: Column, task: str, entries: Iterable[Entry]) -> list[Entry]:
    """Returns the runs that could fill a task of a column: its solver, its task arguments."""
    solver = column.solver or spec.solver
    return [
        entry
        for entry in entries
        if (entry.run.task, entry.run.solver) == (task, solver)
        and all(entry.run.task_args.get(key) == value for key, value in column.args.items())
    ]


def leaf_name(spec: BoardSpec, column: Column, task: str) -> str:
    """Returns a task with what the column sets, so that two ways to run one are two names."""
    facts = [f"{name}={value}" for name, value in column.args.items()]
    if column.solver not in (None, spec.solver):
        facts.append(str(column.solver))
    return f"{task} ({', '.join(facts)})" if facts else task


def _pair(fit: Sequence[Entry], a: str, b: str) -> tuple[Entry, Entry] | None:
    """Returns the only pair of runs that read a task the same way, None without or with several."""
    others = {e.label.condition: e for e in fit if e.label.checkpoint == b}
    pairs = [
        (entry, others[entry.label.condition])
        for entry in fit
        if entry.label.checkpoint == a and entry.label.condition in others
    ]
    return pairs[0] if len(pairs) == 1 else None
