"""How often the board's intervals hold the truth, its tests err, and its promised samples suffice.

    python benchmarks/board_statistics.py [--boards 2000] [--out figures.json]

Every line is a kind of board that is simulated so many times, with the share seen and its
Monte-Carlo standard error. Wanted: coverage 95%, false positives at most 5%, power about 80%.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from longspan.leaderboards.statistics import (
    ALPHA,
    DIFFERENCES,
    Estimate,
    estimate_difference,
    estimate_mean,
    holm_by_family,
    num_samples_needed,
)
from longspan.leaderboards.suites import TaskScores, suite_average, suite_difference

SEED = 0
SAMPLES = (20, 50, 200, 1000)
CLUSTERS = (8, 20, 50)
CORRELATIONS = (0.1, 0.3, 0.5)
ATTEMPTS = 4
SUITE = {"a": 1.0, "b": 1.0, "c": 0.2, "d": 0.2}
GAIN, PILOT = 0.08, 1_000_000

Rng = np.random.Generator
Board = Callable[[Rng], bool]


class Cell(NamedTuple):
    """A kind of board: what it measures, its parameters, and one simulated board's outcome."""

    measure: str
    name: str
    board: Board


def coverage_cells() -> Iterator[Cell]:
    """Yields boards whose outcome is whether the interval of a mean holds the truth."""
    for p in (0.1, 0.5, 0.9, 0.98):
        for n in SAMPLES:
            yield Cell("coverage", f"independent 0/1, n={n}, p={p}", _independent(n, p))
    for p in (0.5, 0.8, 0.9):
        for g in CLUSTERS:
            for icc in CORRELATIONS:
                name = f"clustered 0/1, {g} clusters, icc={icc}, p={p}"
                yield Cell("coverage", name, _clustered(g, icc, p))
    for n in SAMPLES[:3]:
        yield Cell("coverage", f"fractional, n={n}", _fractional(n, None))
        yield Cell("coverage", f"mean of {ATTEMPTS} attempts, n={n}", _attempts(n))
    for g in CLUSTERS:
        yield Cell("coverage", f"fractional, {g} clusters, icc=0.3", _fractional(0, g))
    for shared in (False, True):
        name = "suite of 4 tasks" + " with shared groups" * shared
        yield Cell("coverage", name, _suite_board(shared, paired=False))


def error_cells() -> Iterator[Cell]:
    """Yields boards of equal checkpoints; the outcome is whether they are called different."""
    for p in (0.5, 0.9):
        for n in SAMPLES:
            name = f"paired, independent, n={n}, p={p}"
            yield Cell("false positives", name, _equal(n, p))
        for g in CLUSTERS:
            for icc in CORRELATIONS:
                name = f"paired, {g} clusters, icc={icc}, p={p}"
                yield Cell("false positives", name, _equal_clustered(g, icc, p))
    yield Cell("false positives", "any of 6 tasks, Holm", _family(6))
    for shared in (False, True):
        name = "suite of 4 tasks" + " with shared groups" * shared
        yield Cell("false positives", name, _suite_board(shared, paired=True))


def power_cells() -> Iterator[Cell]:
    """Yields boards of as many samples as were promised to show a gain; outcome: it is shown."""
    yield Cell("power", f"promised n, independent, gain {GAIN}", _promised(None))
    yield Cell("power", f"promised n, clusters of 5, gain {GAIN}", _promised(5))


def sizes(rng: Rng, num_clusters: int) -> np.ndarray:
    """Returns cluster sizes of 1 to about 40, mean 11, as documents have questions."""
    return 1 + rng.poisson(rng.gamma(2, 5, num_clusters))


def shares(rng: Rng, num: int, icc: float, p: float) -> np.ndarray:
    """Returns probabilities of mean p whose draws of 0/1 correlate by icc within a cluster."""
    return rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), num)


def coins(rng: Rng, p: np.ndarray) -> np.ndarray:
    """Returns right (1) and wrong (0) answers."""
    return (rng.random(p.size) < p).astype(float)


