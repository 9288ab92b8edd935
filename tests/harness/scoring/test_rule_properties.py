"""Every rule on drawn gold answers: full marks, white space, and what its two exploits earn.

What `enumeration` and `echo` of the table of scorers say is checked here for drawn candidates and
questions; a cell with a text has a property of its own below.
"""

from __future__ import annotations

import json
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.grading import grade
from longspan.harness.scoring.normal import normalise
from longspan.harness.scoring.numbers import MAX_EXTRA_WORDS
from longspan.harness.scoring.rules import RULES

SAY = "Therefore, the answer is {}."
PREFIX = "aYoo"
METADATA = {"random_string_to_prepend": PREFIX}
MARKS = ("think>", "answer is", "<｜", "\\")
"""What means something to the extraction of an answer; a gold answer does not hold it."""
SPECIAL = {"the", "an", "not", "nor", "neither", "isnt", "wasnt", "yes", "no", "true", "false"}
SPECIAL |= {"percent", "thousand", "million", "billion", "trillion"}
"""Words that mean something to a rule; a candidate is none of them."""

edge = st.characters(categories=("Lu", "Ll", "Lo", "Nd"))
inner = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=30)
texts = st.one_of(edge, st.builds(lambda a, b, c: a + b + c, edge, inner, edge)).filter(
    lambda text: not any(mark in text.lower() for mark in MARKS)
)
"""A line of any script that begins and ends with a letter or digit."""
words = st.text("bcdefghijklmnopqrstuvwxyz", min_size=2, max_size=8).filter(
    lambda word: word not in SPECIAL and len(normalise(word)) == len(word)
)
integers = st.integers(-(10**12), 10**12)
decimals = st.decimals(-(10**6), 10**6, places=2, allow_nan=False).map(str)
floats = st.floats(allow_nan=False, allow_infinity=False).map(repr)
numbers = st.one_of(integers.map(str), integers.map("{:,}".format), decimals, floats)
items = st.lists(texts, max_size=5).map(lambda drawn: json.dumps(drawn, ensure_ascii=False))

GOLDS = {
    "cover_exact_match": texts,
    "exact_match": texts,
    "token_f1": texts,
    "letter": st.sampled_from("ABCDEFGHIJ"),
    "numeric": st.one_of(numbers, decimals.map("{}%".format)),
    "docmath": st.one_of(floats, integers.map(str), st.sampled_from(["True", "False"])),
    "sequence_ratio": texts,
    "mrcr": texts.map(PREFIX.__add__),
    "ruler": texts.filter(lambda text: normalise(text) and not set(",;/") & set(text)),
    "corpusqa": st.one_of(texts.filter(normalise), numbers, items),
    "longmemeval": texts,
}
"""Rule -> the gold answers that it allows."""


def said(name: str, answer: str) -> str:
    """The completion that gives an answer in the form that the rule reads."""
    return answer if RULES[name].answer == "whole" else SAY.format(answer)


def value(name: str, completion: str, *golds: str) -> float:
    found = grade(name, completion, golds, metadata=METADATA)
    assert found.value is not None, found
    return found.value


def ratio(answer: str, gold: str) -> float:
    return SequenceMatcher(None, answer, gold).ratio()


def rules_where(cell: str, text: str) -> list[str]:
    return [name for name, rule in RULES.items() if getattr(rule, cell).startswith(text)]


def test_every_rule_has_gold_answers_to_draw():
    assert set(GOLDS) == set(RULES)


@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
def test_a_drawn_gold_answer_scores_one(name, data):
    gold = data.draw(GOLDS[name])
    assert value(name, said(name, gold), gold) == 1.0


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), before=st.text(" \t\r\n", max_size=4), after=st.text(" \t\r\n", max_size=4))
def test_white_space_around_a_completion_or_its_answer_changes_nothing(name, data, before, after):
    gold, other = data.draw(GOLDS[name]), data.draw(st.text(max_size=30))
    for completion in (said(name, gold), said(name, other), other):
        assert value(name, before + completion + after, gold) == value(name, completion, gold)
    assert value(name, said(name, before + gold + after), gold) == 1.0


@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
def test_any_of_several_gold_answers_scores_one_and_all_references_of_ruler_do(name, data):
    golds = data.draw(st.lists(GOLDS[name], min_size=2, max_size=4, unique=True))
    if name == "ruler":
        assert value(name, said(name, ", ".join(golds)), *golds) == 1.0
    elif name != "mrcr":  # one gold answer
        assert value(name, said(name, data.draw(st.sampled_from(golds))), *golds) == 1.0


# Every candidate listed.

CANDIDATES = {
    "letter": st.sampled_from("ABCDEFGHIJ"),
    "numeric": st.integers(1, 10**6).map(str),
    "docmath": st.integers(1, 10**6).map(str),
}
"""Rule -> what a guess looks like; words elsewhere."""
separators = st.sampled_from([", ", "; ", " or ", " and ", " / "])


