"""The table of a declared board: cells, averages, what is missing, what others report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from longspan.leaderboards.declared import DeclaredBoard, find_board
from longspan.leaderboards.entries import make_entries
from longspan.leaderboards.markdown import to_markdown
from longspan.leaderboards.suite_table import suite_table
from longspan.leaderboards.tables import to_csv
from longspan.leaderboards.views import build_board
from tests.leaderboards.test_views import RUN, logs, rows

COLUMNS = [
    {"name": "A", "tasks": ["a"]},
    {"name": "BC", "tasks": ["b", "c"]},
    {"name": "Long", "tasks": ["a"], "args": {"bins": 2}, "solver": "memory_agent", "weight": 0},
]
FIGURES = {
    "source": "Them (2025)",
    "notes": {"odd": "It does not add up."},
    "tables": {
        "main": {
            "where": "Table 1",
            "rows": [
                {"name": "theirs", "average": 60, "values": {"A": 50, "BC": 70}, "notes": ["odd"]}
            ],
        }
    },
}


@pytest.fixture
def board(tmp_path: Path) -> DeclaredBoard:
    spec = {"name": "mine", "title": "Mine", "columns": COLUMNS}
    spec["reported"] = {"file": "figures.yaml", "table": "main"}
    (tmp_path / "figures.yaml").write_text(yaml.safe_dump(FIGURES))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(spec))
    return find_board(str(tmp_path / "mine.yaml"))


def part(number: int, checkpoint: str, task: str, values: list[float | None], **run: Any) -> Any:
    named = dataclasses.replace(
        RUN, task=task, checkpoint=checkpoint, input_over_window=None, checkpoint_hash=None, **run
    )
    return named, rows(number, values)


def complete(number: int, checkpoint: str, shift: float = 0.0) -> list[Any]:
    return [
        part(number, checkpoint, "a", [1.0, 1.0, 0.0, 0.0 + shift]),
        part(number + 1, checkpoint, "b", [1.0, 0.0, 0.0, 0.0]),
        part(number + 2, checkpoint, "c", [1.0, 1.0, 1.0, 0.0 + shift]),
    ]


def test_a_column_is_the_mean_of_its_tasks_and_the_average_that_of_columns(board):
    entries = make_entries(logs(*complete(0, "nano")))
    table = suite_table(board, entries, None)
    (row,) = table["rows"]
    assert [cell["mean"] for cell in row["cells"]] == [0.5, 0.5, None]
    assert row["cells"][2]["missing"] == ["a: no run"]
    assert row["average"]["mean"] == pytest.approx(0.5)
    assert row["average"]["interval"][0] < 0.5 < row["average"]["interval"][1]
    assert table["differences"] == []


def test_with_a_task_missing_there_is_no_mean_of_the_others(board):
    entries = make_entries(logs(*complete(0, "nano")[:2]))
    (row,) = suite_table(board, entries, None)["rows"]
    assert row["cells"][1]["mean"] is None and row["cells"][1]["missing"] == ["c: no run"]
    assert row["average"] == {"mean": None, "interval": None, "num_samples": 0, "missing": ["c"]}


def test_two_runs_of_a_task_are_not_chosen_between(board):
    again = part(3, "nano", "a", [0.0, 0.0, 0.0, 0.0], solver_args={"max_input_tokens": 9})
    entries = make_entries(logs(*complete(0, "nano"), again))
    (row,) = suite_table(board, entries, None)["rows"]
    assert row["cells"][0]["missing"] == ["a: 2 runs, ambiguous"]


def test_a_column_may_ask_for_a_solver_and_for_task_arguments(board):
    runs = complete(0, "nano")
    for number, bins in ((3, 1), (4, 2)):
        more = {"solver": "memory_agent", "task_args": {"bins": bins}}
        runs.append(part(number, "nano", "a", [bins - 1.0] * 4, **more))
    (row,) = suite_table(board, make_entries(logs(*runs)), None)["rows"]
    assert row["cells"][2]["mean"] == 1.0
    assert row["average"]["mean"] == pytest.approx(0.5), "weight 0 is no part of it"


def test_averages_are_compared_with_the_baseline_in_pairs(board):
    entries = make_entries(logs(*complete(0, "nano"), *complete(3, "trained", 1.0)), "nano")
    table = suite_table(board, entries, "nano")
    (difference,) = table["differences"]
    assert (difference["checkpoint"], difference["baseline"]) == ("trained", "nano")
    assert difference["mean"] == pytest.approx((0.25 + 0.125) / 2)


def test_reported_figures_stand_beside_and_enter_no_number(board):
    built = build_board(logs(*complete(0, "nano")), declared=board) | {"notes": []}
    suite = built["numbers"]["suite"]
    assert [row["checkpoint"] for row in suite["rows"]] == ["nano"]
    assert suite["reported"]["rows"][0]["values"] == [0.5, 0.7, None]
    assert "theirs" not in json.dumps(built["numbers"]["rows"] + built["numbers"]["differences"])
    markdown, table = to_markdown(built), to_csv(built)
    assert "Reported, not reproduced: Them (2025), Table 1" in markdown
    assert "1. It does not add up." in markdown
    assert '"reported, not reproduced",theirs' in table
    inputs = {one["what"]: one for one in built["inputs"]}
    assert inputs["declared board"]["name"] == "mine.yaml"
    assert {len(one["sha256"]) for one in inputs.values()} == {64}


def test_rows_follow_the_declared_order_then_the_training_steps(board, tmp_path):
    spec = board.spec.model_copy(update={"checkpoints": ("last", "first")})
    parts = []
    for number, (name, step) in enumerate((("s20", 20), ("first", None), ("s3", 3), ("last", 99))):
        parts.append(part(number, name, "a", [1.0, 0.0, 1.0, 0.0], step=step))
    table = suite_table(dataclasses.replace(board, spec=spec), make_entries(logs(*parts)), None)
    assert [row["checkpoint"] for row in table["rows"]] == ["last", "first", "s3", "s20"]


def test_a_column_may_show_what_the_authors_code_gives_or_what_one_of_k_attempts_achieves(board):
    columns = [
        board.spec.columns[0].model_copy(update={"name": name, "metric": metric})
        for name, metric in (("score", None), ("compat", "compat"), ("pass", "pass@2"))
    ]
    spec = board.spec.model_copy(update={"columns": tuple(columns), "reported": None})
    run, first = part(0, "nano", "a", [1.0, 0.0, 0.0, 0.0])
    second = [row | {"epoch": 2, "value": 1.0 - row["value"]} for row in first]
    both = [row | {"compat": 0.25} for row in [*first, *second]]
    table = suite_table(
        dataclasses.replace(board, spec=spec), make_entries(logs((run, both))), None
    )
    assert [cell["mean"] for cell in table["rows"][0]["cells"]] == [0.5, 0.25, 1.0]
