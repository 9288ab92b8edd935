"""Measures of texts: worked examples by hand, bounds, and what cannot be gamed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.metrics import cover_exact_match, exact_match, found_share, token_f1
from longspan.harness.scoring.normal import normalise


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
        ("no", "No", 1.0),
        ("Yes, they were", "yes", 1.0),
        ("No because it was later", "no", 1.0),
        ("It is true", "true", 1.0),
        ("No one knows", "no", 0.0),
        ("There is no evidence", "no", 0.0),
        ("it is not true", "true", 0.0),
        ("Paris/Lyon", "Paris", 1.0),
        ("Paris-based", "Paris", 1.0),
        ("not Paris but Lyon", "Paris", 0.0),
        ("not Paris but Lyon", "Lyon", 1.0),
        ("Lyon, not Paris; Paris was before", "Paris", 1.0),
        ("between -5 and 3", "5", 0.0),
        ("5-6", "5", 0.0),
        ("2023-05-01", "05", 0.0),
        ("written in C++", "C", 0.0),
        ("written in C++", "C++", 1.0),
        ("College A is it", "College A", 1.0),
        ("共123个", "123", 1.0),
        ("答案是Paris市", "Paris", 1.0),
        ("a-b-c-d-e-f-g-h-i-j-k-l-m-n-o", "c", 0.0),
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
