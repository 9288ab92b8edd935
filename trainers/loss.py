"""The token-level policy-gradient loss, as one weight per token and a sum over weighted tokens.

Splitting it so makes the loss invariant to micro-batches: weights carry every denominator, and the
sum can be taken in any pieces. Shapes: [N] rollouts, [T] sampled tokens of all rollouts. There is
no KL term (the recipe has beta = 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

Normalisation = Literal["group", "batch"]
"""Tokens weigh equally within a group and groups are averaged, or equally over the batch."""
Denominator = Literal["all", "kept"]
"""Whether masked tokens stay in the denominators (Eq. 8) or leave them (the release's snippet)."""


@dataclass(frozen=True)
class TokenIndex:
    """To which rollout and group every sampled token belongs.

    Attributes:
        rollouts: [T] index of the token's rollout.
        groups: [N] id of the rollout's group.
        valid: [N] rollouts that take part; tokens of the others weigh nothing and are not counted.
    """

    rollouts: Tensor
    groups: Tensor
    valid: Tensor


def token_weights(
    advantages: Tensor,
    masked: Tensor,
    index: TokenIndex,
    normalisation: Normalisation = "group",
    denominator: Denominator = "all",
) -> Tensor:
    """Returns the factor w_it of every token's ratio in the objective, [T] float64.

    arXiv 2512.12967, Eq. 4, with groups g = 1..P of rollouts i and tokens t, mask m (Eq. 8-9, 11):

        J = 1/P sum_g 1/Z_g sum_{i in g} sum_t m_it A_i rho_it,   Z_g = sum_{i in g} |y_i|

    so w_it = m_it A_i / (P Z_g); with `batch` normalisation w_it = m_it A_i / sum_g Z_g. With the
    denominator `kept`, Z_g counts tokens with m_it = 1 and P the groups that have any. Groups in
    which all rewards are equal count in P like others. A batch without a counted token gives
    zeros.

    Args:
        advantages: [N].
        masked: [T] bool, True where m_it = 0.
        index: see `TokenIndex`.
        normalisation: see above.
        denominator: see above.
    """
    counted = index.valid[index.rollouts]
    kept = counted & ~masked
    terms = torch.where(kept, advantages.double()[index.rollouts], 0.0)
    sizes = (kept if denominator == "kept" else counted).double()
    if normalisation == "batch":
        return terms / sizes.sum().clamp_min(1)
    ids, group = torch.unique(index.groups, return_inverse=True)
    group = group[index.rollouts]
    group_sizes = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, group, sizes)
    num_groups = (group_sizes > 0).sum().clamp_min(1)
    return terms / (num_groups * group_sizes.clamp_min(1)[group])


@dataclass(frozen=True)
class ClipRange:
    """PPO clipping: the ratio counts within [1 - low, 1 + high] (equal: symmetric)."""

    low: float = 0.2
    high: float = 0.2

    # How pydantic treats it inside a recipe: unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not (0 < self.low < 1 and self.high > 0):
            raise ValueError(
                f"a clip range needs 0 < low < 1 and high > 0: got {self.low} and {self.high}; "
                "the usual is 0.2 and 0.2"
            )


def policy_loss(
    logprobs: Tensor,
    weights: Tensor,
    old_logprobs: Tensor | None = None,
    clip: ClipRange | None = None,
) -> Tensor:
    """Returns the loss -J as a sum over tokens, a scalar to differentiate.

        J = sum_it min(w_it rho_it, w_it clip(rho_it)),   rho_it = exp(logprob_it - old_it)

    Strictly on-policy (`old_logprobs` None, one update per batch: the paper's setting) rho is 1
    with the gradient of logprob, and clipping is inactive. Off-policy, old log-probabilities are
    those of the policy that sampled; without `clip` the plain ratio is used.

    Args:
        logprobs: [T] with gradient.
        weights: [T] from `token_weights`; zeros contribute exactly nothing.
        old_logprobs: [T] or None.
        clip: None for the plain ratio.
    """
    weights = weights.to(logprobs.dtype)
    old = logprobs.detach() if old_logprobs is None else old_logprobs.to(logprobs.dtype)
    ratio = (logprobs - old).exp()
    terms = weights * ratio
    if old_logprobs is not None and clip is not None:
        terms = torch.minimum(terms, weights * ratio.clamp(1 - clip.low, 1 + clip.high))
    return -torch.where(weights != 0, terms, 0.0).sum()


def clipped_share(
    logprobs: Tensor, old_logprobs: Tensor, weights: Tensor, clip: ClipRange
) -> float:
    """Returns the fraction of weighted tokens whose gradient the PPO clip removes, in [0, 1]."""
    ratio = (logprobs.detach() - old_logprobs).exp()
    outside = ((weights > 0) & (ratio > 1 + clip.high)) | ((weights < 0) & (ratio < 1 - clip.low))
    return float(outside.sum() / (weights != 0).sum().clamp_min(1))
