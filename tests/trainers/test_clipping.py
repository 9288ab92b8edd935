"""Eq. 8-10 by hand, and what clipping may never do."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.trainers.clipping import (
    ClippingSettings,
    Level,
    Side,
    clipped_terms,
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
    terms = clipped_terms(ADVANTAGES, ENTROPIES, ROLLOUTS, ClippingSettings(0.625, level, side))
    assert terms.tolist() == dropped


def test_an_entropy_equal_to_the_threshold_is_kept() -> None:
    advantages, rollouts = torch.tensor([-1.0]), torch.zeros(1, dtype=torch.long)
    for side in ("high", "low"):
        terms = clipped_terms(
            advantages, torch.tensor([0.5]), rollouts, ClippingSettings(0.5, "token", side)
        )
        assert terms.tolist() == [False]


def test_a_rollout_without_tokens_has_no_entropy_and_drops_nothing() -> None:
    means = sequence_entropies(ENTROPIES, ROLLOUTS, 4)
    assert math.isnan(float(means[3]))
    settings = ClippingSettings(1.0, "sequence", "high", "quantile")
    assert not clipped_terms(-torch.ones(4), ENTROPIES, ROLLOUTS, settings).any()


def test_quantile_threshold_one_half_drops_what_lies_above_the_median() -> None:
    settings = ClippingSettings(0.5, thresholds="quantile")
    rollouts = torch.zeros(3, dtype=torch.long)
    terms = clipped_terms(-torch.ones(1), torch.tensor([3.0, 1.0, 2.0]), rollouts, settings)
    assert terms.tolist() == [True, False, False]


@pytest.mark.parametrize("wrong", [(-0.1, "nats"), (1.5, "quantile")])
def test_impossible_threshold_is_refused(wrong: tuple[float, str]) -> None:
    with pytest.raises(ValueError, match="a clipping threshold is"):
        ClippingSettings(wrong[0], thresholds=wrong[1])


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
    high = clipped_terms(
        advantages, entropies, rollouts, ClippingSettings(threshold, level, "high")
    )
    low = clipped_terms(advantages, entropies, rollouts, ClippingSettings(threshold, level, "low"))
    assert not (high & low).any()
    assert not (high | low)[advantages[rollouts] >= 0].any()
