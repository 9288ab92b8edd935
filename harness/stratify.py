"""Samples by difficulty: uniform bins of a rate in [0, 1], and drawing evenly from them.

The recipe draws its training samples so before training and between its stages (arXiv 2512.12967,
section 4). What the rate is (pass@k, mean reward) is the caller's.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping


def rate_bin(rate: float, num_bins: int) -> int:
    """Returns the uniform bin [i/n, (i+1)/n) that a rate in [0, 1] falls into; 1 is in the last.

    Raises:
        ValueError: the rate is no fraction, or there is no bin.
    """
    if not 0 <= rate <= 1 or num_bins < 1:
        raise ValueError(f"need a rate in [0, 1] and a bin: got {rate} and {num_bins} bins")
    return min(int(rate * num_bins), num_bins - 1)


def mean_rate(rewards: Iterable[float]) -> float | None:
    """Returns the mean of a sample's rewards, each clipped to [0, 1]; None where there is none."""
    clipped = [min(1.0, max(0.0, reward)) for reward in rewards]
    return sum(clipped) / len(clipped) if clipped else None


def histogram(rates: Iterable[float], num_bins: int) -> list[int]:
    """Returns how many rates fall into each bin."""
    counts = Counter(rate_bin(rate, num_bins) for rate in rates)
    return [counts[number] for number in range(num_bins)]


def draw_evenly(
    rates: Mapping[str, float], num_samples: int, num_bins: int, seed: int = 0
) -> list[str]:
    """Returns `num_samples` keys, the same number from every bin as far as bins have them, sorted.

    What a bin lacks is drawn evenly from the others. With too few keys, all are returned. The
    result depends on the keys, their rates and the seed, not on their order.

    Raises:
        ValueError: a rate is no fraction.
    """
    bins: list[list[str]] = [[] for _ in range(num_bins)]
    for key in sorted(rates):
        bins[rate_bin(rates[key], num_bins)].append(key)
    rng = random.Random(seed)
    for members in bins:
        rng.shuffle(members)
    chosen: list[str] = []
    while len(chosen) < num_samples and any(bins):
        filled = [members for members in bins if members]
        rng.shuffle(filled)  # which bins give one more where the rest does not divide
        chosen += [members.pop() for members in filled[: num_samples - len(chosen)]]
    return sorted(chosen)
