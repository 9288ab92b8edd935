"""The board's numbers as CSV (one figure a line) and as Markdown (for a document or a chat)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longspan.leaderboards.wording import (
    count,
    interval,
    percent,
    points,
    solver_name,
    verdict_words,
    windows,
    words,
)

Row = Mapping[str, Any]

KEYS = ("checkpoint", "solver", "task", "input_over_window")
COLUMNS = (
    *("figure", *KEYS, "group", "against", "value", "low", "high"),
    *("num_samples", "coverage", "p_adjusted", "verdict"),
)


def to_csv(board: Mapping[str, Any]) -> str:
    """Returns every figure with its interval, one a line; fractions in [0, 1].

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    numbers = board["numbers"]
    rows: list[dict[str, Any]] = [_figure("accuracy", row, "accuracy") for row in numbers["rows"]]
    rows += _suite_figures(numbers["suite"])
    for row in numbers["differences"]:
        rows.append(_figure("difference", row, "mean") | {"against": row["baseline"]})
    for row in numbers["solver_differences"]:
        rows.append(_figure("difference", row, "mean") | {"against": row["baseline_solver"]})
    for name, part in sorted(numbers["breakdowns"].items()):
        rows += [_figure(f"accuracy by {words(name)}", row, "accuracy") for row in part]
    for row in numbers["retention"]:
        shares = [name for name in ("read", "noted", "kept") if row[name] is not None]
        rows += [_figure(f"evidence {name}", row, name) for name in shares]
    target = io.StringIO()
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    return target.getvalue()


def to_markdown(board: Mapping[str, Any]) -> str:
    """Returns the board's tables in Markdown: accuracies and differences in percent."""
    numbers = board["numbers"]
    baseline = board["baseline"]
    parts = [f"# {_text(board['title'])}", ""]
    parts += [f"- {_text(note)}" for note in board.get("notes", [])]
    if numbers["suite"]:
        parts += _suite_markdown(numbers["suite"])
    parts += ["", "Accuracy in percent with 95% intervals", ""]
    header = ["Task", "Input", "Solver", "Checkpoint", "Accuracy", "n", "Coverage"]
    if baseline:
        header += [f"Against {_text(baseline)}", "Verdict"]
    parts += _table(header, [_overall(row, numbers, baseline) for row in numbers["rows"]])
    if numbers["solver_differences"]:
        parts += ["", "Solver against full context, same checkpoint and samples", ""]
        parts += _table(
            ["Task", "Input", "Checkpoint", "Solver", "Difference", "Verdict"],
            [
                [
                    *(_text(row["task"]), windows(row["input_over_window"])),
                    *(_text(row["checkpoint"]), _text(solver_name(row["solver"]))),
                    f"{points(row['mean'])} {interval(row['interval'], signed=True)}",
                    verdict_words(row),
                ]
                for row in numbers["solver_differences"]
            ],
        )
    for name, rows in numbers["breakdowns"].items():
        if rows:
            parts += ["", f"Accuracy by {words(name)}", ""]
            parts += _table(
                ["Task", "Solver", words(name).capitalize(), "Checkpoint", "Accuracy", "n"],
                [
                    [
                        *(_text(row["task"]), _text(solver_name(row["solver"]))),
                        *(_text(words(row["group"])), _text(row["checkpoint"])),
                        f"{percent(row['accuracy'])} {interval(row['interval'])}",
                        count(row["num_samples"]),
                    ]
                    for row in rows
                ],
            )
    if board["skipped"]:
        parts += ["", "Left out", ""]
        parts += [f"- {_text(one['place'])}: {_text(one['reason'])}" for one in board["skipped"]]
    return "\n".join(parts) + "\n"


def _suite_figures(suite: Mapping[str, Any] | None) -> list[dict[str, Any]]:
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
    for row in (suite["reported"] or {"rows": []})["rows"]:
        values = [("average", row["average"]), *zip(names, row["values"], strict=True)]
        rows += [
            {"figure": "reported, not reproduced", "checkpoint": row["name"], "task": name}
            | {"value": value}
            for name, value in values
            if value is not None
        ]
    return rows


def _suite_markdown(suite: Mapping[str, Any]) -> list[str]:
    """Returns the table of a declared board, with what others report below it."""
    names = [column["name"] for column in suite["columns"]]
    average = ["Average"] if suite["has_average"] else []
    lines = ["", f"## {_text(suite['title'])}", ""]
    if suite["description"]:
        lines += [_text(suite["description"]), ""]
    rows = []
    for row in suite["rows"]:
        cells = [*([row["average"]] if average else []), *row["cells"]]
        shown = [f"{percent(cell['mean'])} {interval(cell['interval'])}".strip() for cell in cells]
        rows.append([_text(row["checkpoint"]), *shown])
    if rows:
        lines += _table(["Checkpoint", *average, *map(_text, names)], rows)
    else:
        lines += ["No log is a run of this board's tasks."]
    reported = suite["reported"]
    if reported:
        lines += ["", f"Reported, not reproduced: {_text(reported['source'])}", ""]
        rows = []
        for row in reported["rows"]:
            values = [*([row["average"]] if average else []), *row["values"]]
            notes = f" [{', '.join(map(str, row['notes']))}]" if row["notes"] else ""
            rows.append([_text(row["name"] + notes), *(percent(value) for value in values)])
        lines += _table(["Model", *average, *map(_text, names)], rows)
        lines += ["", *(f"{i}. {_text(note)}" for i, note in enumerate(reported["notes"], 1))]
    return lines


def find_difference(row: Row, differences: Iterable[Row]) -> Row | None:
    """Returns the difference that belongs to a row, None for the baseline itself."""
    key = [row[name] for name in KEYS]
    return next((one for one in differences if [one[name] for name in KEYS] == key), None)


def _overall(row: Row, numbers: Mapping[str, Any], baseline: str | None) -> list[str]:
    cells = [
        *(_text(row["task"]), windows(row["input_over_window"]), _text(solver_name(row["solver"]))),
        _text(row["checkpoint"]),
        f"{percent(row['accuracy'])} {interval(row['interval'])}",
        *(count(row["num_samples"]), f"{percent(row['coverage'])}%"),
    ]
    if baseline:
        difference = find_difference(row, numbers["differences"])
        if difference is None:
            cells += ["", ""]
        else:
            shown = f"{points(difference['mean'])} {interval(difference['interval'], signed=True)}"
            cells += [shown, verdict_words(difference)]
    return cells


def _figure(name: str, row: Row, value: str) -> dict[str, Any]:
    low, high = row.get("interval") or (None, None)
    figure = {"figure": name, "value": row[value], "low": low, "high": high}
    more = ("group", "num_samples", "coverage", "p_adjusted", "verdict")
    return {key: row.get(key) for key in KEYS} | {key: row.get(key) for key in more} | figure


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$&])")


def _text(value: object) -> str:
    """Returns a text that Markdown shows as it is, in one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA_STARTS else value
