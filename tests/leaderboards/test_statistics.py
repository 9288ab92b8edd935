"""Intervals, paired differences and verdicts, against scipy, statsmodels and simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from longspan.leaderboards.statistics import (
    DIFFERENCES,
    estimate_difference,
    estimate_mean,
    holm,
    holm_by_family,
    minimum_detectable_effect,
    num_samples_needed,
    verdict,
)


def clustered(seed: int, clusters: int = 30, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores of 0 and 1 whose probability differs by cluster (its mean is 0.5)."""
    random = np.random.default_rng(seed)
    share = np.repeat(random.beta(4, 4, clusters), size)
    values = (random.random(clusters * size) < share).astype(float)
    return values, np.repeat(np.arange(clusters), size)


def test_the_cluster_robust_interval_is_the_formula_by_hand():
    # Two clusters, mean 0.5; sums of residuals +0.5 and -0.5: SE^2 = 2/1 * (0.25 + 0.25) / 4^2.
    estimate = estimate_mean([1.0, 0.5, 0.0, 0.5], ["a", "a", "b", "b"], bounds=(-9, 9))
    assert estimate.mean == 0.5 and estimate.num_clusters == 2 and estimate.degrees == 1
    # statsmodels also multiplies by (n - 1) / (n - 1) = 1 for one parameter.
    assert estimate.standard_error == pytest.approx(0.25)
    assert estimate.high - estimate.mean == pytest.approx(12.7062 * 0.25, abs=1e-4)


def test_clusters_of_one_size_have_the_classical_cluster_robust_error():
    values, groups = clustered(1)
    fit = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    estimate = estimate_mean(values, groups, bounds=(-9, 9))
    assert (estimate.low, estimate.high) == pytest.approx(tuple(fit.conf_int()[0]))
    assert estimate.p_value == pytest.approx(fit.pvalues[0]) and estimate.degrees == pytest.approx(
        29
    )


def test_independent_right_and_wrong_answers_have_wilsons_interval():
    # n* = p (1 - p) / SE^2 = n - 1, and t in the place of z.
    estimate = estimate_mean([1.0] * 18 + [0.0] * 2)
    level = 2 * stats.norm.cdf(stats.t.ppf(0.975, 19)) - 1
    low, high = proportion_confint(0.9 * 19, 19, 1 - level, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    # For many samples it is scipy's.
    exact = stats.binomtest(900, 1000).proportion_ci(0.95, method="wilson")
    estimate = estimate_mean([1.0] * 900 + [0.0] * 100)
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high), abs=1e-4)


@pytest.mark.parametrize("groups", [None, ["only"] * 5, ["a", None, "a", "b", "b"]])
def test_without_usable_clusters_it_agrees_with_scipy(groups):
    values = [0.0, 1.0, 1.0, 0.5, 0.25]
    result = stats.ttest_1samp(values, 0.0)
    estimate = estimate_mean(values, groups, bounds=(-9, 9))
    assert estimate.num_clusters is None
    assert estimate.p_value == pytest.approx(result.pvalue)
    interval = result.confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))


def test_the_interval_covers_the_truth_in_95_percent_of_simulations():
    hits = 0
    for seed in range(800):
        values, groups = clustered(seed)
        estimate = estimate_mean(values, groups)
        hits += estimate.low <= 0.5 <= estimate.high
    assert 0.93 <= hits / 800 <= 0.97


def test_ignoring_clusters_would_cover_too_little():
    hits = 0
    for seed in range(300):
        values, _ = clustered(seed, clusters=10, size=60)
        estimate = estimate_mean(values)
        hits += estimate.low <= 0.5 <= estimate.high
    assert hits / 300 < 0.75


def test_equal_values_leave_open_what_so_many_trials_leave_open():
    # 20 of 20 right: the exact (Clopper-Pearson) lower bound is 0.025 ** (1 / 20).
    exact = stats.binomtest(20, 20).proportion_ci(0.95)
    estimate = estimate_mean([1.0] * 20)
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))
    assert estimate_mean([0.0] * 20).high == pytest.approx(1 - exact.low)
    # In two clusters it is two trials.
    assert estimate_mean([1.0] * 20, [0, 1] * 10).low == pytest.approx(0.025**0.5)


def test_one_sample_says_nothing():
    estimate = estimate_mean([1.0])
    assert (estimate.low, estimate.high, estimate.p_value) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match="finite"):
        estimate_mean(values)


SCORES = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=2, max_size=30)


@given(SCORES, st.integers(1, 6))
def test_the_interval_holds_the_mean_and_stays_in_bounds(values, clusters):
    groups = [index % clusters for index in range(len(values))]
    estimate = estimate_mean(values, groups)
    assert (
        0.0 <= estimate.low <= estimate.mean + 1e-9 and estimate.mean <= estimate.high + 1e-9 <= 2
    )
    assert 0.0 <= estimate.p_value <= 1.0


