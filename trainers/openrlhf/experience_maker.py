"""OpenRLHF's maker of experiences: rollouts -> weighed micro-batches for its processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from longspan.harness.rollout import Rollout
from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.objective import Objective
from longspan.trainers.openrlhf.run_file import read_run
from longspan.trainers.openrlhf.sequences import MicroBatch
from longspan.trainers.openrlhf.step_batch import StepBatch, weigh_step

PAD = 0
"""Any token that every model has: a tokenizer's own for padding may have no embedding."""


class ExperienceMaker(RemoteExperienceMaker):  # type: ignore[misc]
    """Measures, weighs and packs; holds the stage's objective with AEPO's state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See OpenRLHF's class for the arguments."""
        super().__init__(*args, **kwargs)
        self._run = read_run()
        self.objective = Objective(self._run.stage.objective)

    def weigh(self, rollouts: Sequence[Rollout]) -> StepBatch:
        """Returns a step's batch, weighed; see `weigh_step`."""
        ranks = self._run.cluster.num_ranks
        return weigh_step(rollouts, self._run.stage, self.objective, ranks, self._measure)

    def make_experience_batch(self, step: StepBatch) -> list[Experience]:
        """Returns the micro-batches of a step that was weighed."""
        return [self._experience(part, step) for part in step.parts]

    def _measure(self, parts: Sequence[MicroBatch]) -> list[TokenStatistics]:
        """Returns the statistics of micro-batches from the training processes."""
        if not parts:
            return []
        padded = [part.padded(PAD) for part in parts]
        refs = self._dispatch_forward(
            self.actor_model_group,
            self.args.train.colocate_all,
            sequences=[ids for ids, _, _ in padded],
            action_mask=[sampled for _, _, sampled in padded],
            attention_mask=[attention for _, attention, _ in padded],
        )
        found = self._flatten_results(refs, self.actor_model_group.duplicate_actors)
        return [TokenStatistics(*one) for one in found]

    def _experience(self, part: MicroBatch, step: StepBatch) -> Experience:
        """Returns a micro-batch in OpenRLHF's terms, with weights in the place of advantages."""
        ids, attention, sampled = part.padded(PAD)
        weights = torch.zeros(sampled.shape, dtype=torch.float64)
        weights[sampled] = step.weights_of(part)
        old = None
        if self._run.stage.objective.ratio_clip is not None:
            old = torch.zeros_like(weights)
            old[sampled] = step.batch.sampled_logprobs[part.places]
        owners = [step.batch.rollouts[one.rollout] for one in part.sequences]
        return Experience(
            sequences=ids,
            attention_mask=attention,
            action_mask=sampled,
            advantages=weights,
            rollout_log_probs=old,
            info={"reward": torch.tensor([one.reward for one in owners])},
            response_length=sampled.sum(-1),
            truncated=torch.tensor([one.is_cut_off for one in owners]),
            total_length=attention.sum(-1),
        )
