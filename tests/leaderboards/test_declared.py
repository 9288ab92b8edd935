"""Declared boards and reported figures: the packaged ones are whole, mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from longspan.harness.errors import BoardError, LongspanError
from longspan.leaderboards.declared import BOARDS, BoardSpec, find_board, read_reported

PACKAGED = sorted(path.stem for path in BOARDS.glob("*.yaml"))
MINE = {"name": "mine", "title": "Mine", "columns": [{"name": "A", "tasks": ["a"]}]}


def write(folder: Path, **changes: object) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(MINE | changes))
    return str(path)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_board_names_registered_tasks_and_reported_figures(name: str):
    board = find_board(name)
    spec = board.spec
    tasks = {task for column in spec.columns for task in column.tasks}
    assert tasks <= {one.stem for one in (Path(__file__).parents[2] / "tasks").glob("*.yaml")}
    reported = read_reported(board)
    assert reported is not None
    for row in reported["rows"]:
        assert len(row["values"]) == len(spec.columns)
        assert any(value is not None for value in row["values"])
        assert all(value is None or 0 <= value <= 1 for value in row["values"])


def test_reported_averages_are_those_that_are_printed():
    board = find_board("paper_long_context")
    rows = {row["name"]: row for row in (read_reported(board) or {})["rows"]}
    ours = rows["QwenLong-L1.5-30B-A3B"]
    assert ours["average"] == pytest.approx(0.7182)
    weighted = sum(w * v for w, v in zip(board.spec.weights.values(), ours["values"], strict=True))
    assert weighted == pytest.approx(ours["average"], abs=2e-4)
    printed = rows["GPT-5"]  # its printed average is not the mean of its columns, which a note says
    assert abs(sum(printed["values"]) / 6 - printed["average"]) > 1e-3
    assert printed["notes"]


def test_weights_sum_to_one_and_may_be_none():
    columns = [{"name": n, "tasks": [n], "weight": w} for n, w in (("a", 1), ("b", 3), ("c", 0))]
    spec = BoardSpec.model_validate(MINE | {"columns": columns})
    assert spec.weights == {"a": 0.25, "b": 0.75}
    assert BoardSpec.model_validate(MINE | {"columns": columns[2:]}).weights == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colums": []}, "unknown key 'colums'"),
        ({"columns": []}, "columns: "),
        ({"columns": MINE["columns"] * 2}, "'A' stands twice"),
        ({"columns": [{"name": "A", "tasks": ["a"], "weight": -1}]}, "columns.0.weight"),
        ({"metric": "bleu"}, "metric: "),
    ],
)
def test_a_mistake_in_a_board_is_one_line(tmp_path: Path, changes: dict[str, object], message: str):
    with pytest.raises(BoardError, match=message) as raised:
        find_board(write(tmp_path, **changes))
    assert "\n" not in str(raised.value)


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path):
    with pytest.raises(BoardError, match="no board named 'papr'; the packaged ones are paper_"):
        find_board("papr")
    with pytest.raises(LongspanError, match="nowhere.yaml"):
        find_board("nowhere.yaml")
    board = find_board(write(tmp_path, reported={"file": "qwenlong_l1_5", "table": "x"}))
    with pytest.raises(BoardError, match="has no table 'x'; choose one of general"):
        read_reported(board)


def test_figures_of_ones_own_stand_beside_the_board(tmp_path: Path):
    figures = {
        "source": "us",
        "tables": {"t": {"where": "p. 1", "rows": [{"name": "m", "values": {"A": 50, "B": 1}}]}},
    }
    (tmp_path / "figures.yaml").write_text(yaml.safe_dump(figures))
    board = find_board(write(tmp_path, reported={"file": "figures.yaml", "table": "t"}))
    assert (read_reported(board) or {})["rows"][0]["values"] == [0.5]
