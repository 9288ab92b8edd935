"""Haystacks: needles stand where they should, whatever the size."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.generated.haystack import (
    DEPTHS,
    Lines,
    Needle,
    Prose,
    draw_depths,
    noise,
)
from longspan.harness.errors import DataError

TEXT = "One two three. Four five six! Seven eight nine?"  # sentences begin at 0, 15 and 30
PROSE = Prose([TEXT])


def test_the_forty_depths_run_from_0_to_100_percent():
    assert len(set(DEPTHS)) == 40
    assert DEPTHS[:4] == (0.0, 0.03, 0.05, 0.08)
    assert DEPTHS[-2:] == (0.97, 1.0)


@pytest.mark.parametrize(
    ("depth", "hidden"),
    [
        (0.0, "X. One two three. Four five six! Seven eight nine? ..."),
        (0.31, "X. One two three. Four five six! Seven eight nine? ..."),
        (0.32, "One two three. X. Four five six! Seven eight nine? ..."),  # 0.32 * 47 > 15
        (0.9, "One two three. Four five six! X. Seven eight nine? ..."),
        (1.0, "One two three. Four five six! Seven eight nine? ... X."),
    ],
)
def test_a_needle_stands_before_the_last_sentence_that_begins_within_its_depth(depth, hidden):
    assert PROSE.hide([Needle("X.", depth)], len(TEXT)) == hidden


@pytest.mark.parametrize(
    ("num_units", "text"),
    [
        (0, "..."),
        (10, "One two ..."),
        (7, "One two ..."),
        (48, f"{TEXT} ..."),
        (52, f"{TEXT} One ..."),
        (100, f"{TEXT} {TEXT} One ..."),
    ],
)
def test_prose_is_cut_between_words_and_begins_again_after_its_end(num_units, text):
    assert PROSE.hide([], num_units) == text


def test_needles_in_a_repeated_text_stand_between_sentences_too():
    hidden = PROSE.hide([Needle("X.", 0.5), Needle("Y.", 0.9)], 2 * len(TEXT) + 1)
    assert hidden == f"{TEXT[:29]} X. {TEXT[30:]} {TEXT[:29]} Y. {TEXT[30:]} ..."


@given(st.integers(0, 400), st.lists(st.floats(0, 1), max_size=5))
def test_prose_without_its_needles_is_the_text(num_units, depths):
    needles = [Needle(f"<{number}>", depth) for number, depth in enumerate(depths)]
    words = PROSE.hide(needles, num_units).split()
    assert [word for word in words if not word.startswith("<")] == PROSE.hide([], num_units).split()
    order = sorted(range(len(depths)), key=lambda number: depths[number])
    assert [word for word in words if word.startswith("<")] == [f"<{number}>" for number in order]


def test_abbreviations_do_not_end_a_sentence_and_quotes_and_other_scripts_do():
    sentences = [
        "Mr. J. Smith of St. Ives left the U.S. army.",
        '"So be it."',
        "He slept (ill).",
        "雨。",
        "雪。",
    ]
    prose = Prose(sentences)
    length = len(" ".join(sentences))
    for number in range(1, len(sentences)):
        start = len(" ".join([*sentences[:number], ""]))
        hidden = prose.hide([Needle("X", (start + 0.5) / (length + 1))], length + 1)
        assert hidden == " ".join([*sentences[:number], "X", *sentences[number:], "..."])
    assert prose.hide([Needle("X", 43 / (length + 1))], length + 1).startswith("X Mr. J.")


def test_text_without_words_is_cut_anywhere():
    assert len(Prose(["雨" * 300 + "。" + "雪" * 300]).hide([], 250)) == len("雨" * 250 + " ...")


def test_texts_without_sentences_are_an_error():
    with pytest.raises(DataError, match="no sentence ends .* got 9 characters; give prose"):
        Prose(["only", "this"])


def test_lines_are_drawn_once_and_needles_are_lines_of_their_own():
    source = map(str, itertools.count())
    lines = Lines(source)
    assert lines.hide([Needle("X", 1.0), Needle("Y", 0.5), Needle("Z", 0.5)], 4).split("\n") == [
        "0", "1", "Y", "Z", "2", "3", "X",
    ]  # fmt: skip
    assert lines.hide([], 3) == "0\n1\n2"
    assert next(source) == "4"


def test_noise_is_one_line_repeated():
    first, *others = noise().hide([], 5).split("\n")
    assert others == [first] * 4


def test_drawn_depths_are_different_and_ascending():
    for seed in range(20):
        depths = draw_depths(5, random.Random(seed))
        assert depths == sorted(set(depths)) and {*depths} <= {*DEPTHS}
