"""CSV and Markdown: the same numbers as the board, and harmless whoever opens them."""

from __future__ import annotations

import csv
import io
from typing import Any

from longspan.leaderboards.tables import find_difference, to_csv, to_markdown

KEY = {
    "checkpoint": "trained",
    "solver": "full_context",
    "task": "world-1x",
    "input_over_window": 1,
}
ROW = KEY | {"accuracy": 0.61, "interval": [0.57, 0.65], "num_samples": 600, "coverage": 0.99}
DIFFERENCE = KEY | {
    "baseline": "nano",
    "mean": 0.177,
    "interval": [0.113, 0.24],
    "p_value": 0.0001,
    "p_adjusted": 0.0002,
    "num_samples": 600,
    "verdict": "better",
}


def board(**changes: Any) -> dict[str, Any]:
    numbers = {
        "baseline": "nano",
        "rows": [ROW | changes],
        "differences": [DIFFERENCE | changes],
        "solver_differences": [],
        "breakdowns": {"hops": [ROW | changes | {"group": "2"}]},
        "suite": None,
        "retention": [KEY | changes | {"read": 1.0, "noted": 0.5, "kept": None}],
    }
    return {"title": "T", "baseline": "nano", "numbers": numbers, "notes": [], "skipped": []}


def test_csv_has_every_figure_as_a_fraction():
    rows = list(csv.DictReader(io.StringIO(to_csv(board()))))
    figures = {row["figure"]: row for row in rows}
    assert figures["accuracy"]["value"] == "0.61" and figures["accuracy"]["high"] == "0.65"
    assert figures["difference"]["against"] == "nano"
    assert figures["difference"]["verdict"] == "better"
    assert figures["accuracy by hops"]["group"] == "2"
    assert figures["evidence noted"]["value"] == "0.5"
    assert "evidence kept" not in figures


def test_csv_runs_no_formula():
    text = to_csv(board(checkpoint='=HYPERLINK("http://example.com")'))
    names = {row["checkpoint"] for row in csv.DictReader(io.StringIO(text))}
    assert names == {'\'=HYPERLINK("http://example.com")'}
    assert ",-0.1," in to_csv(board(mean=-0.1))  # a number stays one


def test_markdown_says_accuracy_difference_and_verdict_in_one_line():
    line = next(line for line in to_markdown(board()).splitlines() if "trained" in line)
    assert line == (
        "| world-1x | 1\u00d7 | full context | trained | 61.0 [57.0, 65.0] | 600 | 99.0% "
        "| +17.7 [+11.3, +24.0] | better (p < 0.001) |"
    )


def test_names_cannot_break_out_of_a_markdown_table():
    text = to_markdown(board(checkpoint="a | b\n<script> [x](http://example.com) `c`"))
    lines = [line for line in text.splitlines() if "script" in line]
    assert len(lines) == 2  # overall and by hops
    assert all("\\| b \\<script\\> \\[x\\](http" in line and "\\`c\\`" in line for line in lines)


def test_a_baseline_has_no_difference_to_itself():
    assert find_difference(ROW | {"checkpoint": "nano"}, [DIFFERENCE]) is None
    assert find_difference(ROW, [DIFFERENCE]) == DIFFERENCE
