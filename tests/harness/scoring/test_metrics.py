"""Measures: worked examples by hand, bounds, and what cannot be gamed."""

import time
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.metrics import (
    Number,
    cover_exact_match,
    exact_match,
    found_share,
    letter,
    normalise,
    numeric,
    parse_letter,
    parse_number,
    sequence_ratio,
    token_f1,
)


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("It was the town of Karo, in fact", "Karo", 1.0),
        ("karo", "The Karo!", 1.0),
        ("Karo", "Karo Dresex", 0.0),  # one direction only
        ("unknown", "no", 0.0),  # whole words only
        ("Jean-Luc", "jeanluc", 1.0),
        ("Röntgen", "RÖNTGEN", 1.0),
        ("1.5", "15", 0.0),
        ("3,000", "3000", 1.0),
        ("yes or no", "yes", 0.0),
        ("No, true is not it", "no", 1.0),
        ("The", "the", 1.0),
        ("a", "the", 0.0),
        ("%", "%", 1.0),
        ("anything", "%", 0.0),
        ("答案是东京都", "东京都", 1.0),
        ("京", "东京", 0.0),
    ],
)
def test_cover_exact_match(answer, gold, value):
    assert cover_exact_match(answer, gold) == value


def test_listing_candidates_does_not_cover():
    names = " ".join(f"Name{i}" for i in range(20))
    assert cover_exact_match(names, "Name7") == 0.0
    assert cover_exact_match(names, "Name7", max_extra_words=19) == 1.0
    assert cover_exact_match("东京" + "大阪" * 20, "东京") == 0.0


@given(st.text(min_size=1).filter(lambda gold: gold.strip()))
def test_a_gold_answer_covers_itself(gold):
    assert cover_exact_match(gold, gold) == 1.0


@given(st.text())
def test_normalising_twice_changes_nothing_in_ascii(text):
    text = text.encode("ascii", "ignore").decode()
    once = normalise(text)
    assert once == " ".join(once.split()) and once == once.lower()


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        *[(text, "B") for text in ("B", "b", "(B)", "(b)", "B.", "B)", "option B", "Choice (B).")],
        *[(text, "B") for text in ("(B) Paris", "B. Paris is right", "B: Paris", "( B )")],
        *[(text, None) for text in ("A, B, C, D", "A or B", "(A) or (B)", "(A)(B)", "A B C D")],
        *[(text, None) for text in ("(B) or (C)", "B. or C. both", "(A), (B), (C), (D)", "B/C")],
        *[(text, None) for text in ("", "Paris", "A Paris", "not B", "AB", "5", "(A) B, C")],
    ],
)
def test_letters(answer, named):
    assert parse_letter(answer) == named
    assert letter(answer, "(B)") == float(named == "B")


def test_a_gold_option_that_is_no_letter_is_a_defect():
    with pytest.raises(ValueError, match="not one option letter"):
        letter("B", "Paris")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234", Number(1234)),
        ("$1,234.50 in total", Number(1234.5)),
        ("-5", Number(-5)),
        ("\u22125", Number(-5)),
        ("+5", Number(5)),
        (".5", Number(0.5)),
        ("1.5e3", Number(1500)),
        ("12%", Number(12, True)),
        ("12 percent", Number(12, True)),
        ("20.5 million dollars", Number(20.5)),
        ("3 lamps, that is 3", Number(3)),
        ("1\u202f234", Number(1234)),
        ("7.", Number(7)),
        ("1, 2, 3", None),
        ("1 or 2", None),
        ("2019-05-03", None),
        ("B2", None),
        ("seven", None),
        ("9" * 400, None),
        ("1e9999", None),
        ("__import__('os')", None),
        ("", None),
    ],
)
def test_numbers(text, number):
    assert parse_number(text) == number


def test_percent_equals_its_number_and_its_fraction():
    assert numeric("12%", "12") == numeric("12%", "0.12") == numeric("0.12", "12%") == 1.0
    assert numeric("12%", "12%") == numeric("12", "12%") == 1.0
    assert numeric("0.12", "12") == numeric("12", "0.12") == 0.0


