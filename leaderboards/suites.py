"""The average of a suite as its paper computes it: a weighted mean of the tasks' means.

    average = sum_t w_t * mean_t,    SE^2 = sum_t w_t^2 * SE_t^2    (tasks independent),

with the degrees of freedom of Welch and Satterthwaite and an interval of t. Weights are per task,
not per sample: a task of 200 questions counts as much as one of 800. Where a document group has
samples in several tasks, the tasks are not independent; their samples are then stacked and the
error is that of the jackknife over groups (`leaderboards.jackknife`). Groups of two tasks are the
same where their names are.

A suite with a task missing has no average: the mean of the others would measure something else.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from longspan.harness.errors import BoardError
from longspan.leaderboards.jackknife import Error, cluster_codes, error_of_combination
from longspan.leaderboards.statistics import (
    ALPHA,
    DIFFERENCES,
    SCORES,
    Estimate,
    estimate_mean,
    with_interval,
)

_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Branch:
    """What a name of a suite's tree stands for: a task, or the weighted mean of its parts."""

    weight: float = 1.0
    """Weight among its siblings; only ratios count, 0 leaves it out of the average."""
    parts: Mapping[str, Branch] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskScores:
    """The scores of one checkpoint on one task."""

    scores: Mapping[str, float]
    """Sample id -> score in [0, 1], mean over attempts; samples without a score are not in it."""
    groups: Mapping[str, Hashable | None] = field(default_factory=dict)
    """Sample id -> document group."""


@dataclass(frozen=True)
class SuiteEstimate:
    """A suite's average, or the paired difference of two, with what it is made of."""

    estimate: Estimate | None
    """None where a task is missing."""
    missing: tuple[str, ...]
    """Tasks without (shared) samples, in the order of the suite."""
    tasks: Mapping[str, Estimate]
    """Task -> its mean, of those that are there."""


@dataclass(frozen=True)
class _Sample:
    values: Sequence[float]
    groups: Sequence[Hashable | None]


def leaf_weights(parts: Mapping[str, Branch]) -> dict[str, float]:
    """Returns task -> share of the average of a suite's tree; shares sum to 1.

    At each level the weights are divided by their sum, so that (LBV1-QA = five sets, one of six
    columns) gives each set 1/30. A task that stands twice has both shares; one without weight none.

    Raises:
        BoardError: weights are negative, not finite, or all zero.
    """
    weights = {name: branch.weight for name, branch in parts.items()}
    _require_weights(weights)
    total, shares = sum(weights.values()), dict[str, float]()
    for name, branch in parts.items():
        if branch.weight == 0:
            continue
        inner = leaf_weights(branch.parts) if branch.parts else {name: 1.0}
        for task, share in inner.items():
            shares[task] = shares.get(task, 0.0) + branch.weight / total * share
    return shares


def suite_average(tasks: Mapping[str, TaskScores], weights: Mapping[str, float]) -> SuiteEstimate:
    """Returns the weighted mean of tasks with its interval; no average where a task is missing.

    Args:
        tasks: Task -> scores of one checkpoint; tasks without a weight are ignored.
        weights: Task -> weight (`leaf_weights`); only ratios count.
    """
    samples = {
        name: _Sample(list(task.scores.values()), [task.groups.get(key) for key in task.scores])
        for name, task in tasks.items()
    }
    return _combine(samples, weights, SCORES)


def suite_difference(
    ours: Mapping[str, TaskScores],
    baseline: Mapping[str, TaskScores],
    weights: Mapping[str, float],
) -> SuiteEstimate:
    """Returns our average minus the baseline's, paired on the samples of each task that both have.

    Arguments as for `suite_average`; a task without shared samples is missing. Groups are ours.
    """
    samples = {}
    for name in ours.keys() & baseline.keys():
        mine, other = ours[name], baseline[name].scores
        shared = sorted(mine.scores.keys() & other.keys())
        samples[name] = _Sample(
            [mine.scores[key] - other[key] for key in shared],
            [mine.groups.get(key) for key in shared],
        )
    return _combine(samples, weights, DIFFERENCES)


