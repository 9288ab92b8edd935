"""Means and paired differences with intervals that respect clusters, and words for what they show.

Samples of one world or document are not independent, so errors are cluster-robust, with the care
that few clusters of unequal size need (`leaderboards.jackknife`; for evaluations Miller 2024, arXiv
2411.00640). Repeated attempts at a sample are averaged first: they are not new samples.

Differences have the interval mean +- t_{0.975, df} * SE. Means of scores in [0, 1] have Wilson's,
which is not too narrow near 0 and 1, with the effective number of samples n* = p (1 - p) / SE^2 in
the place of n and t in the place of z (Franco, Little, Louis and Slud 2019, J. Survey Stat.
Methodol. 7, 334-364): all q with |p - q| <= t * sqrt(q (1 - q) / n*). Edge: values that are all
equal have no spread to estimate; the interval is then the exact binomial one for as many trials as
there are clusters.

`benchmarks/board_statistics.py` measures how often the intervals hold the truth. They hold it too
rarely (89 to 93%) where a mean of 0.9 meets 20 to 50 clusters that are nearly all right or all
wrong (intra-cluster correlation of 0.3 and more); the remedy is more clusters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special
from statsmodels.stats.proportion import proportion_confint

from longspan.leaderboards.jackknife import (
    Codes,
    Error,
    Floats,
    cluster_codes,
    error_of_mean,
)

ALPHA = 0.05
"""Intervals are at 95%, verdicts at 5%."""
POWER = 0.8
MAX_NEEDED_FACTOR = 1000
"""A difference that would need this many times the samples is not worth a number."""

SCORES = (0.0, 1.0)
"""Bounds of scores."""
DIFFERENCES = (-1.0, 1.0)
"""Bounds of differences of scores."""
NO_SPREAD = 1e-12

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
    degrees: float
    """Degrees of freedom of the interval."""


class Memory(NamedTuple):
    """Estimates by a hash of what they follow from."""

    before: Mapping[str, Estimate]
    used: dict[str, Estimate]


_memory: ContextVar[Memory | None] = ContextVar("memory", default=None)


def estimate_mean(
    values: Sequence[float],
    groups: Sequence[Hashable | None] | None = None,
    bounds: tuple[float, float] = SCORES,
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
    codes = cluster_codes(groups)
    if data.size == 1:
        return Estimate(float(data[0]), *bounds, 1, None, math.nan, 1.0, 0.0)
    memory = _memory.get()
    if memory is None:
        return _estimate(data, codes, bounds)
    key = _key(data, codes, bounds)
    found = memory.used.get(key) or memory.before.get(key) or _estimate(data, codes, bounds)
    memory.used[key] = found
    return found


@contextmanager
def remembering(before: Mapping[str, Estimate]) -> Iterator[Mapping[str, Estimate]]:
    """Yields the estimates that are asked for from here on; those of before are not made again.

    Args:
        before: What an earlier use has yielded, of this code and the same packages.
    """
    memory = Memory(before, {})
    token = _memory.set(memory)
    try:
        yield memory.used
    finally:
        _memory.reset(token)


def _key(data: Floats, codes: Codes | None, bounds: tuple[float, float]) -> str:
    digest = hashlib.blake2b(np.asarray([*bounds, data.size]).tobytes(), digest_size=16)
    digest.update(data.tobytes())
    digest.update(b"" if codes is None else codes.tobytes())
    return digest.hexdigest()


def _estimate(data: Floats, codes: Codes | None, bounds: tuple[float, float]) -> Estimate:
    """Returns the mean of at least two values and its interval."""
    num_clusters = None if codes is None else int(codes.max()) + 1
    mean, sizes = float(data.mean()), (int(data.size), num_clusters)
    error = error_of_mean(data, np.arange(data.size) if codes is None else codes)
    # Equal means of clusters tell as little about their spread as equal values.
    if np.ptp(data) <= NO_SPREAD or error.standard_error <= NO_SPREAD:
        return _without_spread(mean, sizes, bounds)
    estimate = with_interval(mean, error, sizes, bounds)
    return _with_wilson(estimate) if bounds == SCORES else estimate


def with_interval(
    mean: float, error: Error, sizes: tuple[int, int | None], bounds: tuple[float, float]
) -> Estimate:
    """Returns a mean with the interval and p-value of t; sizes are samples and clusters."""
    half = _t_quantile(1 - ALPHA / 2, error.degrees) * error.standard_error
    low, high = max(bounds[0], mean - half), min(bounds[1], mean + half)
    p_value = 2 * float(special.stdtr(error.degrees, -abs(mean) / error.standard_error))
    return Estimate(mean, low, high, *sizes, error.standard_error, p_value, error.degrees)


def _t_quantile(share: float, degrees: float) -> float:
    """Returns a quantile of t: what `scipy.stats.t.ppf` gives, without its checks of arguments."""
    return float(special.stdtrit(degrees, share))


def _with_wilson(estimate: Estimate) -> Estimate:
    """Returns a mean of scores in [0, 1], which are not all equal, with Wilson's interval."""
    mean, upper = estimate.mean, _t_quantile(1 - ALPHA / 2, estimate.degrees)
    effective = mean * (1 - mean) / estimate.standard_error**2
    low, high = proportion_confint(
        mean * effective, effective, alpha=2 * special.ndtr(-upper), method="wilson"
    )
    return replace(estimate, low=float(low), high=float(high))


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
    return estimate_mean(differences, clusters, bounds=DIFFERENCES)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number (Holm 1979), in the order given.

    The k-th smallest of m becomes max_{j <= k} (m - j + 1) * p_j, at most 1. Not by `multipletests`
    of statsmodels, which collects garbage at each call (0.1 to 0.4 s with a board in memory).
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=float)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted.tolist()


