"""Answers: what follows the last "the answer is", thinking left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.answers import (
    MAX_COMPLETION_CHARS,
    extract_answer,
    remove_thinking,
)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("Therefore, the answer is Karo.", "Karo"),
        ("The answer is A. No: the answer is B.", "B"),
        ("**The answer is:** *Karo*.", "Karo"),
        ("So **the answer is** Karo\nBecause it says so.", "Karo"),
        ("the answer is\n\n  Karo", "Karo"),
        ("the answer is (B).", "(B)"),
        ("the answer is .5", ".5"),
        ("the answer is -3.50.", "-3.50"),
        (r"the answer is $\boxed{42}$.", "42"),
        ('the answer is "The Raven".', "The Raven"),
        ("the answer is *.", "*"),
        ("<think>the answer is A</think>the answer is B", "B"),
        ("the answer is A</think> I do not know", None),
        ("<think>the answer is A", None),
        ("</think>fine<think>the answer is A", None),
        ("the answer is", None),
        ("the answer is .", None),
        ("Therefore, the answer is (insert answer here).", None),
        ("the answers is A", None),
        ("The answer is Karo. I hope the answer is helpful.", "Karo. I hope the answer is helpful"),
        ("The answer is Karo.\nI hope that the answer is helpful.", "Karo"),
        ("I hope the answer is Karo", "Karo"),
        ("The correct final answer is Karo", "Karo"),
        ("The answer to the question is Karo.", "Karo"),
        ("The answer is <answer>Karo</answer><|im_end|>", "Karo"),
        (r"The answer is $\boxed{\text{Karo}}$.", "Karo"),
        (r"The answer is \(\boxed{12.5\%}\).", "12.5%"),
        ("breathe answer is A", None),
        ("", None),
    ],
)
def test_extraction(completion, answer):
    assert extract_answer(completion) == answer


@given(st.text())
def test_extraction_never_fails(completion):
    assert extract_answer(completion) is None or extract_answer(completion)
    extract_answer(completion + "the answer is" + completion)


@given(st.text(alphabet="abcXYZ 0123", min_size=1).filter(str.strip))
def test_what_was_said_last_is_found_after_any_thinking(answer):
    completion = f"<think>maybe the answer is wrong</think>Therefore, the answer is {answer}."
    assert extract_answer(completion) == answer.strip()


def test_thinking_that_ended_is_removed_and_the_whole_rest_kept():
    assert remove_thinking("a</think>b</think> c d ") == "c d"
    assert remove_thinking("<think>x</think>\nline 1\nline 2\n") == "line 1\nline 2"
    assert remove_thinking("<think>x") == ""


def test_only_the_end_of_a_very_long_completion_is_read():
    tail = "Therefore, the answer is Karo."
    assert extract_answer("x" * (3 * MAX_COMPLETION_CHARS) + tail) == "Karo"
    assert extract_answer(tail + "x" * MAX_COMPLETION_CHARS) is None


def test_thinking_longer_than_the_cap_is_still_thinking():
    assert extract_answer("<think>" + "x" * MAX_COMPLETION_CHARS + "the answer is A") is None