@given(SCORES, SCORES)
def test_a_difference_turned_round_has_the_opposite_sign(first, second):
    ours = {f"s{i}": value for i, value in enumerate(first)}
    other = {f"s{i}": value for i, value in enumerate(second)}
    there, back = estimate_difference(ours, other), estimate_difference(other, ours)
    assert there.mean == pytest.approx(-back.mean)
    assert there.low == pytest.approx(-back.high)
    assert there.p_value == pytest.approx(back.p_value)


def test_only_shared_samples_are_compared_and_pairing_is_the_paired_t_test():
    random = np.random.default_rng(0)
    hard = random.random(40)
    ours = {f"s{i}": float(value) for i, value in enumerate(hard)}
    other = {f"s{i}": float(value) - 0.01 * (i % 3) for i, value in enumerate(hard)}
    result = stats.ttest_rel(list(ours.values()), list(other.values()))
    estimate = estimate_difference(ours | {"mine": 1.0}, other | {"yours": 0.0})
    assert estimate.num_samples == 40
    assert estimate.p_value == pytest.approx(result.pvalue)
    assert estimate_difference({"a": 1.0}, {"b": 1.0}) is None


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1, then made monotone: 0.03, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize("num", [1, 2, 12])
def test_holm_is_that_of_statsmodels(num):
    p_values = np.round(np.random.default_rng(num).random(num) ** 3, 2).tolist()  # some are equal
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_every_family_is_adjusted_by_itself():
    p_values = [0.04, 0.01, 0.03, 0.02]
    assert holm_by_family(p_values, ["a", "b", "a", "b"]) == pytest.approx([0.06, 0.02, 0.06, 0.02])
    assert holm_by_family(p_values, ["one"] * 4) == pytest.approx(holm(p_values))
    assert holm_by_family([], []) == []


def test_verdicts_need_the_adjusted_p_value():
    gain = estimate_mean([0.0, 1.0, 1.0, 1.0] * 5, bounds=(-1, 1))
    loss = estimate_mean([0.0, -1.0, -1.0, -1.0] * 5, bounds=(-1, 1))
    assert verdict(gain, 0.049) == "better" and verdict(loss, 0.049) == "worse"
    assert verdict(gain, 0.05) == "cannot tell"


def test_the_detectable_effect_has_the_power_that_it_promises():
    values = np.random.default_rng(3).normal(0.1, 1.0, 100)
    estimate = estimate_mean(values, bounds=(-9, 9))
    effect = minimum_detectable_effect(estimate) / float(np.std(values, ddof=1))
    assert TTestPower().power(effect, 100, 0.05) == pytest.approx(0.8, abs=0.01)


def test_with_few_clusters_more_of_them_also_make_the_spread_better_known():
    # 8 clusters of 5: the t of 7 degrees of freedom is wider than that of the board asked for.
    values = [v for c in range(8) for v in [0.05 + 0.1 * (-1) ** c] * 5]
    estimate = estimate_mean(values, [i // 5 for i in range(40)], bounds=(-1, 1))
    clusters = TTestPower().solve_power(
        0.05 / (estimate.standard_error * 8**0.5), alpha=0.05, power=0.8
    )
    assert num_samples_needed(estimate) == pytest.approx(5 * clusters, rel=0.03)
    assert num_samples_needed(estimate) < 40 * (minimum_detectable_effect(estimate) / 0.05) ** 2


def test_so_many_samples_would_tell():
    # A difference of half the detectable one needs about four times the samples.
    values = np.random.default_rng(4).normal(0.0, 1.0, 200)
    values += 0.1 - values.mean()
    estimate = estimate_mean(values, bounds=(-9, 9))
    needed = num_samples_needed(estimate)
    exact = TTestPower().solve_power(0.1 / np.std(values, ddof=1), alpha=0.05, power=0.8)
    assert 0.99 * exact <= needed <= 1.1 * exact
    assert exact == pytest.approx(200 * (minimum_detectable_effect(estimate) / 0.1) ** 2, rel=0.02)
    # A third of the level, for three comparisons, needs more; at least as many as there are.
    assert num_samples_needed(estimate, min(1.0, 3 * estimate.p_value)) > needed
    assert num_samples_needed(estimate_mean([0.0] * 10)) is None
    faint = dataclasses.replace(estimate, mean=estimate.standard_error / 20)
    assert num_samples_needed(faint) is None
    assert num_samples_needed(estimate_mean([0.5, -0.5], bounds=(-1, 1))) is None


def test_equal_differences_leave_open_what_their_p_value_does():
    for count in (1, 3, 5, 6, 20):
        found = estimate_mean([1.0] * count, bounds=DIFFERENCES)
        unseen = 1 - 0.025 ** (1 / count)
        if count > 1:
            assert found.low == pytest.approx(1 - 2 * unseen) and found.high == 1.0
        assert (found.low > 0) == (found.p_value < 0.05), count
    same = estimate_mean([0.0] * 6, bounds=DIFFERENCES)
    assert (same.low, same.high) == pytest.approx((-0.459258, 0.459258), abs=1e-6)
