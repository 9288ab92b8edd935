"""Intervals of statistics that are no mean: a median, a ratio, an F1 over all samples.

The bias-corrected and accelerated bootstrap (Efron 1987) of `scipy.stats.bootstrap`, in which
clusters are drawn as wholes (Field and Welsh 2007). It knows no number of clusters that makes it
exact; with fewer than about twenty its intervals are too narrow. For means use `estimate_mean`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from longspan.leaderboards.jackknife import cluster_codes
from longspan.leaderboards.statistics import ALPHA

NUM_RESAMPLES = 2000

Statistic = Callable[[npt.NDArray[np.float64]], float]
"""From the rows of samples, in any order and number, to a figure."""


@dataclass(frozen=True, slots=True)
class StatisticEstimate:
    """A statistic with its 95% interval."""

    value: float
    low: float
    high: float
    standard_error: float
    num_samples: int
    num_clusters: int | None
    """Clusters that were drawn as wholes; None where samples count as independent."""


def estimate_statistic(
    values: Sequence[float] | Sequence[Sequence[float]],
    groups: Sequence[Hashable | None] | None,
    statistic: Statistic,
    seed: int,
) -> StatisticEstimate:
    """Returns a statistic of samples and its interval.

    Args:
        values: One number per sample, or one row of numbers (numerator and denominator of a ratio).
        groups: Cluster of each sample; not used where one is missing or all are the same.
        statistic: Function of such an array. It must be finite on every resample.
        seed: Of the resamples; the same seed gives the same interval.

    Where the statistic is the same on every resample the interval is that value alone. Where the
    acceleration cannot be estimated, the interval is that of the percentiles.
    """
    data = np.asarray(values, dtype=float)
    if len(data) < 2 or not np.isfinite(data).all():
        raise ValueError("values must be finite numbers, at least two")
    codes = cluster_codes(groups)
    labels = np.arange(len(data)) if codes is None else codes
    members = [np.flatnonzero(labels == cluster) for cluster in range(int(labels.max()) + 1)]

    def of_clusters(drawn: npt.NDArray[np.int64]) -> float:
        return float(statistic(data[np.concatenate([members[int(cluster)] for cluster in drawn])]))

    value, (low, high), error = _interval(of_clusters, len(members), seed)
    num_clusters = None if codes is None else len(members)
    return StatisticEstimate(value, low, high, error, len(data), num_clusters)


def _interval(
    statistic: Callable[[npt.NDArray[np.int64]], float], num_clusters: int, seed: int
) -> tuple[float, tuple[float, float], float]:
    """Returns a statistic of clusters with its interval and standard error."""
    clusters = np.arange(num_clusters)
    value = statistic(clusters)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a degenerate distribution has an interval of nan
            result = stats.bootstrap(
                (clusters,),
                statistic,
                n_resamples=NUM_RESAMPLES,
                vectorized=False,
                confidence_level=1 - ALPHA,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = map(float, result.confidence_interval)
        if np.isfinite([low, high]).all():
            break
    return value, (low, high), float(result.standard_error)
