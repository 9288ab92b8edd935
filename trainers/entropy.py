"""Log-probabilities and full-vocabulary entropies from hidden states, streamed over tokens.

Logits of a whole response are the largest tensor of long-output training (50K tokens x 152K
vocabulary in fp32: 30 GB). Here they exist for one chunk of tokens at a time, in the forward and,
computed again, in the hand-written backward. Only [T] results and the log-partition are kept.

Shapes: [T] tokens, [T, H] hidden states, [V, H] output matrix, V the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 1 << 25
"""Logits held at once: 128 MiB in fp32. Every chunk reads the output matrix and its gradient."""
_FLOOR = -1e4
"""What a banned token's logit below the largest counts as: its share is 0, and 0 times it is 0."""


class TokenStatistics(NamedTuple):
    """What training needs to know of every sampled token, [T] each, at least fp32."""

    logprobs: Tensor
    """log p(target), nats, at the sampling temperature."""
    entropies: Tensor
    """-sum_v p(v) log p(v) over the full vocabulary, nats, at the sampling temperature."""


@dataclass(frozen=True)
class OutputHead:
    """How a model turns hidden states into logits: cap * tanh(scale * (h W^T + b) / cap).

    Attributes:
        weight: [V, H] output matrix (the embedding matrix where tied).
        bias: [V] or None.
        scale: factor that some architectures apply to logits.
        soft_cap: bound of the tanh soft cap, None for none.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    soft_cap: float | None = None

    def to(self, dtype: torch.dtype) -> OutputHead:
        """Returns the head in another type; gradients reach the tensors that it was made of."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return replace(self, weight=self.weight.to(dtype), bias=bias)


