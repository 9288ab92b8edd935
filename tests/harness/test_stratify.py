"""Drawing evenly from bins of difficulty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.stratify import draw_evenly, histogram, mean_rate, rate_bin


def test_bins_are_half_open_and_one_is_in_the_last() -> None:
    assert [rate_bin(rate, 4) for rate in (0.0, 0.24, 0.25, 0.5, 0.75, 1.0)] == [0, 0, 1, 2, 3, 3]


def test_a_rate_is_the_mean_of_clipped_rewards_and_none_without_rewards() -> None:
    assert mean_rate([1.5, 0.5, -1.0, 0.5]) == 0.5
    assert mean_rate([]) is None


def test_a_histogram_counts_the_rates_of_each_bin() -> None:
    assert histogram([0.0, 0.1, 0.5, 1.0], 2) == [2, 2]


def test_every_bin_gives_the_same_and_a_short_one_all_it_has() -> None:
    rates = {f"a{i}": 0.0 for i in range(10)} | {"b0": 0.5} | {f"c{i}": 1.0 for i in range(10)}
    drawn = draw_evenly(rates, 9, 4)
    assert [sum(key[0] == letter for key in drawn) for letter in "abc"] == [4, 1, 4]


@given(
    st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=30),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(0, 99),
)
def test_the_draw_is_even_seeded_and_blind_to_order(
    rates: dict[str, float], num_samples: int, num_bins: int, seed: int
) -> None:
    drawn = draw_evenly(rates, num_samples, num_bins, seed)
    assert drawn == draw_evenly(dict(reversed(rates.items())), num_samples, num_bins, seed)
    assert len(drawn) == len(set(drawn)) == min(num_samples, len(rates))
    taken, there = [0] * num_bins, [0] * num_bins
    for key, rate in rates.items():
        there[rate_bin(rate, num_bins)] += 1
        taken[rate_bin(rate, num_bins)] += key in drawn
    unfilled = [n for n, size in zip(taken, there, strict=True) if n < size]
    assert all(most <= min(unfilled, default=most) + 1 for most in taken)


def test_other_seeds_draw_others() -> None:
    rates = {str(i): 0.5 for i in range(50)}
    assert draw_evenly(rates, 10, 2, seed=0) != draw_evenly(rates, 10, 2, seed=1)


def test_a_rate_that_is_no_fraction_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1.5"):
        draw_evenly({"a": 1.5}, 1, 2)
