"""Words: enough of them, and none inside another."""

import random

import pytest

from longspan.harness.datasets.generated.words import (
    adjectives,
    draw_compound,
    draw_compounds,
    nouns,
    num_compounds,
)
from longspan.harness.errors import DataError


def test_no_word_is_part_of_another_so_no_compound_is_part_of_another():
    words = [*adjectives(), *nouns()]
    assert len(words) == len(set(words)) > 1500
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    text = "\n".join(words)
    assert all(text.count(word) == 1 for word in words)


def test_drawn_compounds_are_different_and_of_an_adjective_and_a_noun():
    drawn = draw_compounds(2000, random.Random(1))
    assert len(set(drawn)) == 2000
    for compound in [*drawn, draw_compound(random.Random(2))]:
        first, second = compound.split("-")
        assert first in adjectives() and second in nouns()


def test_all_compounds_can_be_drawn_but_no_more():
    assert num_compounds() == len(adjectives()) * len(nouns()) > 700_000
    with pytest.raises(DataError, match=f"asked for {num_compounds() + 1}"):
        draw_compounds(num_compounds() + 1, random.Random(1))