def token_statistics(
    hidden: Tensor,
    targets: Tensor,
    head: OutputHead,
    temperature: float = 1.0,
    chunk_tokens: int | None = None,
) -> TokenStatistics:
    """Returns log-probability and entropy of every target token, with exact gradients.

    With z = logits / temperature and p = softmax(z):

        logprob = z_target - logsumexp(z),   entropy = logsumexp(z) - sum_v p_v z_v

    Softmax and sums run in fp32 (float64 for float64 input); gradients flow to `hidden` and to the
    head's weight and bias, accumulated in fp32. Top-p is not part of the distribution: the policy
    that is trained is the untruncated one.

    Args:
        hidden: [T, H].
        targets: [T] token ids.
        head: see `OutputHead`.
        temperature: the sampling temperature, above 0.
        chunk_tokens: tokens whose logits exist at once; None chooses by the vocabulary's size.
            Results do not depend on it beyond rounding.

    Raises:
        ValueError: the temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive to train: got {temperature}; set e.g. 1.0")
    chunk = chunk_tokens or default_chunk(head)
    logprobs, entropies = _Streamed.apply(  # type: ignore[no-untyped-call]
        hidden, head.weight, head.bias, targets, head, 1.0 / temperature, chunk
    )
    return TokenStatistics(logprobs, entropies)


def default_chunk(head: OutputHead) -> int:
    """Returns the number of tokens whose logits exist at once."""
    return max(1, CHUNK_ELEMENTS // head.weight.shape[0])


class _Streamed(torch.autograd.Function):
    """Forward and backward of `token_statistics`, one chunk of tokens at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: OutputHead,
        sharpness: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        logprobs = torch.empty(len(hidden), dtype=dtype, device=hidden.device)
        entropies, partitions = torch.empty_like(logprobs), torch.empty_like(logprobs)
        space = Workspace.of(hidden, weight, bias, chunk, dtype)
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = chunk_logits(hidden[part], weight, bias, head, space).mul_(sharpness)
            peaks, _, sums = space.softmax(logits)
            entropies[part] = space.entropies(logits, sums)
            logprobs[part] = logits.gather(-1, targets[part, None])[:, 0] - sums.log()
            partitions[part] = peaks + sums.log()
        ctx.save_for_backward(hidden, weight, bias, targets, partitions, entropies)
        ctx.head, ctx.sharpness, ctx.chunk = head, sharpness, chunk
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, logprob_grads: Tensor, entropy_grads: Tensor) -> tuple[Any, ...]:
        hidden, weight, bias, targets, partitions, entropies = ctx.saved_tensors
        dtype = partitions.dtype
        hidden_grad, weight_grad, bias_grad = empty_grads(ctx, hidden, weight, bias, dtype)
        space = Workspace.of(hidden, weight, bias, ctx.chunk, dtype)
        by_entropy = bool(entropy_grads.any())  # else the loss has no entropy term
        for start in range(0, len(hidden), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = chunk_logits(hidden[part], weight, bias, ctx.head, space)
            slope = logit_slope(logits, ctx.head)
            log_p = space.floored(logits.mul_(ctx.sharpness).sub_(partitions[part, None]))
            # d logprob / d z_v = [v = target] - p_v;   d entropy / d z_v = -p_v (log p_v + entropy)
            grad = torch.exp(log_p, out=space.second[: len(log_p)])
            to_logprob = ctx.sharpness * logprob_grads[part, None].to(dtype)
            if by_entropy:
                to_entropy = ctx.sharpness * entropy_grads[part, None].to(dtype)
                shift = to_logprob + to_entropy * entropies[part, None]
                grad.mul_(log_p.mul_(-to_entropy).sub_(shift))
            else:
                grad.mul_(-to_logprob)
            grad.scatter_add_(-1, targets[part, None], to_logprob)
            grad = scaled(grad, slope)
            if bias_grad is not None:
                bias_grad += grad.sum(0)
            grad = grad.to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(grad, weight, out=hidden_grad[part])
            if weight_grad is not None:
                add_outer(weight_grad, grad, hidden[part])
        return (
            hidden_grad,
            None if weight_grad is None else weight_grad.to(weight.dtype),
            None if bias is None or bias_grad is None else bias_grad.to(bias.dtype),
            *(None,) * 4,
        )


@dataclass(frozen=True)
class Workspace:
    """Two [chunk, V] tensors that every chunk uses again: fresh ones cost a page fault a page.

    Attributes:
        first: For logits; None where the product is in another type.
        second: For probabilities and gradients.
        has_banned: Whether the bias bans tokens, which have logits of -inf.
    """

    first: Tensor | None
    second: Tensor
    has_banned: bool

    @classmethod
    def of(
        cls, hidden: Tensor, weight: Tensor, bias: Tensor | None, chunk: int, dtype: torch.dtype
    ) -> Workspace:
        """Returns the space for chunks of at most `chunk` tokens."""
        shape = (min(chunk, len(hidden)), len(weight))
        is_exact = hidden.dtype == weight.dtype == dtype
        return cls(
            hidden.new_empty(shape) if is_exact else None,
            hidden.new_empty(shape, dtype=dtype),
            bias is not None and bool(bias.isinf().any()),
        )

    def softmax(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns [T] the largest logits, [T, V] exp(z - largest), [T] its sums.

        The logits are changed in place to z - largest.
        """
        peaks = logits.amax(-1)
        self.floored(logits.sub_(peaks[:, None]))
        exponentials = torch.exp(logits, out=self.second[: len(logits)])
        return peaks, exponentials, exponentials.sum(-1)

    def entropies(self, logits: Tensor, sums: Tensor) -> Tensor:
        """Returns [T] log(sum) - sum_v p_v z_v, after `softmax`."""
        exponentials = self.second[: len(logits), None, :]
        return sums.log() - torch.bmm(exponentials, logits[:, :, None])[:, 0, 0] / sums

    def floored(self, logits: Tensor) -> Tensor:
        """Returns logits without -inf, in place."""
        if self.has_banned:
            logits.clamp_(min=_FLOOR)
        return logits


def scaled(grad: Tensor, slope: Tensor | float) -> Tensor:
    """Returns the gradient times the slope, in place; no pass where that is 1."""
    return grad if isinstance(slope, float) and slope == 1.0 else grad.mul_(slope)


def chunk_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, head: OutputHead, space: Workspace
) -> Tensor:
    """Returns the head's logits of one chunk, at least fp32, before the temperature."""
    out = None if space.first is None else space.first[: len(hidden)]
    logits = torch.mm(hidden, weight.T) if out is None else torch.mm(hidden, weight.T, out=out)
    if bias is not None:
        logits = logits + bias
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if head.scale != 1.0:
        logits = logits * head.scale
    if head.soft_cap is not None:
        logits = torch.tanh_(logits / head.soft_cap) * head.soft_cap
    return logits


def logit_slope(capped_logits: Tensor, head: OutputHead) -> Tensor | float:
    """Returns d logits / d (h W^T + b); the soft cap's is 1 - tanh^2."""
    if head.soft_cap is None:
        return head.scale
    return (1 - (capped_logits / head.soft_cap).square()) * head.scale


def empty_grads(
    ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Returns where the gradients that are asked for will be gathered."""
    wanted = ctx.needs_input_grad
    return (
        torch.empty_like(hidden) if wanted[0] else None,
        torch.zeros(weight.shape, dtype=dtype, device=weight.device) if wanted[1] else None,
        torch.zeros_like(bias, dtype=dtype) if bias is not None and wanted[2] else None,
    )


def add_outer(total: Tensor, grad: Tensor, hidden: Tensor) -> None:
    """Adds grad^T hidden to `total` [V, H], in the dtype of `total`."""
    if grad.dtype == total.dtype:
        total.addmm_(grad.T, hidden)
    else:
        total += grad.T @ hidden
