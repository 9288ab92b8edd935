"""The board as Markdown, for a document or a chat: the cells of the page, without its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longspan.leaderboards.page import (
    BREAKDOWNS,
    MAX_HEAT_MAPS,
    overall_rows,
    retention_row,
    solver_row,
    training_summary,
)
from longspan.leaderboards.page_tables import heat_table, suite_model
from longspan.leaderboards.wording import (
    cost_words,
    count,
    interval,
    percent,
    solver_name,
    words,
)

Row = Mapping[str, Any]

ACCURACY = ("accuracy", "interval", "attempts", "attempts_interval")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&])")


def to_markdown(board: Mapping[str, Any]) -> str:
    """Returns the board's tables in Markdown: accuracies and differences in percent."""
    numbers = board["numbers"]
    parts = [f"# {_text(board['title'])}", ""]
    parts += [f"- {_text(note)}" for note in board.get("notes", [])]
    parts += _suite(suite_model(numbers["suite"], board["baseline"]))
    parts += _overall(board)
    parts += _solvers([solver_row(row) for row in numbers["solver_differences"]])
    for name, title in BREAKDOWNS.items():
        parts += _breakdown(title, numbers["breakdowns"].get(name, []))
    for one in numbers["heat_maps"][:MAX_HEAT_MAPS]:
        parts += _heat_map(heat_table(one))
    parts += _retention([retention_row(row) for row in numbers["retention"]])
    parts += _training([training_summary(stage) for stage in numbers["training"]])
    for card in board["data"]:
        parts += _data_card(card)
    if board["skipped"]:
        parts += ["", "Left out", ""]
        parts += [f"- {_text(one['place'])}: {_text(one['reason'])}" for one in board["skipped"]]
    return "\n".join(parts) + "\n"


def _suite(suite: Row | None) -> list[str]:
    """Returns the table of a declared board, with what others report below it."""
    if suite is None:
        return []
    lines = ["", f"## {_text(suite['title'])}", ""]
    if suite["description"]:
        lines += [_text(suite["description"]), ""]
    average = ["Average"] if suite["has_average"] else []
    difference = ["Difference", "Verdict"] if suite["has_difference"] else []
    header = ["Checkpoint", *average, *difference, *suite["columns"]]
    rows = []
    for row in suite["rows"]:
        cells = [_with_interval(cell) for cell in [row["average"]][: len(average)]]
        if difference:
            cells += _difference(row["difference"])
        rows.append([row["checkpoint"], *cells, *map(_with_interval, row["cells"])])
    lines += _table(header, rows) if rows else ["No log is a run of this board's tasks."]
    if suite["reported"]:
        lines += ["", f"Reported, not reproduced: {_text(suite['source'])}", ""]
        rows = []
        for row in suite["reported"]:
            notes = f" [{row['notes']}]" if row["notes"] else ""
            cells = [row["average"]][: len(average)] + row["cells"]
            rows.append([row["name"] + notes, *(cell["text"] for cell in cells)])
        lines += _table(["Model", *average, *suite["columns"]], rows)
        lines += ["", *(f"{i}. {_text(note)}" for i, note in enumerate(suite["notes"], 1))]
    return lines


def _overall(board: Mapping[str, Any]) -> list[str]:
    baseline, rows = board["baseline"], overall_rows(board)
    header = ["Task", "Input", "Solver", "Checkpoint", "Accuracy", "n", "Coverage", "Cut"]
    header += [f"Against {baseline}", "Verdict"] if baseline else []
    lines = ["", "Accuracy in percent with 95% intervals", ""]
    lines += _table(
        header,
        [
            [
                *(row["task"], row["length"], row["solver"], row["checkpoint"]),
                " ".join(row[name] for name in ACCURACY if row[name]),
                *(row["n"], f"{row['coverage']}%"),
                " ".join(filter(None, (row["cut"], row["evidence"]))),
                *(_difference(row["difference"]) if baseline else ()),
            ]
            for row in rows
        ],
    )
    lines += ["", "Cost: tokens and calls per attempt, time of the whole evaluation", ""]
    lines += _table(
        ["Task", "Input", "Solver", "Checkpoint", "Tokens in", "Tokens out", "Calls", "Time"]
        + ["Not answered"],
        [
            [
                *(row["task"], row["length"], row["solver"], row["checkpoint"]),
                *(row["input_tokens"], row["output_tokens"], row["calls"], row["seconds"]),
                row["endings"],
            ]
            for row in rows
        ],
    )
    return [*lines, "", f"All evaluations together: {_text(cost_words(board['cost']['totals']))}."]


