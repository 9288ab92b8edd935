"""The jackknife over clusters, against statsmodels and the definition of its degrees of freedom."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from longspan.leaderboards.jackknife import (
    cluster_codes,
    error_of_combination,
    error_of_mean,
    satterthwaite,
)


def unequal(seed: int, num_clusters: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and clusters of 1 to 9 samples."""
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(num_clusters), random.integers(1, 10, num_clusters))
    return random.random(codes.size) + random.random(num_clusters)[codes], codes


def degrees_by_definition(design: np.ndarray, codes: np.ndarray, contrast: np.ndarray) -> float:
    """Returns Satterthwaite's degrees of freedom from the matrices of the regression."""
    bread = np.linalg.inv(design.T @ design)
    residual = np.eye(len(codes)) - design @ bread @ design.T
    rows = []
    for cluster in range(codes.max() + 1):
        inside = codes == cluster
        rest = np.linalg.inv(design[~inside].T @ design[~inside])
        rows.append(contrast @ rest @ design[inside].T @ residual[inside])
    moments = np.array(rows) @ np.array(rows).T
    return float(np.trace(moments) ** 2 / np.trace(moments @ moments))


def test_the_error_of_a_mean_by_hand():
    # Clusters (1), (0, 0): mean 1/3, sums of residuals +-2/3, shares 1/3 and 2/3.
    # SE^2 = 1/2 * ((2/3 / (2/3))^2 + (2/3 / (1/3))^2) / 3^2 = 5/18.
    error = error_of_mean(np.array([1.0, 0.0, 0.0]), np.array([0, 1, 1]))
    assert error.standard_error == pytest.approx((5 / 18) ** 0.5)
    assert error.degrees == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_jackknife_of_statsmodels(seed):
    values, codes = unequal(seed)
    fit = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster-crv3", cov_kwds={"groups": codes}
    )
    error = error_of_mean(values, codes)
    assert error.standard_error == pytest.approx(fit.bse[0])
    one = np.ones((len(codes), 1))
    assert error.degrees == pytest.approx(degrees_by_definition(one, codes, np.ones(1)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20).filter(lambda v: np.ptp(v) > 1e-3))
def test_samples_by_themselves_have_the_classical_error(values):
    error = error_of_mean(np.array(values), np.arange(len(values)))
    assert error.standard_error == pytest.approx(stats.sem(values))
    assert error.degrees == pytest.approx(len(values) - 1)


def test_degrees_of_a_combination_are_those_of_the_definition():
    values, codes = unequal(5)
    columns = np.arange(len(codes)) % 2
    weights = np.array([0.3, 0.7])
    design = np.equal.outer(columns, [0, 1]).astype(float)
    counts = np.zeros((9, 2))
    np.add.at(counts, (codes, columns), 1)
    expected = degrees_by_definition(design, codes, weights)
    assert satterthwaite(counts, weights**2) == pytest.approx(expected)
    # Of one column it is the error of its mean.
    one = error_of_combination(values, codes, np.zeros_like(codes), np.ones(1))
    assert one == pytest.approx(error_of_mean(values, codes))


def test_unequal_clusters_count_for_fewer():
    assert satterthwaite(np.full((8, 1), 5.0), np.ones(1)) == pytest.approx(7)
    sizes = np.array([[40.0], [5], [5], [5], [5], [5], [5], [5]])
    assert satterthwaite(sizes, np.ones(1)) < 3


def test_one_cluster_or_a_missing_one_is_no_clustering():
    assert cluster_codes(["a", "a"]) is None
    assert cluster_codes(["a", None]) is None
    assert cluster_codes(["a", float("nan")]) is None
    assert cluster_codes(["b", "a", "b"]).tolist() == [0, 1, 0]
