"""Negative-gradient clipping: which tokens of failed rollouts are left out of the update.

A penalty on a token that the policy was unsure about (high entropy) pushes probability to
everywhere at once; the recipe drops such terms instead of shrinking them. Shapes: [N] rollouts,
[T] sampled tokens of all rollouts one after another. Entropies are in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence"]
"""Whether a token is judged by its own entropy (Eq. 8) or by its rollout's mean (Eq. 9)."""
Side = Literal["high", "low"]
"""Whether terms above or below the threshold are dropped (`low` is the paper's counter-test)."""


@dataclass(frozen=True)
class ClippingSettings:
    """Which terms are dropped.

    Attributes:
        threshold: in nats, or with `thresholds: quantile` a fraction in [0, 1] of the batch's
            token (or sequence) entropies.
        level: see `Level`.
        side: see `Side`.
        thresholds: unit of `threshold`.
    """

    threshold: float
    level: Level = "token"
    side: Side = "high"
    thresholds: Literal["nats", "quantile"] = "nats"

    # How pydantic treats it inside a recipe: unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.threshold < 0 or (self.thresholds == "quantile" and self.threshold > 1):
            raise ValueError(
                "a clipping threshold is at least 0 nats or a fraction in [0, 1]: got "
                f"{self.threshold} ({self.thresholds}); change it or its unit"
            )


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


def clipped_terms(
    advantages: Tensor, entropies: Tensor, rollouts: Tensor, settings: ClippingSettings
) -> Tensor:
    """Returns True for the tokens whose term is dropped, [T] bool.

    arXiv 2512.12967, Eq. 8-9: the term of token t of rollout i is dropped where A_i < 0 and
    H > threshold (`high`) or H < threshold (`low`), H being H_it (`token`) or H_i (`sequence`).

    An entropy equal to the threshold is kept, and so is every token of a rollout with A_i >= 0.
    Without any finite entropy nothing is dropped.

    Args:
        advantages: [N].
        entropies: [T].
        rollouts: [T] index into `advantages`.
        settings: see `ClippingSettings`.
    """
    judged = entropies.double()
    if settings.level == "sequence":
        judged = sequence_entropies(entropies, rollouts, len(advantages))
    threshold = settings.threshold
    if settings.thresholds == "quantile":
        threshold = _quantile(judged, threshold)
    beyond = judged > threshold if settings.side == "high" else judged < threshold
    if settings.level == "sequence":
        beyond = beyond[rollouts]
    return (advantages[rollouts] < 0) & beyond


def _quantile(entropies: Tensor, fraction: float) -> float:
    """Returns the entropy below which the fraction of finite values lies, nan without any."""
    finite = entropies[entropies.isfinite()].double()
    return float(torch.quantile(finite, fraction)) if len(finite) else float("nan")
