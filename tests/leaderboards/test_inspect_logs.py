"""What a log says beside its scores: judge, suite, place of the evidence, length of the context."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log

from longspan.agents.full_context import full_context
from longspan.harness.scoring.scorers import by_sample
from longspan.leaderboards.inspect_logs import (
    UNREAD_FIELDS,
    _depth,
    _input_length,
    _row,
    _samples,
)
from longspan.leaderboards.logs import read_logs
from tests.harness.scripted import scripted_model

ANSWER = "Therefore, the answer is the town of Karo."


def judged_log(folder: Path, scorer: str, grader: str | None) -> None:
    sample = Sample(
        id="s0",
        input="Where?",
        target="Tastal",
        metadata={
            "question": "Where?",
            "instructions": "Say it.",
            "context": {"text": "It is there. " * 20},
            "scorer": scorer,
            "depth": 0.25,
        },
    )
    inspect_eval(
        Task(dataset=MemoryDataset([sample]), solver=full_context(), scorer=by_sample(), name="t"),
        model=scripted_model(ANSWER, "policy"),
        model_roles={"grader": scripted_model("[[YES]]", grader)} if grader else None,
        metadata={"longspan_suite": "paper"},
        log_dir=str(folder),
        display="none",
        log_realtime=False,
        ctl_server=False,
        acp_server=False,
    )


@pytest.mark.parametrize(
    ("scorer", "grader", "judge"),
    [
        ("cover_exact_match", "wise", "scripted/wise"),
        ("exact_match", "wise", None),
        ("exact_match", None, None),
    ],
)
def test_a_run_names_its_judge_where_one_had_a_say(scorer, grader, judge, tmp_path):
    judged_log(tmp_path, scorer, grader)
    read = read_logs([tmp_path])
    (run,) = read.runs
    assert run.judge == judge and run.suite == "paper"
    assert bool(run.judge_prompts) == (judge is not None)
    row = read.samples.iloc[0]
    assert row["depth"] == 0.25 and row["input_length"] == row["truncation"]["tokens_before"] > 0


def test_depth_is_that_of_the_needle_or_the_mean_of_the_evidence():
    assert _depth({"depth": 0.3, "depths": [0.9]}) == 0.3
    assert _depth({"depths": [0.2, 0.6]}) == pytest.approx(0.4)
    assert _depth({"passport": {"depths": [0.0, 1.0]}}) == 0.5
    assert _depth({"desired_msg_index": 3, "total_messages": 12}) == 0.25
    for unknown in ({}, {"depth": 1.5}, {"depths": [0.5, None]}, {"passport": {"depths": []}}):
        assert _depth(unknown) is None


def test_length_is_what_the_solver_counted_before_what_the_task_says():
    task = {"input_tokens": 90, "num_tokens": 80}
    assert _input_length(task, {"tokens_before": 120}, None) == 120
    assert _input_length(task, None, {"document_tokens": 110}) == 110
    assert _input_length(task, None, None) == 90
    assert _input_length({"num_tokens": 80}, None, None) == 80
    assert _input_length({}, None, None) is None


def test_samples_are_those_that_inspect_reads(run_log, tmp_path):
    for solver in ("full_context", "memory_agent"):
        run_log(tmp_path, solver, 0.5, count=4, windows=2, solver=solver, epochs=2)
    for path in tmp_path.glob("*.eval"):
        ours = {(one.id, one.epoch): one for one in _samples(path)}
        theirs = read_eval_log(str(path), exclude_fields=UNREAD_FIELDS).samples or []
        assert len(ours) == len(theirs) == 8
        for one in theirs:
            assert _row(ours[one.id, one.epoch]) == _row(one)
            assert _row(one)["completion"] and _row(one)["calls"]
