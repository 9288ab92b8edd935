"""A loss over log-probabilities with its gradient in one pass over the logits.

`trainers.entropy` computes every chunk of logits twice, in the forward and in the backward, since
what a token weighs may depend on the entropies of the whole batch. Where the weights are known
beforehand, the gradient of a chunk can be taken while its logits are there: three matrix products
instead of four. Results and gradients are the same.

Shapes: [T] tokens, [T, H] hidden states, [V, H] output matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longspan.trainers.entropy import (
    OutputHead,
    TokenStatistics,
    Workspace,
    add_outer,
    chunk_logits,
    default_chunk,
    empty_grads,
    logit_slope,
    scaled,
)

ChunkLoss = Callable[[Tensor, slice], Tensor]
"""(log-probabilities of some tokens, which of the [T] they are) -> their part of the loss, which is
a sum over tokens: the parts of all chunks add up to it."""


def streamed_loss(
    hidden: Tensor,
    targets: Tensor,
    head: OutputHead,
    loss: ChunkLoss,
    temperature: float = 1.0,
    chunk_tokens: int | None = None,
) -> tuple[Tensor, TokenStatistics]:
    """Returns a loss over the log-probabilities of the targets, and their statistics (detached).

    The gradient to hidden states and head is computed with the loss: with z = logits / temperature,
    p = softmax(z) and g_t the loss's derivative to logprob_t,

        d loss / d z_tv = g_t ([v = target_t] - p_tv).

    Args:
        hidden: [T, H].
        targets: [T] token ids.
        head: see `OutputHead`.
        loss: see `ChunkLoss`.
        temperature: the sampling temperature, above 0.
        chunk_tokens: tokens whose logits exist at once; None chooses by the vocabulary's size.

    Raises:
        ValueError: the temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive to train: got {temperature}; set e.g. 1.0")
    chunk = chunk_tokens or default_chunk(head)
    total, logprobs, entropies = _OnePass.apply(  # type: ignore[no-untyped-call]
        hidden, head.weight, head.bias, targets, head, loss, 1.0 / temperature, chunk
    )
    return total, TokenStatistics(logprobs, entropies)


class _OnePass(torch.autograd.Function):
    """Loss and gradients of `streamed_loss`, one chunk of tokens at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: OutputHead,
        loss: ChunkLoss,
        sharpness: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        logprobs = torch.empty(len(hidden), dtype=dtype, device=hidden.device)
        entropies = torch.empty_like(logprobs)
        total = torch.zeros((), dtype=dtype, device=hidden.device)
        hidden_grad, weight_grad, bias_grad = empty_grads(ctx, hidden, weight, bias, dtype)
        space = Workspace.of(hidden, weight, bias, chunk, dtype)
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = chunk_logits(hidden[part], weight, bias, head, space)
            slope = logit_slope(logits, head)
            _, grad, sums = space.softmax(logits.mul_(sharpness))
            entropies[part] = space.entropies(logits, sums)
            logprobs[part] = logits.gather(-1, targets[part, None])[:, 0] - sums.log()
            value, derivative = _derivative(loss, logprobs[part], part)
            total += value
            derivative = derivative * sharpness
            grad.mul_((-derivative / sums)[:, None])
            grad.scatter_add_(-1, targets[part, None], derivative[:, None])
            grad = scaled(grad, slope)
            if bias_grad is not None:
                bias_grad += grad.sum(0)
            grad = grad.to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(grad, weight, out=hidden_grad[part])
            if weight_grad is not None:
                add_outer(weight_grad, grad, hidden[part])
        ctx.grads = (
            hidden_grad,
            None if weight_grad is None else weight_grad.to(weight.dtype),
            None if bias is None or bias_grad is None else bias_grad.to(bias.dtype),
        )
        ctx.mark_non_differentiable(logprobs, entropies)
        return total, logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Any, ...]:
        grads, ctx.grads = ctx.grads, None
        if float(upstream) != 1.0:
            grads = tuple(
                None if one is None else one.mul_(upstream.to(one.dtype)) for one in grads
            )
        return (*grads, *(None,) * 5)


def _derivative(loss: ChunkLoss, logprobs: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """Returns a chunk's loss and its derivative to the log-probabilities, both detached."""
    with torch.enable_grad():
        given = logprobs.detach().clone().requires_grad_()
        value = loss(given, part)
        (derivative,) = torch.autograd.grad(value, given)
    return value.detach(), derivative
