"""Which runs fill a declared board when two checkpoints are compared."""

from __future__ import annotations

import dataclasses

import pytest

from longspan.leaderboards.declared import BoardSpec, find_board
from longspan.leaderboards.entries import make_entries
from longspan.leaderboards.suite_comparison import boards_to_compare, compare_suite, suite_tree
from longspan.leaderboards.suites import leaf_weights
from tests.leaderboards.test_views import RUN, logs, rows

SPEC = BoardSpec.model_validate(
    {
        "name": "mine",
        "title": "Mine",
        "columns": [{"name": "A", "tasks": ["a"]}, {"name": "B", "tasks": ["b"], "weight": 3}],
    }
)
ROWS = [1.0, 0.0, 1.0, 1.0]


def entries(*changes: dict[str, object]):
    """Returns runs of two checkpoints, one pair per change."""
    parts = []
    for change in changes:
        for checkpoint in ("nano", "trained"):
            values = ROWS if checkpoint == "trained" else ROWS[::-1]
            run = dataclasses.replace(RUN, checkpoint=checkpoint, **change)
            parts.append((run, rows(len(parts), values)))
    return make_entries(logs(*parts))


def test_the_paper_s_board_has_the_shares_of_its_average():
    spec = find_board("paper_long_context").spec
    shares = leaf_weights(suite_tree(spec))
    assert shares["docmath"] == pytest.approx(1 / 6)
    assert shares["mrcr_4needle"] == pytest.approx(1 / 18)
    assert shares["longbench_qasper"] == pytest.approx(1 / 30)
    assert sum(shares.values()) == pytest.approx(1)


def test_boards_without_an_average_or_with_that_of_another_are_not_compared():
    # The board of stages has the columns of the long-context board.
    assert [spec.name for spec in boards_to_compare(None)] == ["paper_long_context"]
    assert [spec.name for spec in boards_to_compare("paper_stages")] == ["paper_stages"]


def test_both_sides_of_every_task_make_an_average():
    found = compare_suite(SPEC, entries({"task": "a"}, {"task": "b"}), "trained", "nano")
    assert found["missing"] == [] and found["difference"]["mean"] == 0
    assert found["averages"]["nano"]["mean"] == pytest.approx(0.75)


def test_another_solver_or_a_choice_of_runs_is_a_missing_task():
    other = entries({"task": "a"}, {"task": "b", "solver": "memory_agent"})
    assert compare_suite(SPEC, other, "trained", "nano")["missing"] == ["b"]
    twice = entries({"task": "a"}, {"task": "b"}, {"task": "b", "settings": {"temperature": 0.0}})
    found = compare_suite(SPEC, twice, "trained", "nano")
    assert found["missing"] == ["b"] and found["difference"] is None


def test_task_arguments_are_named_and_not_guessed():
    columns = [{"name": "A", "tasks": ["a"], "args": {"bin": 2}}]
    spec = BoardSpec.model_validate({"name": "mine", "title": "Mine", "columns": columns})
    assert compare_suite(spec, entries({"task": "a"}), "trained", "nano")["missing"] == [
        "a (bin=2)"
    ]