def holm_by_family(p_values: Sequence[float], families: Sequence[Hashable]) -> list[float]:
    """Returns p-values adjusted for the number in their own family, in the order given.

    A family holds the comparisons that are read together: one checkpoint against one baseline on
    the tasks of a suite. The chance of any false verdict in a family is at most 5%.
    """
    members: dict[Hashable, list[int]] = {}
    for index, family in enumerate(families):
        members.setdefault(family, []).append(index)
    adjusted = [math.nan] * len(p_values)
    for indices in members.values():
        for index, p in zip(indices, holm([p_values[i] for i in indices]), strict=True):
            adjusted[index] = p
    return adjusted


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

    f times the samples with u independent units (clusters) do, where |mean| / SE * sqrt(f) =
    t_{1 - alpha/2} + t_{power} at f u - 1 degrees of freedom. Spread and cluster size are assumed
    to stay, with an adjusted p-value also the number of comparisons. None where no reasonable
    number would do, or the spread is unknown.
    """
    if not estimate.standard_error > 0 or estimate.mean == 0 or estimate.degrees < 1:
        return None
    alpha = ALPHA * min(1.0, estimate.p_value / adjusted_p) if adjusted_p else ALPHA
    effect, units = abs(estimate.mean) / estimate.standard_error, estimate.degrees + 1

    def lack(factor: float) -> float:
        return _quantiles(factor * units - 1, alpha) - effect * math.sqrt(factor)

    if lack(MAX_NEEDED_FACTOR) > 0:
        return None
    factor = float(optimize.brentq(lack, 1, MAX_NEEDED_FACTOR)) if lack(1) > 0 else 1.0
    num_samples = estimate.num_samples * factor
    digits = max(0, int(math.log10(num_samples)) - 1)
    return int(math.ceil(num_samples / 10**digits) * 10**digits)


def _quantiles(degrees: float, alpha: float = ALPHA) -> float:
    return _t_quantile(1 - alpha / 2, degrees) + _t_quantile(POWER, degrees)


def _without_spread(
    mean: float, sizes: tuple[int, int | None], bounds: tuple[float, float]
) -> Estimate:
    """Returns the interval of values without spread: what so many equal outcomes leave open.

    A share of 1 - 0.025^(1/n) of all samples may be unlike those that were seen, and as far from
    them as the bounds allow.
    """
    trials = sizes[1] or sizes[0]
    unseen = 1 - (ALPHA / 2) ** (1 / trials)
    low, high = mean - unseen * (mean - bounds[0]), mean + unseen * (bounds[1] - mean)
    p_value = 1.0 if abs(mean) <= NO_SPREAD else min(1.0, 2 * 0.5**trials)
    return Estimate(mean, low, high, *sizes, 0.0, p_value, trials - 1.0)