@pytest.mark.parametrize("name", rules_where("enumeration", "0"))
@given(data=st.data(), separator=separators)
def test_a_list_of_candidates_earns_nothing(name, data, separator):
    guesses = CANDIDATES.get(name, words)
    listed = data.draw(st.lists(guesses, min_size=2, max_size=6, unique=True))
    gold = data.draw(st.sampled_from(listed))
    assert value(name, SAY.format(separator.join(listed)), gold) == 0.0
    assert value(name, separator.join(listed), gold) == 0.0


@pytest.mark.parametrize("name", rules_where("enumeration", "up to 1 within 12 extra words"))
@given(data=st.data(), separator=st.sampled_from([", ", "; ", " / "]))
def test_a_list_is_an_answer_up_to_a_dozen_extra_words(name, data, separator):
    listed = data.draw(st.lists(words, min_size=2, max_size=2 * MAX_EXTRA_WORDS, unique=True))
    gold = data.draw(st.sampled_from(listed))
    wanted = 1.0 if len(listed) <= 1 + MAX_EXTRA_WORDS else 0.0
    assert value(name, SAY.format(separator.join(listed)), gold) == wanted


@given(listed=st.lists(words, min_size=2, max_size=20, unique=True), data=st.data())
def test_a_list_of_n_words_has_the_token_f1_that_precision_leaves(listed, data):
    gold = data.draw(st.sampled_from(listed))
    found = value("token_f1", SAY.format(", ".join(listed)), gold)
    assert found == pytest.approx(2 / (len(listed) + 1))  # precision 1/n, recall 1


@given(listed=st.lists(words, min_size=2, max_size=6, unique=True), data=st.data())
def test_a_list_has_the_ratio_of_difflib_and_no_more(listed, data):
    gold, answer = data.draw(st.sampled_from(listed)), ", ".join(listed)
    found = value("sequence_ratio", SAY.format(answer), gold)
    assert found == pytest.approx(ratio(answer, gold)) and found < 1.0
    assert value("mrcr", PREFIX + answer, PREFIX + gold) == pytest.approx(found)


# The question echoed.


@st.composite
def questions(draw: st.DrawFn, gold: str, max_words: int) -> str:
    """A question of other words that holds the gold answer somewhere."""
    others = draw(st.lists(words, min_size=2, max_size=max_words, unique=True))
    place = draw(st.integers(1, len(others) - 1))
    return " ".join([*others[:place], gold, *others[place:]]) + "?"


@pytest.mark.parametrize("name", rules_where("echo", "0"))
@given(data=st.data())
def test_an_echoed_question_earns_nothing(name, data):
    gold = data.draw(st.sampled_from("ABCDEFGHIJ") if name == "letter" else words)
    question = data.draw(questions(gold, 20))
    golds = [PREFIX + gold] if name == "mrcr" else [gold]
    assert value(name, question, *golds) == 0.0
    assert value(name, said(name, question), *golds) == 0.0


@given(options=st.lists(words, min_size=2, max_size=10), data=st.data())
def test_a_multiple_choice_question_with_its_options_names_none(options, data):
    letters = "ABCDEFGHIJ"[: len(options)]
    listed = " ".join(f"({a}) {text}" for a, text in zip(letters, options, strict=True))
    gold = data.draw(st.sampled_from(letters))
    for answer in (listed, f"Which of them? {listed}"):
        assert value("letter", SAY.format(answer), gold) == 0.0


ECHOED = rules_where("echo", "1 where the question holds the gold")
COUNTS = [name for name in ECHOED if "no other number" in RULES[name].echo]


@pytest.mark.parametrize("name", [*ECHOED, *rules_where("echo", "as far as")])
@given(data=st.data())
def test_an_echoed_question_is_an_answer_up_to_a_dozen_words(name, data):
    gold = data.draw(st.integers(1, 10**6).map(str) if name in COUNTS else words)
    question = data.draw(questions(gold, 2 * MAX_EXTRA_WORDS))
    wanted = 1.0 if len(question.split()) <= 1 + MAX_EXTRA_WORDS else 0.0
    assert value(name, SAY.format(question), gold) == wanted


@pytest.mark.parametrize("name", COUNTS)
@given(data=st.data())
def test_an_echoed_question_with_another_number_is_no_answer(name, data):
    gold, other = data.draw(st.lists(st.integers(1, 10**6), min_size=2, max_size=2, unique=True))
    question = data.draw(questions(f"{gold} of {other}", 6))
    assert value(name, SAY.format(question), str(gold)) == 0.0


@given(gold=words, data=st.data())
def test_an_echoed_question_shares_words_and_characters_only(gold, data):
    question = data.draw(questions(gold, 20))
    found = value("token_f1", SAY.format(question), gold)
    num_words = len(question.split())
    assert found == pytest.approx(2 / (num_words + 1)) and found < 1.0
    assert value("sequence_ratio", SAY.format(question), gold) == pytest.approx(
        ratio(question, gold)
    )
