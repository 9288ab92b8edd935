"""Scores and events -> rewards, validity and turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.event import ModelEvent, SpanBeginEvent
from inspect_ai.log import EvalError, EvalSample
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import Score

from longspan.harness.errors import RecipeError
from longspan.harness.harvest import choose_value, pop_policy_calls, read_value, sample_outcome
from longspan.harness.rollout import CALLS, Call, record_call, recording


def sample(stop: str = "stop", error: str | None = None, events=(), **scores: Score) -> EvalSample:
    output = ModelOutput.from_content("m", "text", stop_reason=stop)
    return EvalSample(
        id="a",
        epoch=1,
        input="q",
        target="t",
        output=output,
        scores=scores or None,
        events=list(events),
        error=EvalError(message=error, traceback="", traceback_ansi="") if error else None,
    )


def model_event(call: int, role: str | None = None, span: str | None = None, error=None):
    metadata = record_call(Call((call,), (call,), (-1.0,), "stop"))
    output = ModelOutput(model="m", metadata=metadata)
    return ModelEvent(
        model="m",
        role=role,
        span_id=span,
        input=[],
        tools=[],
        tool_choice="none",
        config=GenerateConfig(),
        output=output,
        error=error,
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0), ("yes", 1.0), ("True", 1.0), ("no", 0.0),
        (True, 1.0), (0, 0.0), (0.25, 0.25), ("0.25", 0.25), (-1, -1.0),
        ("maybe", None), ("", None), (None, None), ([1], None), ({"a": 1}, None),
        (float("nan"), None), (float("inf"), None), ("nan", None), ("-inf", None),
    ],
)  # fmt: skip
def test_only_numbers_and_known_words_are_rewards(value, number):
    assert read_value(value) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_its_own_reward(number):
    assert read_value(number) == number


def test_validity_is_the_scorers_word_first():
    said = Score(value=0.0, answer="x", metadata={"validity": "no_answer"})
    assert sample_outcome(sample(score=said)).validity == "no_answer"
    failed = Score(value=0.0, explanation="no JSON", metadata={"validity": "judge_failed"})
    outcome = sample_outcome(sample(score=failed))
    assert (outcome.reward, outcome.validity, outcome.error) == (None, "judge_failed", "no JSON")


@pytest.mark.parametrize(
    ("stop", "answer", "value", "validity"),
    [
        ("stop", "x", 0.0, "answered"),
        ("stop", None, 0.0, "no_answer"),
        ("stop", None, 1.0, "answered"),
        ("max_tokens", "x", 1.0, "cut_off"),
        ("unknown", "x", 1.0, "unknown"),
    ],
)
def test_without_the_scorers_word_the_stop_reason_decides(stop, answer, value, validity):
    outcome = sample_outcome(sample(stop, score=Score(value=value, answer=answer)))
    assert (outcome.validity, outcome.reward) == (validity, value)


def test_a_missing_or_unreadable_score_is_the_scorers_failure_not_a_zero():
    assert sample_outcome(sample()).validity == "scorer_failed"
    nan = sample_outcome(sample(score=Score(value=float("nan"))))
    assert (nan.reward, nan.validity) == (None, "scorer_failed")
    infinite = sample_outcome(sample(score=Score(value="-inf")))
    assert nan.not_finite and infinite.not_finite
    for said in (Score.unscored(reason="no unit"), Score(value="maybe"), Score(value=0.5)):
        assert not sample_outcome(sample(score=said)).not_finite
    unparsed = sample_outcome(sample(score=Score.unscored(reason="grader_failed")))
    assert (unparsed.reward, unparsed.validity) == (None, "judge_failed")


def test_an_error_belongs_to_whoever_ran_last():
    scoring = SpanBeginEvent(id="s", name="x", type="scorer")
    assert sample_outcome(sample(error="boom")).validity == "engine_failed"
    assert sample_outcome(sample(error="boom", events=[scoring])).validity == "scorer_failed"
    judged = [scoring, model_event(1, role="grader", span="s", error="down")]
    assert sample_outcome(sample(error="boom", events=judged)).validity == "judge_failed"
    recovered = [*judged, model_event(1, role="grader", span="s")]
    assert sample_outcome(sample(error="boom", events=recovered)).validity == "scorer_failed"


def test_one_plain_value_needs_no_key():
    score = Score(value=0.5)
    assert choose_value({"x": score}, None) == (0.5, score)
    assert choose_value({"x": Score(value={"only": 0.5})}, None)[0] == 0.5


def test_keys_name_scorers_or_parts_of_their_scores():
    scores = {"a": Score(value={"f1": 0.2, "em": 0.0}), "b": Score(value=1.0)}
    assert choose_value(scores, "f1")[0] == 0.2
    assert choose_value(scores, "a/em")[0] == 0.0
    assert choose_value(scores, "b")[0] == 1.0
    for key in (None, "c", "a"):
        with pytest.raises(RecipeError, match=r"\['a/em', 'a/f1', 'b'\]"):
            choose_value(scores, key)


def test_an_ambiguous_key_is_refused():
    scores = {"a": Score(value={"f1": 0.2}), "b": Score(value={"f1": 0.4})}
    with pytest.raises(RecipeError):
        choose_value(scores, "f1")


def test_calls_of_roles_and_scorers_are_no_turns_but_leave_the_table():
    with recording():
        events = [
            model_event(1),
            model_event(2, role="grader"),
            model_event(3),
            SpanBeginEvent(id="s", name="x", type="scorer"),
            SpanBeginEvent(id="inner", parent_id="s", name="y"),
            model_event(4, span="s"),
            model_event(5, span="inner"),
        ]
        assert [call.prompt_ids for call in pop_policy_calls(events)] == [(1,), (3,)]
        assert CALLS == {}
