"""What one update of the policy did, and what a step of training reports; the same in all engines.

This module does not know how gradients are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longspan.harness.errors import ModelError
from longspan.harness.rollout import Rollout
from longspan.trainers.batch import RolloutBatch
from longspan.trainers.metrics import aepo_metrics, rollout_metrics
from longspan.trainers.objective import StepWeights, masked_share

MAX_BARREN_STEPS = 3
"""A step in which no rollout takes part is skipped with an alarm; so many in a row end the run."""


@dataclass(frozen=True)
class Update:
    """What one update did.

    Attributes:
        advantages: [N].
        step_weights: token weights, masks and AEPO's decision.
        entropy: batch entropy (Eq. 11), nats.
        loss: value of the loss.
        gradient_norm: before clipping; 0 where there was nothing to learn.
        learning_rate: of this step.
        num_live_groups: groups with an advantage.
        num_computed_tokens: tokens of all forwards' rows, padding left out; a prompt that is
            computed for several rollouts or parts of them counts for each.
        logprob_gap: mean absolute difference of log-probabilities to those at sampling, nats.
    """

    advantages: Tensor
    step_weights: StepWeights
    entropy: float
    loss: float
    gradient_norm: float
    learning_rate: float
    num_live_groups: int
    num_computed_tokens: int
    logprob_gap: float


class BarrenSteps:
    """Counts the steps in a row in which no rollout takes part.

    A run whose very first step yields nothing is set up wrongly and stops at once.
    """

    def __init__(self) -> None:
        self.count = MAX_BARREN_STEPS - 1

    def note(self, step: int, batch: RolloutBatch, rollouts: Sequence[Rollout]) -> None:
        """Counts a step (from 0).

        Raises:
            ModelError: too many in a row took nothing; the message says how the first one ended.
        """
        self.count = 0 if batch.valid.any() else self.count + 1
        if self.count < MAX_BARREN_STEPS:
            return
        first = rollouts[0]
        reason = f": {first.error}" if first.error else ""
        raise ModelError(
            f"no rollout of step {step + 1} takes part; the first of {len(rollouts)} ended as "
            f"{first.validity}{reason}; mend that, then run the same command again"
        )


def step_metrics(
    step: int, rollouts: Sequence[Rollout], batch: RolloutBatch, update: Update
) -> dict[str, Any]:
    """Returns the metrics of a step (counted from 0), times left out."""
    masked = update.step_weights.masked
    return {
        "step": step + 1,
        **rollout_metrics(rollouts),
        "entropy": update.entropy,
        **aepo_metrics(update.step_weights.decision),
        "masked_share": float(masked.double().mean()) if len(masked) else 0.0,
        "loss": update.loss,
        "gradient_norm": update.gradient_norm,
        "learning_rate": update.learning_rate,
        "num_live_groups": update.num_live_groups,
        "num_computed_tokens": update.num_computed_tokens,
        "logprob_gap": update.logprob_gap,
        "num_trained": int(batch.valid.sum()),
        "num_groups": len(torch.unique(batch.groups)),
        "num_distinct_tokens": batch.num_unique,
        "masked_share_by_type": masked_share(batch, masked),
    }
