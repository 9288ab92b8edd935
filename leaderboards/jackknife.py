"""Standard errors that respect clusters, also few and unequal ones: delete-one-cluster jackknife.

With G clusters, m_g samples and the sum of residuals e_g in cluster g, n samples in all and the
share h_g = m_g / n, the error of a mean is (Bell and McCaffrey 2002, Survey Methodology 28, 169;
CV3 of MacKinnon, Nielsen and Webb 2023, J. Applied Econometrics 38, 671)

    SE^2 = (G-1)/G * sum_g (e_g / (1 - h_g))^2 / n^2,

which for clusters of one sample is the classical s^2 / n. Its degrees of freedom are those of
Satterthwaite for independent samples of equal variance (Bell and McCaffrey): G - 1 for clusters of
one size, fewer for unequal ones. Assumption: clusters are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from statsmodels.regression.linear_model import OLS, WLS

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


class Error(NamedTuple):
    """A standard error and the degrees of freedom of its t distribution."""

    standard_error: float
    degrees: float


def cluster_codes(groups: Sequence[Hashable | None] | None) -> Codes | None:
    """Returns clusters numbered from 0 in order of appearance.

    None where a group is missing or all are the same: one cluster says nothing about the spread
    between clusters.
    """
    if groups is None:
        return None
    numbers = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    if any(_is_missing(group) for group in numbers):
        return None
    return np.asarray([numbers[group] for group in groups]) if len(numbers) > 1 else None


def error_of_mean(values: Floats, codes: Codes) -> Error:
    """Returns the error of the mean of values in at least two clusters.

    It is HC3 of the cluster means weighted by their sizes (whose leverages are the shares h_g),
    times (G-1)/G.
    """
    counts = np.bincount(codes).astype(float)
    means = np.bincount(codes, weights=values) / counts
    fit = WLS(means, np.ones_like(means), weights=counts).fit(cov_type="HC3")
    error = float(fit.bse[0]) * math.sqrt(1 - 1 / counts.size)
    return Error(error, satterthwaite(counts[:, None], np.ones(1)))


def error_of_combination(values: Floats, codes: Codes, columns: Codes, weights: Floats) -> Error:
    """Returns the error of a weighted sum of the means of columns that share clusters.

    Args:
        values: `[N]`, the samples of all columns.
        codes: `[N]`, their clusters, of which none holds all samples of a column.
        columns: `[N]`, their columns, from 0.
        weights: `[T]`, the weight of each column's mean.
    """
    members = np.equal.outer(columns, np.arange(weights.size)).astype(float)
    fit = OLS(values, members).fit(cov_type="cluster-crv3", cov_kwds={"groups": codes})
    error = math.sqrt(max(0.0, float(weights @ fit.cov_params() @ weights)))
    counts = np.zeros((int(codes.max()) + 1, weights.size))
    np.add.at(counts, (codes, columns), 1)
    squares = members.T @ np.square(fit.resid) / members.sum(0)
    return Error(error, satterthwaite(counts, np.square(weights) * squares))


def satterthwaite(counts: Floats, scales: Floats) -> float:
    """Returns the degrees of freedom, (tr M)^2 / tr M^2, of a jackknifed sum of means.

    M is the covariance of what the clusters add to the jackknife, with shares h_gt = m_gt / n_t:

        M_gg' = sum_t s_t / n_t^2 * (m_gt [g = g'] - m_gt m_g't / n_t) / ((1 - h_gt) (1 - h_g't))

    Args:
        counts: `[G, T]`, samples m of each cluster in each column; no cluster has all of a column.
        scales: `[T]`, squared weight times variance of a sample s; their common factor is free.
    """
    if not (scales > 0).any():
        scales = np.ones_like(scales)
    totals = counts.sum(0)
    spread = counts / (1 - counts / totals)
    diagonal = (scales / totals**2 * spread).sum(1)
    roots = np.sqrt(scales / totals**3) * spread
    squares = np.square(roots).sum(1)
    off_diagonal = np.square(roots.T @ roots).sum() - np.square(squares).sum()
    return float(diagonal.sum() ** 2 / (np.square(diagonal).sum() + off_diagonal))


def _is_missing(group: Hashable | None) -> bool:
    return group is None or (isinstance(group, float) and math.isnan(group))
