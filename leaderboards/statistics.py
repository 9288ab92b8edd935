"""Means and paired differences with intervals that respect clusters, and words for what they show.

Samples of one world or document are not independent, so standard errors are cluster-robust (Liang
and Zeger 1986; for evaluations Miller 2024, arXiv 2411.00640): with G clusters and residuals e, for
the mean of n values

    SE^2 = G/(G-1) * sum_g (sum_{i in g} e_i)^2 / n^2,      mean +- t_{0.975, G-1} * SE.

Repeated attempts at a sample are averaged first: they are not new samples. Assumption: clusters are
independent and not too few (the interval is too narrow below about ten of unequal size). Edge:
values that are all equal have no spread to estimate; the interval is then the exact binomial one
for as many trials as there are clusters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

ALPHA = 0.05
"""Intervals are at 95%, verdicts at 5%."""
POWER = 0.8
MAX_NEEDED_FACTOR = 1000
"""A difference that would need this many times the samples is not worth a number."""

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float
    num_samples: int
    num_clusters: int | None
    """Clusters that the interval respects; None where samples count as independent."""
    standard_error: float
    p_value: float
    """Of the hypothesis that the mean is zero, two-sided."""

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the interval."""
        return (self.num_clusters or self.num_samples) - 1


def estimate_mean(
    values: Sequence[float],
    groups: Sequence[Hashable | None] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Returns the mean of values and its 95% interval.

    Args:
        values: One per sample, within the bounds; not empty.
        groups: Cluster of each sample. Not used where one is missing or all are the same: a single
            cluster says nothing about the spread between clusters.
        bounds: Range of possible values, to which the interval is cut.
    """
    data = np.asarray(values, dtype=float)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError("values must be finite numbers, at least one")
    codes = _codes(groups)
    num_clusters = None if codes is None else int(codes.max()) + 1
    mean = float(data.mean())
    if data.size == 1:
        return Estimate(mean, *bounds, 1, num_clusters, math.nan, 1.0)
    if np.ptp(data) <= 1e-12:
        return _without_spread(mean, num_clusters or data.size, data.size, num_clusters, bounds)
    model = sm.OLS(data, np.ones_like(data))
    if codes is None:
        fit = model.fit()
    else:
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
    error = float(fit.bse[0])
    if not error > 1e-12:  # every cluster has the same mean: its spread cannot be estimated either
        return _without_spread(mean, num_clusters or data.size, data.size, num_clusters, bounds)
    degrees = (num_clusters or data.size) - 1
    half = float(stats.t.ppf(1 - ALPHA / 2, degrees)) * error
    low, high = max(bounds[0], mean - half), min(bounds[1], mean + half)
    p_value = 2 * float(stats.t.sf(abs(mean) / error, degrees))
    return Estimate(mean, low, high, int(data.size), num_clusters, error, p_value)


def estimate_difference(
    ours: Mapping[str, float],
    baseline: Mapping[str, float],
    groups: Mapping[str, Hashable | None] | None = None,
) -> Estimate | None:
    """Returns the mean of ours minus baseline over the samples that both have; None without any.

    Args:
        ours: Sample id -> score in [0, 1], mean over attempts.
        baseline: The same for the other side.
        groups: Sample id -> cluster.
    """
    shared = sorted(ours.keys() & baseline.keys())
    if not shared:
        return None
    differences = [ours[key] - baseline[key] for key in shared]
    clusters = None if groups is None else [groups.get(key) for key in shared]
    return estimate_mean(differences, clusters, bounds=(-1.0, 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number (Holm 1979), in the order given."""
    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def verdict(estimate: Estimate, adjusted_p: float) -> Verdict:
    """Returns what a difference shows at 5%, its p-value adjusted for the number of comparisons."""
    if adjusted_p >= ALPHA or estimate.mean == 0:
        return "cannot tell"
    return "better" if estimate.mean > 0 else "worse"


def minimum_detectable_effect(estimate: Estimate) -> float | None:
    """Returns the difference that 80% of repetitions would find; None without a spread."""
    if not estimate.standard_error > 0 or estimate.degrees < 1:
        return None
    return _quantiles(estimate.degrees) * estimate.standard_error


def num_samples_needed(estimate: Estimate, adjusted_p: float | None = None) -> int | None:
    """Returns about how many samples would find the difference seen, in 80% of repetitions.

    None where no reasonable number would, or the spread is not known. The same spread and cluster
    size are assumed; with an adjusted p-value, also the same number of comparisons.
    """
    if not estimate.standard_error > 0 or estimate.mean == 0 or estimate.degrees < 1:
        return None
    alpha = ALPHA * min(1.0, estimate.p_value / adjusted_p) if adjusted_p else ALPHA
    smallest = _quantiles(estimate.degrees, alpha) * estimate.standard_error
    factor = (smallest / estimate.mean) ** 2
    if factor > MAX_NEEDED_FACTOR:
        return None
    needed = estimate.num_samples * max(factor, 1.0)
    digits = max(0, int(math.log10(needed)) - 1)
    return int(math.ceil(needed / 10**digits) * 10**digits)


def _quantiles(degrees: int, alpha: float = ALPHA) -> float:
    upper = float(stats.t.ppf(1 - alpha / 2, degrees))
    return upper + float(stats.t.ppf(POWER, degrees))


def _codes(groups: Sequence[Hashable | None] | None) -> np.ndarray | None:
    if groups is None or any(_is_missing(group) for group in groups):
        return None
    numbers = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    if len(numbers) < 2:
        return None
    return np.asarray([numbers[group] for group in groups])


def _is_missing(group: Hashable | None) -> bool:
    return group is None or (isinstance(group, float) and math.isnan(group))


def _without_spread(
    mean: float, trials: int, size: int, num_clusters: int | None, bounds: tuple[float, float]
) -> Estimate:
    """Returns the interval of values without spread: what `trials` equal outcomes leave open."""
    open_share = 1 - (ALPHA / 2) ** (1 / trials)
    reach = open_share * (bounds[1] - bounds[0]) / (2 if bounds[0] < 0 else 1)
    low, high = max(bounds[0], mean - reach), min(bounds[1], mean + reach)
    p_value = 1.0 if abs(mean) <= 1e-12 else min(1.0, 2 * 0.5**trials)
    return Estimate(mean, low, high, size, num_clusters, 0.0, p_value)
