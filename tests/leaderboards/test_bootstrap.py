"""The bootstrap over clusters: against scipy, by simulation, and where there is nothing to vary."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from longspan.leaderboards import bootstrap
from longspan.leaderboards.bootstrap import estimate_statistic
from longspan.leaderboards.statistics import estimate_mean


def ratio(rows: np.ndarray) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def test_for_independent_samples_it_is_scipys_interval():
    values = np.random.default_rng(0).exponential(size=40)
    expected = stats.bootstrap(
        (values,), np.median, n_resamples=2000, vectorized=False, rng=np.random.default_rng(7)
    ).confidence_interval
    found = estimate_statistic(values.tolist(), None, np.median, seed=7)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == np.median(values) and found.num_clusters is None


def test_of_a_mean_it_comes_close_to_the_error_of_the_mean():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 5)
    values = np.clip(random.normal(0.5, 0.1, 300) + random.normal(0, 0.1, 60)[groups], 0, 1)
    found = estimate_statistic(values.tolist(), groups.tolist(), np.mean, seed=0)
    estimate = estimate_mean(values.tolist(), groups.tolist())
    assert found.standard_error == pytest.approx(estimate.standard_error, rel=0.1)
    assert found.num_clusters == 60


def test_samples_of_one_cluster_are_drawn_together():
    # A sample and its copy are one draw: the interval is that of the halves alone.
    values = np.random.default_rng(2).random(30)
    groups = list(range(30))
    single = estimate_statistic(values.tolist(), groups, np.median, seed=3)
    double = estimate_statistic(np.tile(values, 2).tolist(), groups * 2, np.median, seed=3)
    assert (double.low, double.high) == pytest.approx((single.low, single.high))


def test_the_interval_of_a_ratio_holds_the_truth(monkeypatch):
    monkeypatch.setattr(bootstrap, "NUM_RESAMPLES", 300)
    random, hits = np.random.default_rng(4), 0
    for seed in range(200):
        groups = np.repeat(np.arange(40), 3)
        sizes = random.exponential(size=40)[groups] + random.exponential(size=120)
        rows = np.stack([sizes * random.uniform(0, 1, 120), sizes], axis=1)
        found = estimate_statistic(rows.tolist(), groups.tolist(), ratio, seed)
        hits += found.low <= 0.5 <= found.high
    # 200 intervals of 93% hold it at least so often in 999 of 1000 cases.
    assert hits >= stats.binom.ppf(0.001, 200, 0.93)


def test_where_nothing_varies_the_interval_is_the_value():
    found = estimate_statistic([0.5] * 8, None, np.median, seed=0)
    assert (found.low, found.value, found.high, found.standard_error) == (0.5, 0.5, 0.5, 0.0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")]])
def test_what_cannot_be_resampled_is_refused(values):
    with pytest.raises(ValueError, match="at least two"):
        estimate_statistic(values, None, np.median, seed=0)
