"""Negative-gradient clipping: which tokens of failed rollouts are left out of the update.

A penalty on a token that the policy was unsure about (high entropy) pushes probability to
everywhere at once; the recipe drops such terms instead of shrinking them. Shapes: [N] rollouts,
[T] sampled tokens of all rollouts one after another. Entropies are in nats.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence"]
"""Whether a token is judged by its own entropy (Eq. 8) or by its rollout's mean (Eq. 9)."""
Side = Literal["high", "low"]
"""Whether terms above or below the threshold are dropped (`low` is the paper's counter-test)."""


def sequence_entropies(entropies: Tensor, rollouts: Tensor, num_rollouts: int) -> Tensor:
    """Returns the mean token entropy of every rollout, [N]; nan where a rollout has no tokens.

    arXiv 2512.12967, Eq. 10: H_i = 1/|y_i| sum_t H_it. Over a rollout of several turns the mean
    runs over the tokens of all turns.

    Args:
        entropies: [T] full-vocabulary entropy of every sampled token.
        rollouts: [T] index of the rollout of every token.
        num_rollouts: N.
    """
    entropies = entropies.double()
    total = torch.zeros(num_rollouts, dtype=torch.float64).index_add_(0, rollouts, entropies)
    return total / torch.bincount(rollouts, minlength=num_rollouts)


def clipping_threshold(entropies: Tensor, quantile: float) -> float:
    """Returns the entropy below which the fraction `quantile` of the finite values lies.

    For thresholds relative to the batch. Without a finite value it is nan, which drops nothing.
    """
    finite = entropies[entropies.isfinite()].double()
    return float(torch.quantile(finite, quantile)) if len(finite) else float("nan")


def clipped_terms(
    advantages: Tensor,
    entropies: Tensor,
    rollouts: Tensor,
    level: Level,
    side: Side,
    threshold: float,
) -> Tensor:
    """Returns True for the tokens whose term is dropped, [T] bool.

    arXiv 2512.12967, Eq. 8-9: the term of token t of rollout i is dropped where A_i < 0 and
    H > threshold (`high`) or H < threshold (`low`), H being H_it (`token`) or H_i (`sequence`).

    An entropy equal to the threshold is kept, and so is every token of a rollout with A_i >= 0.

    Args:
        advantages: [N].
        entropies: [T].
        rollouts: [T] index into `advantages`.
        level: see above.
        side: see above.
        threshold: in nats.
    """
    measured = entropies.double()
    if level == "sequence":
        measured = sequence_entropies(entropies, rollouts, len(advantages))[rollouts]
    beyond = measured > threshold if side == "high" else measured < threshold
    return (advantages[rollouts] < 0) & beyond
