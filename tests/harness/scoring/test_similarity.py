"""difflib's ratio, and its cap."""

import time
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.similarity import sequence_ratio


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