def test_the_tolerance_is_relative():
    assert numeric("101", "100") == 0.0
    assert numeric("101", "100", tolerance=0.02) == 1.0
    assert numeric("0", "0.0") == 1.0


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_equals_itself_however_it_is_written(value):
    assert numeric(repr(value), repr(value)) == 1.0
    assert numeric(f"it is {value:,.3f} units", f"{value:.3f}") == 1.0


def test_sequence_ratio_by_hand():
    assert sequence_ratio("abcd", "bcde") == 0.75  # 2 * 3 / 8
    assert sequence_ratio("abc", "xyz") == 0.0


@given(st.text(alphabet="abc ", max_size=300), st.text(alphabet="abc ", min_size=1, max_size=300))
def test_sequence_ratio_is_difflibs(answer, gold):
    assert sequence_ratio(answer, gold) == pytest.approx(
        SequenceMatcher(None, answer, gold).ratio(), abs=1e-12
    )


def test_sequence_ratio_keeps_difflibs_treatment_of_frequent_characters():
    gold = "ab" * 150  # 300 characters, each of them frequent: nothing is left to match
    assert sequence_ratio("x" + gold, gold) == 0.0
    assert SequenceMatcher(None, "x" + gold, gold).ratio() == 0.0
    assert sequence_ratio(gold, gold) == 1.0


def test_sequence_ratio_finishes_on_a_hostile_text_and_gives_it_nothing():
    hostile = "".join(chr(300 + i % 101) for i in range(200_000))
    gold = "".join(chr(300 + i * i % 101) for i in range(20_000))
    start = time.process_time()
    value = sequence_ratio(hostile, gold, max_work=1_000_000)
    assert time.process_time() - start < 5
    assert value <= SequenceMatcher(None, hostile[:2000], gold).ratio()


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("the red house", "red house", 1.0),
        ("red house on the hill", "red house", 2 * 2 / (4 + 2)),  # "the" is no word
        ("red red house", "red house", 2 * 2 / (3 + 2)),  # repetitions count once
        ("blue", "red house", 0.0),
        ("yes it is", "yes", 0.0),
        ("yes", "yes", 1.0),
    ],
)
def test_token_f1(answer, gold, value):
    assert token_f1(answer, gold) == pytest.approx(value)


def test_exact_match_is_the_same_text_and_no_more():
    assert exact_match("The Karo!", "karo") == 1.0
    assert exact_match("Karo in the south", "karo") == 0.0
    assert (exact_match("a", "the"), exact_match("%", "%")) == (0.0, 1.0)


def test_the_share_of_references_found_is_bounded_in_length():
    assert found_share("17, 23 and 4", ["17", "23", "4", "9"]) == 0.75
    assert found_share("1723", ["17", "23"]) == 0.0  # whole words
    assert found_share(" ".join(map(str, range(100))), ["17", "23"]) == 0.0
    with pytest.raises(ValueError, match="a reference is blank"):
        found_share("x", ["x", " "])


@pytest.mark.parametrize(
    ("answer", "letter_"),
    [
        ("**(B)** West", "B"),
        ("(**B**)", "B"),
        ("option (B) West", "B"),
        ("(B)West", "B"),
        ("[B]", "B"),
        (r"\(\boxed{\text{B}}\)", "B"),
        ("(B) J. R. R. Tolkien", "B"),  # capitals of the option's own text
        ("(C) Vitamin A, B and C", "C"),
        ("(B) or C", None),
        ("(A) or (B)", None),
        ("(A) (B) (C)", None),
    ],
)
def test_the_usual_forms_of_a_letter(answer, letter_):
    assert parse_letter(answer) == letter_


@pytest.mark.parametrize(
    ("answer", "value"),
    [("$5.9M", 5.9), ("12.5kg", 12.5), ("1,23,456", None), ("12,34", None), ("1.234.567", None)],
)
def test_a_number_is_read_whole_or_not_at_all(answer, value):
    number = parse_number(answer)
    assert (number and number.value) == value
