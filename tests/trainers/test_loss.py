"""Eq. 4 by hand in both normalisations and denominators; ratio and clip; micro-batches."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.trainers.loss import (
    ClipRange,
    TokenIndex,
    clipped_share,
    policy_loss,
    token_weights,
)

# Group 0: rollout 0 (A=+1, one token), rollout 1 (A=-1, three tokens). Group 1: rollout 2 (A=+2,
# two tokens). Masked: the last token of rollout 1.
ADVANTAGES = torch.tensor([1.0, -1.0, 2.0])
INDEX = TokenIndex(
    rollouts=torch.tensor([0, 1, 1, 1, 2, 2]),
    groups=torch.tensor([0, 0, 1]),
    valid=torch.ones(3, dtype=torch.bool),
)
MASKED = torch.tensor([False, False, False, True, False, False])


@pytest.mark.parametrize(
    ("normalisation", "denominator", "expected"),
    [
        # P = 2, Z = 4 and 2: 1/(2*4) per token of group 0, 2/(2*2) of group 1.
        ("group", "all", [1 / 8, -1 / 8, -1 / 8, 0, 1 / 2, 1 / 2]),
        # Z_0 = 3 kept tokens.
        ("group", "kept", [1 / 6, -1 / 6, -1 / 6, 0, 1 / 2, 1 / 2]),
        # Six tokens in the batch.
        ("batch", "all", [1 / 6, -1 / 6, -1 / 6, 0, 2 / 6, 2 / 6]),
        # Five kept.
        ("batch", "kept", [1 / 5, -1 / 5, -1 / 5, 0, 2 / 5, 2 / 5]),
    ],
)
def test_token_weights_are_equation_4(
    normalisation: str, denominator: str, expected: list[float]
) -> None:
    weights = token_weights(ADVANTAGES, MASKED, INDEX, normalisation, denominator)
    assert weights.tolist() == pytest.approx(expected)


def test_invalid_rollout_has_no_weight_and_no_place_in_a_denominator() -> None:
    index = TokenIndex(INDEX.rollouts, INDEX.groups, torch.tensor([True, True, False]))
    weights = token_weights(ADVANTAGES, torch.zeros(6, dtype=torch.bool), index)
    # Group 1 is gone: P = 1.
    assert weights.tolist() == pytest.approx([1 / 4, -1 / 4, -1 / 4, -1 / 4, 0, 0])


@pytest.mark.parametrize("normalisation", ["group", "batch"])
@pytest.mark.parametrize("denominator", ["all", "kept"])
def test_everything_masked_gives_zero_weights(normalisation: str, denominator: str) -> None:
    everything = torch.ones(6, dtype=torch.bool)
    weights = token_weights(ADVANTAGES, everything, INDEX, normalisation, denominator)
    assert weights.tolist() == [0] * 6


def test_on_policy_loss_has_the_gradient_of_weighted_logprobs() -> None:
    logprobs = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss = policy_loss(logprobs, torch.tensor([0.5, -0.25]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-0.25)  # -(0.5 - 0.25), rho = 1
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-0.5, 0.25])


def test_ppo_clip_takes_the_smaller_term() -> None:
    # rho = 2, 0.5, 2, 0.5 against [0.8, 1.2]. A > 0: min(2, 1.2) = 1.2, min(.5, .8) = .5.
    # A < 0: min(-2, -1.2) = -2, min(-.5, -.8) = -.8.
    ratio = torch.tensor([2.0, 0.5, 2.0, 0.5])
    logprobs = ratio.log().requires_grad_()
    weights = torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss = policy_loss(logprobs, weights, torch.zeros(4), ClipRange(0.2, 0.2))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-(1.2 + 0.5 - 2.0 - 0.8))
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([0, -0.5, 2.0, 0])
    assert clipped_share(logprobs, torch.zeros(4), weights, ClipRange(0.2, 0.2)) == 0.5


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=60),
    st.lists(st.floats(-2, 2), min_size=6, max_size=6),
    st.sampled_from(["group", "batch"]),
    st.integers(1, 7),
)
def test_loss_does_not_depend_on_micro_batches(
    tokens: list[tuple[int, bool]], advantages: list[float], normalisation: str, size: int
) -> None:
    index = TokenIndex(
        torch.tensor([rollout for rollout, _ in tokens]),
        torch.tensor([0, 0, 1, 1, 2, 2]),
        torch.tensor([True] * 5 + [False]),
    )
    masked = torch.tensor([mask for _, mask in tokens])
    weights = token_weights(torch.tensor(advantages), masked, index, normalisation)
    logprobs = -torch.arange(1.0, len(tokens) + 1).double()
    whole = float(policy_loss(logprobs, weights))
    pieces = zip(logprobs.split(size), weights.split(size), strict=True)
    assert math.isclose(whole, sum(float(policy_loss(*piece)) for piece in pieces), abs_tol=1e-12)
