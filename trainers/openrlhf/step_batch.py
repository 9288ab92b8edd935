"""A step's rollouts, measured and weighed by the algorithm files that both engines share.

What this engine adds is the shape of the forwards (`sequences`): measuring them is left to the
caller. Shapes: [N] rollouts, [T] sampled tokens of all valid rollouts, [t] those of a micro-batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from longspan.harness.rollout import Rollout
from longspan.trainers.advantages import live_groups
from longspan.trainers.batch import RolloutBatch
from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.local.stage import stage_batch
from longspan.trainers.objective import Objective, StepWeights, mean_entropy
from longspan.trainers.openrlhf.sequences import (
    MicroBatch,
    gathered,
    micro_batches,
    turn_sequences,
)
from longspan.trainers.stages import TrainStage
from longspan.trainers.update import Update

Measure = Callable[[Sequence[MicroBatch]], Sequence[TokenStatistics]]
"""Micro-batches -> statistics of their sampled tokens, [t] each, by weights before the update."""


@dataclass(frozen=True)
class StepBatch:
    """A step's rollouts, weighed.

    Attributes:
        batch: what the algorithms know of them.
        advantages: [N].
        step_weights: of every sampled token, with AEPO's decision.
        parts: micro-batches of the update; none where there is nothing to learn.
        entropy: batch entropy (Eq. 11), nats.
        logprob_gap: mean absolute difference of log-probabilities to those at sampling, nats.
        num_computed_tokens: tokens of all forwards, padding left out.
        seconds: of the parts of this work, by name.
    """

    batch: RolloutBatch
    advantages: Tensor
    step_weights: StepWeights
    parts: Sequence[MicroBatch]
    entropy: float
    logprob_gap: float
    num_computed_tokens: int
    seconds: dict[str, float] = field(default_factory=dict)

    def weights_of(self, part: MicroBatch) -> Tensor:
        """Returns the weights of a micro-batch's tokens, [t]."""
        weights = self.step_weights.weights[part.places]
        return weights if part.counted else torch.zeros_like(weights)

    def update(self, loss: float, gradient_norm: float, learning_rate: float) -> Update:
        """Returns what the update did, in the embedded engine's terms."""
        return Update(
            advantages=self.advantages,
            step_weights=self.step_weights,
            entropy=self.entropy,
            loss=loss,
            gradient_norm=gradient_norm,
            learning_rate=learning_rate,
            num_live_groups=len(live_groups(self.advantages, self.batch.groups)),
            num_computed_tokens=self.num_computed_tokens,
            logprob_gap=self.logprob_gap,
        )


def weigh_step(
    rollouts: Sequence[Rollout],
    stage: TrainStage,
    objective: Objective,
    num_ranks: int,
    measure: Measure,
) -> StepBatch:
    """Returns a step's batch with the weight of every token; moves AEPO's state on.

    Args:
        rollouts: of the step, in any order.
        stage: its settings.
        objective: of the stage.
        num_ranks: training processes.
        measure: see `Measure`.

    Raises:
        DataError: a reward is not finite, or a scored rollout has no recorded call.
    """
    started = time.perf_counter()
    batch = stage_batch(rollouts, stage)
    sequences, limit = turn_sequences(batch), stage.optimizer.micro_batch_tokens
    all_parts = micro_batches(sequences, limit, num_ranks)
    prepared = time.perf_counter()
    found = measure(all_parts)
    measured = time.perf_counter()
    num_tokens = len(batch.token_rollouts)
    logprobs = gathered(all_parts, [one.logprobs for one in found], num_tokens)
    entropies = gathered(all_parts, [one.entropies for one in found], num_tokens)
    advantages = objective.advantages(batch)
    step_weights = objective.weigh(batch, advantages, entropies)
    live = [one for one in sequences if step_weights.weights[list(one.places)].any()]
    gaps = (logprobs - batch.sampled_logprobs).abs()
    return StepBatch(
        batch=batch,
        advantages=advantages,
        step_weights=step_weights,
        parts=micro_batches(live, limit, num_ranks),
        entropy=mean_entropy(batch, entropies),
        logprob_gap=float(gaps.mean()) if len(gaps) else 0.0,
        num_computed_tokens=sum(one.num_tokens for one in (*sequences, *live)),
        seconds={
            "measure_seconds": measured - prepared,
            "weigh_seconds": prepared - started + time.perf_counter() - measured,
        },
    )