def _solvers(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    header = ["Task", "Input", "Checkpoint", "Solver", "Difference", "Verdict", "n"]
    lines = ["", "Solver against full context, same checkpoint and samples", ""]
    return lines + _table(
        header,
        [
            [
                *(row["task"], row["length"], row["checkpoint"], row["solver"]),
                *(*_difference(row["difference"]), row["n"]),
            ]
            for row in rows
        ],
    )


def _breakdown(title: str, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    what = title.removeprefix("By ")
    header = ["Task", "Solver", what.capitalize(), "Checkpoint", "Accuracy", "n"]
    return ["", f"Accuracy by {what}", ""] + _table(
        header,
        [
            [
                *(row["task"], solver_name(row["solver"]), words(row["group"]), row["checkpoint"]),
                f"{percent(row['accuracy'])} {interval(row['interval'])}",
                count(row["num_samples"]),
            ]
            for row in rows
        ],
    )


def _heat_map(one: Row) -> list[str]:
    lines = ["", f"By depth of the evidence and input length: {_text(one['title'])}", ""]
    return lines + _table(
        ["Depth", *one["lengths"]],
        [
            [
                line["depth"],
                *(f"{c['text']} (n = {c['n']})" if c["n"] else "" for c in line["cells"]),
            ]
            for line in one["lines"]
        ],
    )


def _retention(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    header = ["Checkpoint", "Task", "Input", "Read", "Noted", "Kept", "Used"]
    header += ["Never read", "Not noted", "Overwritten", "Not used"]
    header += ["Malformed", "Hit limit", "Cut", "Chunks", "Memory", "n"]
    lines = [
        "",
        "What the memory agent kept, and where it lost the rest: percent of the evidence, of the "
        "reading turns",
        "",
    ]
    return lines + _table(
        header,
        [
            [
                *(row["checkpoint"], row["task"], row["length"]),
                *(share["text"] for share in row["shares"]),
                *(row["chunks"], row["tokens"], row["n"]),
            ]
            for row in rows
        ],
    )


def _training(stages: Sequence[Row]) -> list[str]:
    if not stages:
        return []
    header = ["Stage", "Steps", "Mean reward, first tenth", "Last tenth", "AEPO masked in"]
    return ["", "Training", ""] + _table(
        header,
        [
            [one["stage"], count(one["num_steps"]), one["first"], one["last"], one["masked"]]
            for one in stages
        ],
    )


def _data_card(card: Row) -> list[str]:
    lines = [
        "",
        f"Task set {_text(card['name'])}: {card['num_samples']} samples, {card['hash']}",
        "",
    ]
    lines += _table(
        ["Kind", *card["splits"]],
        [[words(one["kind"]), *map(str, one["counts"])] for one in card["kinds"]],
    )
    rows = []
    for one in card["yields"]:
        lost = "; ".join(f"{part['reason']} {part['number']}" for part in one["rejected"])
        rows.append([one["step"], *(str(one[n]) for n in ("wanted", "drawn", "accepted")), lost])
    header = ["Step", "Wanted", "Drawn", "Accepted", "Rejected, by reason"]
    return [*lines, "", *_table(header, rows)] if rows else lines


def _difference(cells: Row) -> list[str]:
    return [f"{cells['points']} {cells['interval']}".strip(), cells["words"]]


def _with_interval(cell: Row) -> str:
    return f"{cell['text']} {cell['interval']}".strip()


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    shown = [list(map(_text, row)) for row in (header, *rows)]
    lines = [shown[0], ["---"] * len(header), *shown[1:]]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _text(value: object) -> str:
    """Returns a text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
