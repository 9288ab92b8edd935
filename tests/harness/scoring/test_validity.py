"""Validity: how a sample ended, apart from its score."""

import pytest
from inspect_ai.model import ModelOutput

from longspan.harness.scoring.validity import (
    FAILURES,
    VALIDITIES,
    is_scored,
    stop_reason_of,
    validity_of,
)


@pytest.mark.parametrize(
    ("stop_reason", "has_answer", "validity"),
    [
        ("stop", True, "answered"),
        ("stop", False, "no_answer"),
        ("max_tokens", True, "cut_off"),
        ("model_length", False, "cut_off"),
        ("content_filter", False, "no_answer"),
        ("unknown", True, "unknown"),
        (None, True, "unknown"),
    ],
)
def test_the_limit_comes_before_the_answer(stop_reason, has_answer, validity):
    assert validity_of(stop_reason, has_answer) == validity


def test_failures_have_no_score_and_unknown_words_neither():
    assert {name for name in VALIDITIES if not is_scored(name)} == FAILURES
    assert not is_scored("fine")


def test_an_output_without_choices_has_no_stop_reason():
    assert stop_reason_of(ModelOutput()) is None
    assert stop_reason_of(ModelOutput.from_content("m", "text", stop_reason="stop")) == "stop"
