"""Runs that do not measure the same: other judges, versions, scorings or samples."""

from __future__ import annotations

from dataclasses import replace

from longspan.leaderboards.labels import label_runs
from longspan.leaderboards.notes import comparison_notes
from longspan.leaderboards.rows import Run, sample_set

RUN = Run(
    log="a.eval",
    log_hash="0",
    eval_id="e",
    created="2026-01-01",
    task="frames",
    task_version="v1",
    checkpoint="a",
    checkpoint_hash=None,
    solver="full_context",
    solver_args={},
    input_over_window=None,
    step=None,
    recipe_hash=None,
    settings={},
    epochs=1,
    num_samples=2,
    seconds=1.0,
    judge="openai/gpt",
    judge_prompts={"equivalence": "1111"},
    sample_set=sample_set(["x", "y"]),
)
OTHER = replace(RUN, checkpoint="b")


def conditions(*runs: Run) -> int:
    return len({label.condition for label in label_runs(runs)})


def test_equal_runs_are_compared_without_a_note():
    assert conditions(RUN, OTHER) == 1 and comparison_notes([RUN, OTHER]) == []
    unasked = replace(OTHER, judge_prompts={})
    assert conditions(RUN, unasked) == 1, "a judge that was never asked used no other prompt"


def test_other_judges_versions_scorings_and_prompts_are_not_compared_and_noted():
    for changes, says in (
        ({"judge": None}, "2 judges (none; openai/gpt)"),
        ({"judge": "local/small"}, "2 judges (local/small; openai/gpt)"),
        ({"task_version": "v2"}, "2 versions (v1; v2)"),
        ({"scoring": {"scoring": "compat"}}, "2 scorings (default; scoring=compat)"),
        ({"judge_prompts": {"equivalence": "2222"}}, "different prompts (equivalence)"),
    ):
        runs = [RUN, replace(OTHER, **changes)]
        assert conditions(*runs) == 2, changes
        (note,) = comparison_notes(runs)
        assert says in note and "not compared" in note


def test_the_judge_and_the_scoring_are_part_of_what_was_evaluated_and_the_samples_are_not():
    assert replace(RUN, judge="local/small").identity != RUN.identity
    assert replace(RUN, scoring={"scoring": "compat"}).identity != RUN.identity
    assert replace(RUN, sample_set="?").identity == RUN.identity


def test_other_samples_are_compared_where_shared_and_noted():
    fewer = replace(OTHER, sample_set=sample_set(["x"]), num_samples=1)
    assert conditions(RUN, fewer) == 1
    (note,) = comparison_notes([RUN, fewer])
    assert "2 samples for a / full context; 1 samples for b / full context" in note
    assert "shared samples only" in note


def test_a_set_of_samples_is_the_same_in_any_order_and_however_often_tried():
    assert sample_set(["x", "y", "x"]) == sample_set(["y", "x"]) != sample_set(["x"])
