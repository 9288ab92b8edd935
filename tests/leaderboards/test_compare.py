"""`longspan compare` on real logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longspan.harness.cli import main
from longspan.harness.errors import BoardError
from longspan.leaderboards.compare import compare_command


@pytest.fixture(scope="module")
def folder(run_log, tmp_path_factory):
    path = tmp_path_factory.mktemp("compare")
    run_log(path, "nano", 0.1, count=60)
    run_log(path, "[red]trained[/red]", 0.9, count=60)
    run_log(path, "elsewhere", 0.9, count=3, name="other-task")
    return path


def test_a_clear_gain_is_called_better_and_the_reverse_worse(folder, capsys):
    compare_command([folder], "[red]trained[/red]", "nano")
    there = capsys.readouterr().out
    assert "[red]trained[/red] minus nano" in there and "better" in there
    compare_command([folder], "nano", "[red]trained[/red]")
    assert "worse" in capsys.readouterr().out


def test_the_command_line_takes_logs_and_two_names(folder, capsys):
    assert main(["compare", str(folder), "[red]trained[/red]", "nano"]) == 0
    assert "full context" in capsys.readouterr().out
    assert main(["compare", str(folder), "nobody", "nano"]) == 2
    assert "no runs of checkpoint 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("a", ["nano", "elsewhere"])
def test_without_shared_samples_there_is_nothing_to_compare(folder, a):
    with pytest.raises(BoardError, match="share no task"):
        compare_command([folder], a, "nano")


def test_the_names_may_stand_first(folder, capsys):
    assert main(["compare", str(folder), "elsewhere", "nano"]) == 2
    assert main(["compare", "[red]trained[/red]", "nano", str(folder)]) == 0
    assert "[red]trained[/red] minus nano" in capsys.readouterr().out
    with pytest.raises(BoardError, match="no such log or folder: nowhere"):
        compare_command([Path("nowhere")], "trained", "nano")


def test_as_json_it_is_the_table_and_nothing_else(folder, capsys):
    assert main(["compare", str(folder), "[red]trained[/red]", "nano", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"], found["b"]) == ("[red]trained[/red]", "nano")
    row = found["tasks"][0]
    assert row["verdict"] == "better" and row["num_samples"] == 60 and row["num_clusters"] == 6
    assert row["interval"][0] < row["mean"] < row["interval"][1]
    assert found["averages"] == []


def test_with_check_the_exit_code_says_whether_a_is_worse(folder, capsys):
    assert main(["compare", str(folder), "nano", "[red]trained[/red]"]) == 0
    assert main(["compare", str(folder), "nano", "[red]trained[/red]", "--check"]) == 1
    assert main(["compare", str(folder), "[red]trained[/red]", "nano", "--check"]) == 0
    capsys.readouterr()


BOARD = """
name: mine
title: Mine
columns:
  - {name: A, tasks: [first]}
  - {name: B, tasks: [second, third]}
"""


@pytest.fixture(scope="module")
def suite(run_log, tmp_path_factory):
    path = tmp_path_factory.mktemp("suite")
    (path / "mine.yaml").write_text(BOARD)
    (path / "more.yaml").write_text(BOARD + "  - {name: C, tasks: [fourth]}\n")
    for task in ("first", "second", "third"):
        run_log(path, "nano", 0.2, count=40, name=task)
        run_log(path, "trained", 0.8, count=40, name=task)
    return path


def test_the_average_of_a_board_is_compared_where_all_its_tasks_are_there(suite, capsys):
    command = ["compare", str(suite), "trained", "nano", "--board", str(suite / "mine.yaml")]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    means = {row["task"]: row["mean"] for row in found["tasks"]}
    average = found["averages"][0]
    expected = means["first"] / 2 + means["second"] / 4 + means["third"] / 4
    assert average["difference"]["mean"] == pytest.approx(expected, abs=2e-6)
    both = [average["averages"][name]["mean"] for name in ("trained", "nano")]
    assert both[0] - both[1] == pytest.approx(expected, abs=2e-6)
    # The same documents in all three tasks: their groups are clusters of the average.
    assert average["difference"]["num_clusters"] == 4
    assert main(command) == 0
    assert "average: Mine" in capsys.readouterr().out


def test_a_board_with_a_missing_task_has_no_average_and_says_which(suite, capsys):
    command = ["compare", str(suite), "trained", "nano", "--board", str(suite / "more.yaml")]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "No average of mine; it lacks: fourth" in text and "average: Mine" not in text
    # Without --board, boards that are not complete are not mentioned.
    assert main(command[:4]) == 0
    assert "average" not in capsys.readouterr().out.lower()


def test_a_board_that_does_not_exist_or_averages_nothing_is_one_line(suite, capsys):
    for name, message in (("papr", "no board named 'papr'"), ("paper_general", "has no average")):
        assert main(["compare", str(suite), "trained", "nano", "--board", name]) == 2
        text = capsys.readouterr().err
        assert message in text and text.count("\n") == 1