def _combine(
    samples: Mapping[str, _Sample], weights: Mapping[str, float], bounds: tuple[float, float]
) -> SuiteEstimate:
    _require_weights(weights)
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items() if weight > 0}
    missing = tuple(name for name in shares if name not in samples or not samples[name].values)
    found = {name: samples[name] for name in shares if name not in missing}
    tasks = {name: estimate_mean(one.values, one.groups, bounds) for name, one in found.items()}
    if missing:
        return SuiteEstimate(None, missing, tasks)
    if len(tasks) == 1:
        return SuiteEstimate(next(iter(tasks.values())), (), tasks)
    mean = sum(share * tasks[name].mean for name, share in shares.items())
    units = {name: _units(name, one) for name, one in found.items()}
    clusters = {unit for one in units.values() for unit in one}
    sizes = (
        sum(task.num_samples for task in tasks.values()),
        len(clusters) if any(task.num_clusters for task in tasks.values()) else None,
    )
    if any(math.isnan(task.standard_error) for task in tasks.values()):
        whole = Estimate(mean, *bounds, *sizes, math.nan, 1.0, 0.0)
        return SuiteEstimate(whole, (), tasks)
    if len(clusters) < sum(len(set(one)) for one in units.values()):
        error = _stacked(found, units, shares, tasks)
    else:
        error = _propagated(shares, tasks)
    return SuiteEstimate(with_interval(mean, error, sizes, bounds), (), tasks)


def _propagated(shares: Mapping[str, float], tasks: Mapping[str, Estimate]) -> Error:
    return _sum_of([_scaled(tasks[name], share) for name, share in shares.items()])


def _stacked(
    samples: Mapping[str, _Sample],
    units: Mapping[str, Sequence[Hashable]],
    shares: Mapping[str, float],
    tasks: Mapping[str, Estimate],
) -> Error:
    """Returns the error over groups that tasks share; a task without spread adds its own."""
    names = list(shares)
    codes = cluster_codes([unit for name in names for unit in units[name]])
    if codes is None:  # not two groups in all tasks together
        return _propagated(shares, tasks)
    together = error_of_combination(
        np.asarray([value for name in names for value in samples[name].values], dtype=float),
        codes,
        np.repeat(np.arange(len(names)), [len(samples[name].values) for name in names]),
        np.asarray([shares[name] for name in names]),
    )
    if together.standard_error < _NO_SPREAD:  # the tasks' deviations cancel in every group
        return _propagated(shares, tasks)
    still = [name for name in names if tasks[name].standard_error == 0]
    return _sum_of([together, *(_scaled(tasks[name], shares[name]) for name in still)])


def _scaled(task: Estimate, share: float) -> Error:
    """Returns a task's part of the error; without spread, that of what its interval leaves open."""
    error, degrees = task.standard_error, max(1.0, task.degrees)
    if error == 0:
        reach = max(task.high - task.mean, task.mean - task.low)
        error = reach / float(stats.t.ppf(1 - ALPHA / 2, degrees))
    return Error(share * error, degrees)


def _sum_of(errors: Sequence[Error]) -> Error:
    """Returns the error of a sum of independent parts (Welch 1947, Satterthwaite 1946)."""
    variances = np.square([error.standard_error for error in errors])
    degrees = np.asarray([error.degrees for error in errors])
    total = float(variances.sum())
    return Error(math.sqrt(total), total**2 / float((np.square(variances) / degrees).sum()))


def _units(name: str, sample: _Sample) -> list[Hashable]:
    """Returns each sample's independent unit: its group, or itself where groups say nothing."""
    if cluster_codes(sample.groups) is None:
        return [(name, index) for index in range(len(sample.groups))]
    return list(sample.groups)


def _require_weights(weights: Mapping[str, float]) -> None:
    values = list(weights.values())
    if not all(math.isfinite(value) and value >= 0 for value in values) or not sum(values) > 0:
        raise BoardError(
            f"weights must be finite, not negative and not all zero: got {dict(weights)}"
        )
