"""Intervals hold the truth, tests err and promised samples suffice as often as is claimed.

Right and wrong answers are counted exactly, over all outcomes; other boards are a smaller run of
`benchmarks/board_statistics.py`, with bounds that one seed in a thousand would break.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.board_statistics import Cell, coverage_cells, error_cells, power_cells
from longspan.leaderboards.statistics import estimate_mean

NUM_BOARDS = 200
CHANCE = 1e-3
MAX_CLUSTERED_MEAN = 0.8
"""Nearer to 1, with clusters that are all right or all wrong, intervals are too narrow."""


@pytest.fixture(scope="module")
def intervals() -> dict[int, np.ndarray]:
    """Returns, by number of samples, the interval of every number of right answers."""
    return {
        n: np.array(
            [
                (found.low, found.high)
                for right in range(n + 1)
                for found in [estimate_mean([1.0] * right + [0.0] * (n - right))]
            ]
        )
        for n in (20, 50, 200, 1000)
    }


def coverage(bounds: np.ndarray, p: float) -> float:
    """Returns the chance that the interval of n answers holds the share p of right ones."""
    n = len(bounds) - 1
    holds = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
    return float(stats.binom.pmf(np.arange(n + 1), n, p) @ holds)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("n", [20, 50, 200, 1000])
def test_intervals_of_right_and_wrong_answers_hold_the_truth(intervals, n, p):
    found = coverage(intervals[n], p)
    if (n, p) == (50, 0.98):
        # No interval is between: up to two wrong answers are 92.2% of boards, up to three 98.2%.
        assert found == pytest.approx(stats.binom.cdf(3, 50, 0.02))
    else:
        assert 0.93 <= found <= 0.9705


def chosen(cells: object, *words: str) -> list[pytest.param]:
    """Returns the cells whose name has one of the words, as parameters with that name."""
    return [pytest.param(c, id=c.name) for c in cells if any(word in c.name for word in words)]


def share_bounds(low: float, high: float) -> tuple[int, int]:
    """Returns the numbers of boards between which shares from low to high stay but by CHANCE."""
    counts = stats.binom.ppf([CHANCE, 1 - CHANCE], NUM_BOARDS, [low, high])
    return int(counts[0]), int(counts[1])


def hits(cell: Cell) -> int:
    rng = np.random.default_rng(20)
    return sum(cell.board(rng) for _ in range(NUM_BOARDS))


CLUSTERED = [f"icc={icc}, p={p}" for icc in (0.1, 0.5) for p in (0.5, MAX_CLUSTERED_MEAN)]


@pytest.mark.parametrize(
    "cell", chosen(coverage_cells(), *CLUSTERED, "fractional", "attempts", "suite")
)
def test_other_intervals_hold_the_truth(cell: Cell):
    low, high = share_bounds(0.93, 0.97)
    assert low <= hits(cell) <= high


@pytest.mark.parametrize("cell", chosen(error_cells(), "p=0.5", "Holm", "suite"))
def test_equal_checkpoints_are_called_different_at_most_in_5_percent(cell: Cell):
    assert hits(cell) <= share_bounds(0.05, 0.05)[1]


@pytest.mark.parametrize("cell", chosen(error_cells(), "independent, n=200", "50 clusters, icc"))
def test_with_enough_samples_the_5_percent_are_used(cell: Cell):
    low, high = share_bounds(0.04, 0.055)
    assert low <= hits(cell) <= high


@pytest.mark.parametrize("cell", chosen(power_cells(), "promised"))
def test_so_many_samples_as_promised_find_the_difference_in_80_percent(cell: Cell):
    low, high = share_bounds(0.77, 0.83)
    assert low <= hits(cell) <= high
