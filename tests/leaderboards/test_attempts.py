"""pass@k and avg@k: against counting, by hand, and what becomes of failed attempts."""

from __future__ import annotations

from itertools import combinations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import BoardError
from longspan.leaderboards.attempts import average_at_k, pass_at_k


def table(*samples: list[float | None], groups: list[str] | None = None) -> pd.DataFrame:
    """Returns attempts; each list holds the scores of one sample."""
    rows = [
        {"sample": f"s{i}", "value": value, "document_group": groups[i] if groups else None}
        for i, values in enumerate(samples)
        for value in values
    ]
    return pd.DataFrame(rows).astype({"value": float})


def test_pass_at_k_by_hand():
    # 1 of 4 passed: 1 - C(3, 2) / C(4, 2) = 1/2. 0 of 4: 0. 3 of 4: 1 - 0 = 1.
    found = pass_at_k(table([1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]), 2)
    assert found.estimate.mean == pytest.approx((0.5 + 0 + 1) / 3)
    assert found.num_left_out == found.num_failed == 0


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_success(values, data):
    k = data.draw(st.integers(1, len(values)))
    draws = list(combinations(values, k))
    share = sum(max(draw) for draw in draws) / len(draws)
    assert pass_at_k(table(values), k).estimate.mean == pytest.approx(share)


def test_of_one_attempt_it_is_the_accuracy():
    attempts = table([1, 0, 0], [1, 1, 0])
    one, all_three = pass_at_k(attempts, 1).estimate, average_at_k(attempts, 3).estimate
    assert one.mean == pytest.approx(all_three.mean)
    assert (one.low, one.high) == pytest.approx((all_three.low, all_three.high))


def test_a_failed_attempt_is_left_out_and_a_sample_with_too_few_is_counted():
    attempts = table([1, None, 0], [None, None, 1], [0, 0, 0])
    found = pass_at_k(attempts, 2)
    assert found.estimate.mean == pytest.approx((1 + 0) / 2) and found.estimate.num_samples == 2
    assert (found.num_left_out, found.num_failed) == (1, 3)
    average = average_at_k(attempts, 3)
    assert average.estimate.mean == pytest.approx((0.5 + 1 + 0) / 3) and average.num_left_out == 0


def test_without_enough_attempts_there_is_no_figure():
    found = pass_at_k(table([1, 0], [0, 1]), 3)
    assert found.estimate is None and found.num_left_out == 2
    with pytest.raises(BoardError, match="k must be at least 1: got 0"):
        pass_at_k(table([1, 0]), 0)


def test_a_part_of_the_points_passes_where_the_bar_says_so():
    assert pass_at_k(table([0.6, 0.2]), 2).estimate.mean == 0
    assert pass_at_k(table([0.6, 0.2]), 2, success=0.5).estimate.mean == 1


def test_intervals_are_over_clusters_of_samples_not_over_attempts():
    attempts = table([1, 1], [1, 0], [0, 0], [0, 1], groups=["a", "a", "b", "b"])
    estimate = average_at_k(attempts, 2).estimate
    assert (estimate.num_samples, estimate.num_clusters) == (4, 2)
