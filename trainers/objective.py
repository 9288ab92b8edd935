"""One step's objective: rollouts and entropies -> the weight of every sampled token.

This is where the algorithms meet; engines differ only in how they get entropies and gradients.
Shapes: [N] rollouts, [T] sampled tokens, [U] tokens of distinct turns (see `batch`).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longspan.trainers.advantages import relative_advantages
from longspan.trainers.aepo import AepoController, AepoDecision, batch_entropy, masked_rollouts
from longspan.trainers.batch import RolloutBatch
from longspan.trainers.clipping import clipped_terms, sequence_entropies
from longspan.trainers.loss import TokenIndex, token_weights
from longspan.trainers.settings import ObjectiveSettings


@dataclass(frozen=True)
class StepWeights:
    """What the objective says of one batch.

    Attributes:
        weights: [T] factor of every token's ratio.
        masked: [T] tokens whose term is left out.
        decision: of AEPO, None where it is not used.
    """

    weights: Tensor
    masked: Tensor
    decision: AepoDecision | None


class Objective:
    """Advantages, masks and loss weights of a stage; holds AEPO's state."""

    def __init__(self, settings: ObjectiveSettings) -> None:
        self.settings = settings
        self._controller = AepoController(settings.aepo) if settings.aepo else None

    @property
    def needs_entropies(self) -> bool:
        """Whether weights depend on entropies, so that these must be known before the update."""
        return self._controller is not None or self.settings.clipping is not None

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """Returns the advantage of every rollout, [N]."""
        return relative_advantages(
            batch.rewards, batch.groups, batch.tasks, batch.valid, self.settings.deviation
        )

    def weigh(
        self, batch: RolloutBatch, advantages: Tensor, entropies: Tensor | None = None
    ) -> StepWeights:
        """Returns the token weights of a batch and moves AEPO's state on; call once per step.

        Args:
            batch: the rollouts.
            advantages: [N] from `advantages`.
            entropies: [T], needed where `needs_entropies`.
        """
        settings, rollouts = self.settings, batch.token_rollouts
        masked = torch.zeros(len(rollouts), dtype=torch.bool)
        decision = None
        if self._controller is not None:
            decision = self._controller.decide(mean_entropy(batch, entropies))
            masked |= masked_rollouts(advantages, decision.masking)[rollouts]
        if settings.clipping is not None and entropies is not None:
            masked |= clipped_terms(advantages, entropies, rollouts, settings.clipping)
        weights = token_weights(
            advantages,
            masked,
            TokenIndex(rollouts, batch.groups, batch.valid),
            settings.normalisation,
            settings.masked_denominator,
        )
        return StepWeights(weights, masked, decision)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as JSON values."""
        return {"aepo": self._controller.state_dict() if self._controller else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a state that `state_dict` returned."""
        if self._controller is not None:
            self._controller.load_state_dict(state["aepo"])


def mean_entropy(batch: RolloutBatch, entropies: Tensor | None) -> float:
    """Returns the batch entropy (Eq. 11) in nats, nan where nothing was measured."""
    if entropies is None or not len(entropies):
        return math.nan
    means = sequence_entropies(entropies, batch.token_rollouts, len(batch.valid))
    return batch_entropy(means, batch.valid)


def masked_share(batch: RolloutBatch, masked: Tensor) -> dict[str, float]:
    """Returns the fraction of sampled tokens that are left out, by task type."""
    kinds = [batch.rollouts[i].task_type or "untyped" for i in batch.token_rollouts.tolist()]
    total = Counter(kinds)
    left_out = Counter(kind for kind, out in zip(kinds, masked.tolist(), strict=True) if out)
    return {kind: left_out[kind] / total[kind] for kind in sorted(total)}
