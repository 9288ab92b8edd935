"""What a sample says beside its score: length and depth of the evidence, and what it asks."""

from __future__ import annotations

import math
from typing import Any

import pytest
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import Score

from longspan.leaderboards.inspect_samples import _depth, _input_length, sample_row


def content(**fields: Any) -> str:
    sample = {"id": 1, "epoch": 1, "input": "Where?", "target": "Karo"} | fields
    return str(sample_row(EvalSample.model_validate(sample))["content"])


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


def test_the_content_is_the_question_and_the_gold_answer():
    assert content() == content(id=2, epoch=3, metadata={"kind": "x"})
    assert content() != content(input="When?")
    assert content() != content(target="Tastal")
    chat = [ChatMessageUser(content="Remember it."), ChatMessageUser(content="Where?")]
    again = [ChatMessageUser(content=message.text) for message in chat]
    assert content(input=chat) == content(input=again), "ids of messages are drawn anew"
    assert content(input=chat) != content(input=chat[1:])
    asked = {"question": "Where?"}
    assert content(metadata=asked) == content(metadata=asked, input="<documents> Where?")


def test_the_letters_of_shuffled_choices_are_no_other_gold_answer():
    asked = content(choices=["Karo", "Tastal"], target="B")
    assert asked == content(choices=["Tastal", "Karo"], target="A")
    assert asked != content(choices=["Tastal", "Karo"], target="B")


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("C", 1.0),
        ("I", 0.0),
        ("P", 0.5),
        ("Yes", 1.0),
        ("0.25", 0.25),
        (True, 1.0),
        (0, 0.0),
        ("maybe", None),
        ("", None),
        ({"a": 1, "b": 0}, None),
        ([1, 0], None),
        (math.nan, None),
        (math.inf, None),
        ("nan", None),
    ],
)
def test_a_score_that_is_no_number_is_no_zero(given, value):
    sample = {"id": 1, "epoch": 1, "input": "Where?", "target": "Karo"}
    row = sample_row(EvalSample.model_validate(sample | {"scores": {"s": Score(value=given)}}))
    assert row["value"] == value
    assert row["validity"] == ("scorer_failed" if value is None else "unknown")


def test_lengths_and_hops_that_cannot_be_are_unknown():
    assert _input_length({"num_tokens": 1e308}, None, None) is None
    assert _input_length({"num_tokens": -5}, None, None) is None
    sample = {"id": 1, "epoch": 1, "input": "Where?", "target": "Karo"}
    for hops, known in ((2, 2.0), (1e300, None), ("many", None), (-1, None)):
        fields = sample | {"metadata": {"hops": hops}}
        assert sample_row(EvalSample.model_validate(fields))["hops"] == known


def test_what_an_agents_earlier_processes_paid_counts():
    """A run was killed after 99 of 140 calls: Inspect counts those of the process that ended it."""
    usage = {"nano": {"input_tokens": 410, "output_tokens": 41, "total_tokens": 451}}
    sample = {"id": 1, "epoch": 1, "input": "Where?", "target": "Karo"}
    sample |= {"turn_count": 41, "model_usage": usage}
    alone = sample_row(EvalSample.model_validate(sample))
    assert (alone["calls"], alone["input_tokens"], alone["output_tokens"]) == (41, 410, 41)
    record = {"num_calls": 140, "replayed_calls": 99}
    record |= {"replayed_input_tokens": 990, "replayed_output_tokens": 99}
    resumed = sample_row(EvalSample.model_validate(sample | {"store": {"longspan:agent": record}}))
    assert (resumed["calls"], resumed["input_tokens"], resumed["output_tokens"]) == (140, 1400, 140)
    foreign = sample | {"store": {"longspan:agent": {"replayed_calls": "many"}}}
    assert sample_row(EvalSample.model_validate(foreign))["calls"] == 41
