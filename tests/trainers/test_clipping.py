"""Eq. 8-10 by hand, and what clipping may never do."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.trainers.clipping import (
    Level,
    Side,
    clipped_terms,
    clipping_threshold,
    sequence_entropies,
)

ADVANTAGES = torch.tensor([-1.0, 1.0, -1.0])
ROLLOUTS = torch.tensor([0, 0, 1, 2, 2])
ENTROPIES = torch.tensor([0.25, 1.25, 2.0, 0.5, 0.625])


def test_sequence_entropy_is_equation_10() -> None:
    # (0.25 + 1.25) / 2 = 0.75; 2.0; (0.5 + 0.625) / 2 = 0.5625
    means = sequence_entropies(ENTROPIES, ROLLOUTS, 3)
    assert means.tolist() == [0.75, 2.0, 0.5625]


@pytest.mark.parametrize(
    ("level", "side", "dropped"),
    [
        ("token", "high", [False, True, False, False, False]),
        ("token", "low", [True, False, False, True, False]),
        ("sequence", "high", [True, True, False, False, False]),
        ("sequence", "low", [False, False, False, True, True]),
    ],
)
def test_the_four_variants_of_equations_8_and_9(
    level: Level, side: Side, dropped: list[bool]
) -> None:
    # Threshold 0.625 nats, which the last token only equals; the positive rollout (2.0 nats) is
    # never dropped.
    terms = clipped_terms(ADVANTAGES, ENTROPIES, ROLLOUTS, level, side, threshold=0.625)
    assert terms.tolist() == dropped


def test_an_entropy_equal_to_the_threshold_is_kept() -> None:
    advantages, rollouts = torch.tensor([-1.0]), torch.zeros(1, dtype=torch.long)
    for side in ("high", "low"):
        terms = clipped_terms(advantages, torch.tensor([0.5]), rollouts, "token", side, 0.5)
        assert terms.tolist() == [False]


def test_a_rollout_without_tokens_has_no_entropy_and_drops_nothing() -> None:
    means = sequence_entropies(ENTROPIES, ROLLOUTS, 4)
    assert math.isnan(float(means[3]))
    terms = clipped_terms(
        torch.tensor([-1.0] * 4),
        ENTROPIES,
        ROLLOUTS,
        "sequence",
        "high",
        clipping_threshold(means, 1.0),
    )
    assert not terms.any()


def test_quantile_threshold_is_the_median_at_one_half() -> None:
    assert clipping_threshold(torch.tensor([3.0, 1.0, 2.0, math.nan]), 0.5) == 2.0
    assert math.isnan(clipping_threshold(torch.tensor([math.nan]), 0.5))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(0, 5)), min_size=1, max_size=40),
    st.floats(0, 5),
    st.sampled_from(["token", "sequence"]),
)
def test_high_and_low_partition_negative_terms_and_spare_the_rest(
    tokens: list[tuple[int, float]], threshold: float, level: str
) -> None:
    rollouts = torch.tensor([rollout for rollout, _ in tokens])
    entropies = torch.tensor([entropy for _, entropy in tokens], dtype=torch.float64)
    advantages = torch.tensor([-1.0, 1.0, 0.0, -0.5, 2.0])
    high = clipped_terms(advantages, entropies, rollouts, level, "high", threshold)
    low = clipped_terms(advantages, entropies, rollouts, level, "low", threshold)
    assert not (high & low).any()
    assert not (high | low)[advantages[rollouts] >= 0].any()
