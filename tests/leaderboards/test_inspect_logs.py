"""What a log says beside its scores: judge, suite, place of the evidence, length of the context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import Score, Scorer, Target, match, mean, scorer
from inspect_ai.solver import TaskState, generate

from longspan.agents.full_context import full_context
from longspan.harness.scoring.scorers import by_sample
from longspan.leaderboards.inspect_logs import UNREAD_FIELDS, _samples
from longspan.leaderboards.inspect_samples import sample_row
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.views import build_board
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


@scorer(metrics=[mean()])
def echo() -> Scorer:
    """Scores a sample with the number in its metadata."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=state.metadata["value"])

    return score


def scored_log(folder: Path, checkpoint: str, values: list[float]) -> None:
    samples = [
        Sample(id=f"s{number}", input="?", target="!", metadata={"value": value})
        for number, value in enumerate(values)
    ]
    inspect_eval(
        Task(dataset=MemoryDataset(samples), solver=generate(), scorer=echo(), name="graded"),
        model=scripted_model("1", checkpoint),
        metadata={"longspan_checkpoint": checkpoint},
        log_dir=str(folder),
        display="none",
        log_realtime=False,
        ctl_server=False,
        acp_server=False,
    )


def test_samples_without_a_number_lower_the_coverage_and_one_sample_is_a_task(tmp_path):
    for checkpoint, value in (("a", 0.0), ("b", 1.0)):
        scored_log(tmp_path / checkpoint, checkpoint, [math.nan, value, value, math.nan])
        scored_log(tmp_path / f"{checkpoint}-one", checkpoint, [value])
    numbers = build_board(read_logs([tmp_path]), baseline="a")["numbers"]
    whole = {(row["num_samples"], row["accuracy"], row["coverage"]) for row in numbers["rows"]}
    assert whole == {(2, 0.0, 0.5), (2, 1.0, 0.5)}, "of two logs the one with more samples counts"
    scored_log(tmp_path / "single" / "a", "a", [0.0])
    scored_log(tmp_path / "single" / "b", "b", [1.0])
    single = build_board(read_logs([tmp_path / "single"]), baseline="a")["numbers"]
    assert [row["interval"] for row in single["rows"]] == [[0.0, 1.0], [0.0, 1.0]]
    (difference,) = single["differences"]
    assert (difference["mean"], difference["verdict"]) == (1.0, "cannot tell")
    assert difference["interval"] == [-1.0, 1.0] and difference["num_samples_needed"] is None


def test_scores_that_are_no_shares_leave_a_log_out_with_an_example(tmp_path):
    scored_log(tmp_path, "a", [0.5, 7.0])
    (problem,) = read_logs([tmp_path]).skipped
    assert "its scores are not between 0 and 1 (sample s1: 7)" in problem.reason


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


def test_samples_are_those_that_inspect_reads(run_log, tmp_path):
    for solver in ("full_context", "memory_agent"):
        run_log(tmp_path, solver, 0.5, count=4, windows=2, solver=solver, epochs=2)
    for path in tmp_path.glob("*.eval"):
        ours = {(one.id, one.epoch): one for one in _samples(path)}
        theirs = read_eval_log(str(path), exclude_fields=UNREAD_FIELDS).samples or []
        assert len(ours) == len(theirs) == 8
        for one in theirs:
            assert sample_row(ours[one.id, one.epoch]) == sample_row(one)
            assert sample_row(one)["completion"] and sample_row(one)["calls"]


def foreign_log(
    folder: Path,
    samples: list[Sample],
    fewshot: int = 0,
    provider: Mapping[str, Any] | None = None,
    **generation: Any,
) -> None:
    """Writes a log of a task that knows nothing of ours; `provider`: the model's arguments."""

    @task
    def plain(fewshot: int = 0, data: str = "/home/somebody/rows.jsonl") -> Task:
        return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=match())

    model = scripted_model("1", "policy")
    model.model_args.update(provider or {})
    inspect_eval(
        plain(fewshot=fewshot),
        model=model,
        log_dir=str(folder),
        display="none",
        log_realtime=False,
        ctl_server=False,
        acp_server=False,
        **generation,
    )


def test_settings_are_what_is_asked_of_the_model_and_not_how_it_is_reached(tmp_path):
    samples = [Sample(id="a", input="1?", target="1")]
    foreign_log(
        tmp_path,
        samples,
        temperature=0.5,
        stop_seqs=["END"],
        system_message="Think first. " * 20,
        max_connections=3,
        extra_headers={"authorization": "secret"},
    )
    (run,) = read_logs([tmp_path]).runs
    assert run.settings.keys() == {"temperature", "stop_seqs", "system_message"}
    assert (run.settings["temperature"], run.settings["stop_seqs"]) == (0.5, '["END"]')
    assert run.settings["system_message"].startswith("Think first.")
    assert len(run.settings["system_message"]) == 60


def test_what_a_provider_computes_with_tells_evaluations_apart(tmp_path):
    samples = [Sample(id="a", input="1?", target="1")]
    for dtype, device in (("float32", "cpu"), ("bfloat16", "cpu"), ("bfloat16", "cuda")):
        foreign_log(tmp_path, samples, provider={"dtype": dtype, "device": device})
    found = read_logs([tmp_path])
    assert sorted(run.settings["dtype"] for run in found.runs) == ["bfloat16", "float32"]
    assert all("device" not in run.settings for run in found.runs)
    assert len(found.skipped) == 1 and "same evaluation" in found.skipped[0].reason


def test_a_foreign_sample_shows_what_was_asked(tmp_path):
    chat = [ChatMessageUser(content="Remember 1."), ChatMessageUser(content="Which number?")]
    samples = [
        Sample(id="text", input="How many?", target="1"),
        Sample(id="chat", input=chat, target="1"),
    ]
    foreign_log(tmp_path, samples)
    rows = read_logs([tmp_path]).samples.set_index("sample")
    assert rows.loc["text", "question"] == "How many?"
    assert rows.loc["chat", "question"] == "Which number?"
    assert list(rows["value"]) == [1.0, 1.0]


def test_runs_with_other_arguments_are_other_evaluations_wherever_the_data_lie(tmp_path):
    for fewshot in (0, 5):
        foreign_log(tmp_path, [Sample(id="a", input="1?", target="1")], fewshot=fewshot)
    read = read_logs([tmp_path])
    assert read.skipped == ()
    assert sorted(run.task_args["fewshot"] for run in read.runs) == [0, 5]
    assert all(run.task_args.keys() == {"fewshot"} for run in read.runs)
