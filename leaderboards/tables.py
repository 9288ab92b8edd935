"""The board's numbers as CSV: one figure a line, with its interval and what it is of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from longspan.leaderboards.wording import words

Row = Mapping[str, Any]

KEYS = ("checkpoint", "solver", "task", "input_over_window")
"""What names a row."""
FACTS = ("harness", "task_version", "step", "settings_hash", "metric")
"""What else is known of an evaluation."""
COLUMNS = (
    *("figure", *KEYS, "group", "against", "value", "low", "high"),
    *("num_samples", "coverage", "p_adjusted", "verdict"),
    *("num_samples_needed", "minimum_detectable_effect", *FACTS),
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def to_csv(board: Mapping[str, Any]) -> str:
    """Returns every figure of the page; fractions in [0, 1], tokens, calls and seconds.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    numbers = board["numbers"]
    parts: list[Iterable[dict[str, Any]]] = [
        *(_evaluation(row) for row in numbers["rows"]),
        _suite_figures(numbers["suite"]),
        (
            _figure("difference", row, "mean") | {"against": row["baseline"]}
            for row in numbers["differences"]
        ),
        (
            _figure("difference", row, "mean") | {"against": row["baseline_solver"]}
            for row in numbers["solver_differences"]
        ),
        *(
            [_figure(f"accuracy by {words(name)}", row, "accuracy") for row in part]
            for name, part in sorted(numbers["breakdowns"].items())
        ),
        *(_heat_map(one) for one in numbers["heat_maps"]),
        *(_several(row, RETENTION) for row in numbers["retention"]),
        *(_several(row, COSTS) for row in board["cost"]["rows"]),
        *(_curves(stage) for stage in numbers["training"]),
        *(_data_card(card) for card in board["data"]),
    ]
    target = io.StringIO()
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for part in parts:
        writer.writerows({key: _harmless(value) for key, value in row.items()} for row in part)
    return target.getvalue()


def by_key(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    """Returns rows by what names them: the difference of a row of the overall table, its cost."""
    return {key_of(row): row for row in rows}


def key_of(row: Row) -> tuple[Any, ...]:
    """Returns what names a row."""
    return tuple(row[name] for name in KEYS)


RETENTION = {
    "read": "evidence read",
    "noted": "evidence noted",
    "kept": "evidence kept",
    "used": "evidence used",
    "lost_never_read": "evidence lost: never read",
    "lost_not_noted": "evidence lost: not noted",
    "lost_overwritten": "evidence lost: overwritten",
    "lost_not_used": "evidence lost: not used",
    "malformed_share": "malformed turns",
    "cut_off_share": "turns that hit their limit",
    "memory_cut_share": "turns whose memory was cut",
    "num_chunks": "chunks",
    "memory_tokens": "tokens of the memory at the end",
}
COSTS = {
    "input_tokens": "input tokens per attempt",
    "output_tokens": "output tokens per attempt",
    "calls": "calls per attempt",
    "seconds": "seconds of the evaluation",
}


def _evaluation(row: Row) -> Iterator[dict[str, Any]]:
    """Yields the accuracy of a run, what several attempts achieve, and how its samples ended."""
    yield _figure("accuracy", row, "accuracy") | {name: row[name] for name in FACTS}
    found = row["pass_at_k"]
    if found is not None:
        yield _figure(f"pass@{found['k']}", {**row, **found}, "mean")
    shares = {"truncated_share": "samples cut", "evidence_kept": "evidence left by the cut"}
    yield from _several(row, shares)
    for ending, number in row["endings"].items():
        yield _figure(f"samples {words(ending)}", {**row, "number": number}, "number", False)


def _several(row: Row, figures: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns the figures of a row that are known."""
    return [
        _figure(figure, row, name, False)
        for name, figure in figures.items()
        if row.get(name) is not None
    ]


def _heat_map(one: Row) -> Iterator[dict[str, Any]]:
    for depth, cells in zip(one["depths"], one["cells"], strict=True):
        for length, cell in zip(one["lengths"], cells, strict=True):
            if cell is not None:
                row = {**one, **cell, "group": f"{depth}, {length}"}
                yield _figure("accuracy by depth and input length", row, "accuracy")


def _curves(stage: Row) -> Iterator[dict[str, Any]]:
    for step in stage["steps"]:
        for name, value in step.items():
            if name != "step" and value is not None:
                row = {"task": stage["stage"], "group": step["step"], "value": float(value)}
                yield _figure(f"training: {words(name)}", row, "value")


def _data_card(card: Row) -> Iterator[dict[str, Any]]:
    for one in card["kinds"]:
        for split, number in zip(card["splits"], one["counts"], strict=True):
            row = {"task": card["name"], "group": f"{one['kind']}, {split}", "value": number}
            yield _figure("samples of the task set", row, "value")
    for one in card["yields"]:
        for name in ("wanted", "drawn", "accepted"):
            row = {"task": card["name"], "group": one["step"], "value": one[name]}
            yield _figure(f"synthesis: {name}", row, "value")
        for lost in one["rejected"]:
            group = f"{one['step']}: {lost['reason']}"
            row = {"task": card["name"], "group": group, "value": lost["number"]}
            yield _figure("synthesis: rejected", row, "value")


def _suite_figures(suite: Row | None) -> list[dict[str, Any]]:
    """Returns the cells of a declared board; what others report is told apart by its figure."""
    if suite is None:
        return []
    names = [column["name"] for column in suite["columns"]]
    rows: list[dict[str, Any]] = []
    for row in suite["rows"]:
        cells = [("average", row["average"]), *zip(names, row["cells"], strict=True)]
        rows += [
            _figure("board", {**row, "task": name, **cell}, "mean")
            for name, cell in cells
            if cell["mean"] is not None
        ]
    for row in suite["differences"]:
        named = {**row, "task": f"{suite['title']}: average"}
        rows.append(_figure("difference", named, "mean") | {"against": row["baseline"]})
    for row in (suite["reported"] or {"rows": []})["rows"]:
        values = [("average", row["average"]), *zip(names, row["values"], strict=True)]
        rows += [
            {"figure": "reported, not reproduced", "checkpoint": row["name"], "task": name}
            | {"value": value}
            for name, value in values
            if value is not None
        ]
    return rows


def _figure(name: str, row: Row, value: str, has_interval: bool = True) -> dict[str, Any]:
    low, high = (row.get("interval") if has_interval else None) or (None, None)
    figure = {"figure": name, "value": row[value], "low": low, "high": high}
    more = ("group", "num_samples", "coverage", "p_adjusted", "verdict")
    needs = ("num_samples_needed", "minimum_detectable_effect")
    return {key: row.get(key) for key in (*KEYS, *more, *needs)} | figure


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA_STARTS else value
