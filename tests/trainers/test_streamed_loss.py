"""The one-pass loss equals the two-pass one: values, gradients, whatever the chunk."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from longspan.trainers.entropy import OutputHead, token_statistics
from longspan.trainers.loss import ClipRange, policy_loss
from longspan.trainers.streamed_loss import streamed_loss


def inputs(seed: int, with_bias: bool, **head: float | None) -> tuple[Tensor, Tensor, OutputHead]:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

    hidden, bias = draw(7, 4), draw(11) if with_bias else None
    targets = torch.randint(11, (7,), generator=random)
    return hidden, targets, OutputHead(draw(11, 4), bias, **head)


@given(
    seed=st.integers(0, 10**6),
    chunk=st.integers(1, 9),
    temperature=st.floats(0.3, 2.0),
    with_bias=st.booleans(),
    soft_cap=st.sampled_from([None, 2.0]),
    scale=st.sampled_from([1.0, 0.5]),
    off_policy=st.booleans(),
)
def test_loss_and_gradients_equal_those_of_the_statistics_in_float64(
    seed, chunk, temperature, with_bias, soft_cap, scale, off_policy
):
    hidden, targets, head = inputs(seed, with_bias, soft_cap=soft_cap, scale=scale)
    random = torch.Generator().manual_seed(seed + 1)
    weights = torch.randn(7, generator=random, dtype=torch.float64)
    old = torch.randn(7, generator=random, dtype=torch.float64) - 2.0 if off_policy else None
    clip = ClipRange() if off_policy else None
    wanted = [one for one in (hidden, head.weight, head.bias) if one is not None]

    stats = token_statistics(hidden, targets, head, temperature)
    expected = policy_loss(stats.logprobs, weights, old, clip) * 3.0
    gradients = torch.autograd.grad(expected, wanted)

    def part_loss(logprobs: Tensor, part: slice) -> Tensor:
        return policy_loss(logprobs, weights[part], None if old is None else old[part], clip)

    loss, found = streamed_loss(hidden, targets, head, part_loss, temperature, chunk)
    torch.testing.assert_close(loss * 3.0, expected)
    torch.testing.assert_close(found.logprobs, stats.logprobs)
    torch.testing.assert_close(found.entropies, stats.entropies)
    for one, other in zip(torch.autograd.grad(loss * 3.0, wanted), gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_head_gets_no_gradient_and_a_banned_token_no_nan():
    hidden, targets, head = inputs(0, with_bias=False)
    banned = torch.zeros(11, dtype=torch.float64)
    banned[(int(targets[0]) + 1) % 11] = float("-inf")
    targets = targets[:1].expand(7)
    frozen = OutputHead(head.weight.detach(), banned)
    loss, found = streamed_loss(hidden, targets, frozen, lambda logprobs, part: logprobs.sum())
    loss.backward()
    assert hidden.grad is not None and hidden.grad.isfinite().all() and hidden.grad.any()
    assert frozen.weight.grad is None and found.entropies.isfinite().all()


def test_a_temperature_of_zero_cannot_be_trained_at():
    hidden, targets, head = inputs(0, with_bias=False)
    with pytest.raises(ValueError, match="temperature must be positive to train: got 0"):
        streamed_loss(hidden, targets, head, lambda logprobs, part: logprobs.sum(), 0)
