"""Fitting: as much filling as the room allows, found in a few counts."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.generated.fitting import Draft, Room, fit
from longspan.harness.datasets.records import make_document
from longspan.harness.errors import DataError
from longspan.harness.prompts import render_prompt
from tests.harness.words import WordTokens

QUESTION, INSTRUCTIONS = "Which word?", "Say it."
FRAME = WordTokens().count(render_prompt("", QUESTION, INSTRUCTIONS))


class Counting(WordTokens):
    def __init__(self):
        super().__init__()
        self.counts = []

    def count(self, text):
        self.counts.append(super().count(text))
        return self.counts[-1]


def draft(costs, **options):
    """Units of the given costs in words, again and again."""
    words = [" ".join(["word"] * cost) for cost in costs]

    def build(num_units):
        return (make_document("", " ".join(itertools.islice(itertools.cycle(words), num_units))),)

    return Draft(QUESTION, ("word",), build, **{"probe_units": 10, **options})


def room(num_tokens):
    """Room for a context of so many tokens."""
    return Room(num_tokens + FRAME + 7, answer_tokens=4, overhead_tokens=3)


def test_the_rooms_parts_by_hand():
    assert Room(100, answer_tokens=30, overhead_tokens=5).prompt_tokens == 65


def test_the_most_units_that_fit_by_hand():
    fitted = fit(draft([10]), INSTRUCTIONS, room(59), Counting())
    assert (fitted.num_units, fitted.prompt_tokens) == (5, 50 + FRAME)


def test_what_does_not_fit_with_the_fewest_units_is_none():
    assert fit(draft([10], min_units=6), INSTRUCTIONS, room(59), Counting()) is None
    assert fit(draft([10], min_units=5), INSTRUCTIONS, room(59), Counting()).num_units == 5


def test_filling_that_runs_out_is_an_error():
    with pytest.raises(DataError, match="not enough filling for .* all of it makes .* lower"):
        fit(draft([10], max_units=7), INSTRUCTIONS, room(500), Counting())


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(50, 5000),
    st.none() | st.integers(1, 3000),
)
def test_a_context_never_exceeds_its_room_and_a_unit_or_a_little_more_is_left(costs, num, guess):
    fitted = fit(draft(costs), INSTRUCTIONS, room(num), Counting(), guess)
    left = num + FRAME - fitted.prompt_tokens
    assert 0 <= left <= max(costs) + 4 * 13


def test_a_guess_saves_counts_and_does_not_change_what_fits():
    costs = [random.Random(1).randint(5, 15) for _ in range(50)]
    first, again = Counting(), Counting()
    fitted = fit(draft(costs), INSTRUCTIONS, room(100_000), first)
    repeated = fit(draft(costs), INSTRUCTIONS, room(100_000), again, fitted.num_units)
    assert repeated == fitted
    assert len(again.counts) == 2 < len(first.counts)
    assert sum(count > 50_000 for count in first.counts) <= 3
