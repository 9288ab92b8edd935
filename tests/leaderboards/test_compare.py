"""`longspan compare` on real logs."""

from __future__ import annotations

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