def pair(rng: Rng, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns answers of two checkpoints, half of which hang on the same luck."""
    luck = rng.random(p.size)
    other = np.where(rng.random(p.size) < 0.5, luck, rng.random(p.size))
    return (luck < p).astype(float), (other < q).astype(float)


def _holds(estimate: Estimate | None, truth: float) -> bool:
    return estimate is not None and estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


def _differs(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.p_value < ALPHA


def _scores(values: np.ndarray) -> dict[str, float]:
    return {f"s{index:06d}": float(value) for index, value in enumerate(values)}


def _grouped(groups: np.ndarray) -> dict[str, int]:
    return {f"s{index:06d}": int(group) for index, group in enumerate(groups)}


def _independent(n: int, p: float) -> Board:
    return lambda rng: _holds(estimate_mean(coins(rng, np.full(n, p)).tolist()), p)


def _clustered(num_clusters: int, icc: float, p: float) -> Board:
    def board(rng: Rng) -> bool:
        groups = np.repeat(np.arange(num_clusters), sizes(rng, num_clusters))
        values = coins(rng, shares(rng, num_clusters, icc, p)[groups])
        return _holds(estimate_mean(values.tolist(), groups.tolist()), p)

    return board


def _fractional(n: int, num_clusters: int | None) -> Board:
    """F1-like: 0 and 1 are common, half of the scores lie between; mean 0.5."""

    def board(rng: Rng) -> bool:
        if num_clusters is None:
            groups, level = np.arange(n), np.full(n, 0.5)
        else:
            groups = np.repeat(np.arange(num_clusters), sizes(rng, num_clusters))
            level = shares(rng, num_clusters, 0.3, 0.5)[groups]
        between = rng.beta(4 * level + 0.1, 4 * (1 - level) + 0.1)
        values = np.where(rng.random(groups.size) < 0.5, between, coins(rng, level))
        return _holds(estimate_mean(values.tolist(), groups.tolist()), 0.5)

    return board


def _attempts(n: int) -> Board:
    def board(rng: Rng) -> bool:
        values = rng.binomial(ATTEMPTS, rng.beta(1.2, 0.4, n)) / ATTEMPTS
        return _holds(estimate_mean(values.tolist()), 0.75)

    return board


def _equal(n: int, p: float) -> Board:
    def board(rng: Rng) -> bool:
        hard = shares(rng, n, 0.3, p)
        ours, other = pair(rng, hard, hard)
        return _differs(estimate_difference(_scores(ours), _scores(other)))

    return board


def _equal_clustered(num_clusters: int, icc: float, p: float) -> Board:
    """Equal on average, but each is better at other documents: abilities correlate by 0.5."""

    def board(rng: Rng) -> bool:
        groups = np.repeat(np.arange(num_clusters), sizes(rng, num_clusters))
        common, *own = rng.standard_normal((3, num_clusters))
        uniform = [stats.norm.cdf((common + one) / math.sqrt(2)) for one in own]
        a, b = p * (1 / icc - 1), (1 - p) * (1 / icc - 1)
        abilities = [stats.beta.ppf(one, a, b)[groups] for one in uniform]
        ours, other = pair(rng, *abilities)
        return _differs(estimate_difference(_scores(ours), _scores(other), _grouped(groups)))

    return board


def _family(num_tasks: int) -> Board:
    def board(rng: Rng) -> bool:
        p_values = []
        for _ in range(num_tasks):
            hard = shares(rng, 200, 0.3, 0.6)
            ours, other = pair(rng, hard, hard)
            found = estimate_difference(_scores(ours), _scores(other))
            p_values.append(found.p_value if found else 1.0)
        return min(holm_by_family(p_values, ["suite"] * num_tasks)) < ALPHA

    return board


def _suite_board(shared: bool, paired: bool) -> Board:
    """Four tasks of different sizes and difficulty; with shared groups, 25 documents for all."""
    levels = dict(zip(SUITE, (0.3, 0.9, 0.6, 0.5), strict=True))
    truth = sum(SUITE[task] * level for task, level in levels.items()) / sum(SUITE.values())

    def board(rng: Rng) -> bool:
        ours, other = {}, {}
        quantiles = rng.random(25)
        for task, n in zip(SUITE, (150, 60, 40, 300), strict=True):
            groups = rng.integers(0, 25, n)
            here = quantiles if shared else rng.random(25)
            p = levels[task]
            # Documents are hard for all tasks, if these share them.
            ability = stats.beta.ppf(here, p * 9, (1 - p) * 9)[groups]
            mine, yours = pair(rng, ability, ability)
            named = {k: g if shared else (task, g) for k, g in _grouped(groups).items()}
            ours[task] = TaskScores(_scores(mine), named)
            other[task] = TaskScores(_scores(yours), named)
        if paired:
            return _differs(suite_difference(ours, other, SUITE).estimate)
        return _holds(suite_average(ours, SUITE).estimate, truth)

    return board


def _promised(cluster_size: int | None) -> Board:
    def outcome(rng: Rng, n: int) -> Estimate:
        groups = np.arange(n) // (cluster_size or 1)
        hard = shares(rng, groups[-1] + 1, 0.2, 0.5)[groups]
        ours, other = pair(rng, np.minimum(1, hard + GAIN), hard)
        return estimate_mean((ours - other).tolist(), groups.tolist(), DIFFERENCES)

    @cache
    def needed() -> int:
        # A pilot so large that its spread and gain are the true ones, told as one of 200 samples.
        pilot = outcome(np.random.default_rng(SEED), PILOT)
        small = replace(
            pilot,
            num_samples=200,
            standard_error=pilot.standard_error * math.sqrt(PILOT / 200),
            degrees=200 / (cluster_size or 1) - 1,
        )
        return num_samples_needed(small) or 0

    return lambda rng: _differs(outcome(rng, needed()))


def main() -> None:
    """Prints the table and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    started, results = time.monotonic(), []
    for index, cell in enumerate([*coverage_cells(), *error_cells(), *power_cells()]):
        rng = np.random.default_rng([SEED, index])
        share = sum(cell.board(rng) for _ in range(options.boards)) / options.boards
        error = math.sqrt(share * (1 - share) / options.boards)
        print(f"{cell.measure:<16} {cell.name:<48} {share:6.1%} +- {error:.1%}", flush=True)
        results.append({"measure": cell.measure, "cell": cell.name, "share": share, "error": error})
    print(f"{options.boards} boards each, {time.monotonic() - started:.0f} s")
    if options.out:
        content = {"boards": options.boards, "seed": SEED, "results": results}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
