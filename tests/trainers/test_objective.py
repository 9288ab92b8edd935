"""Where the algorithms meet: masks of AEPO and clipping together, and what needs entropies."""

import json
import math

import pytest
import torch

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.aepo import AepoSettings
from longspan.trainers.batch import RolloutBatch, build_batch
from longspan.trainers.clipping import ClippingSettings
from longspan.trainers.objective import Objective, masked_share, mean_entropy
from longspan.trainers.settings import ObjectiveSettings


def batch() -> RolloutBatch:
    """Two groups of two: one rollout right, one wrong; two tokens each; the second group mixed."""
    rollouts = []
    for sample, kind in (("s", "multi_hop"), ("t", "dialogue_memory")):
        for epoch, reward in enumerate((1.0, 0.0)):
            turns = (Turn((1,), (5, epoch), (-1.0, -1.0), "stop"),)
            ending = (turns, reward, "answered", 0, 0.0, 1, 2)
            rollouts.append(Rollout("k", kind, f"{kind}/x", sample, epoch, *ending))
    return build_batch(rollouts)


ENTROPIES = torch.tensor([0.1, 0.1, 0.2, 0.6, 0.1, 0.1, 0.9, 0.9], dtype=torch.float64)


def test_mean_entropy_by_hand() -> None:
    # Rollouts 0.1, 0.4, 0.1, 0.9 -> 1.5 / 4
    assert mean_entropy(batch(), ENTROPIES) == pytest.approx(0.375)
    assert math.isnan(mean_entropy(batch(), None))


def test_plain_objective_needs_no_entropies() -> None:
    objective = Objective(ObjectiveSettings(deviation="group"))
    assert not objective.needs_entropies
    found = objective.weigh(batch(), objective.advantages(batch()))
    # A = +-1/sqrt(2)*... with two rewards 1, 0: 0.5 / sqrt(0.5) = 0.7071; P = 2, Z = 4.
    expected = math.sqrt(0.5) / 8
    assert found.weights.tolist() == pytest.approx([expected, expected, -expected, -expected] * 2)
    assert found.decision is None


def test_aepo_masks_all_tokens_of_negative_rollouts_when_entropy_is_high() -> None:
    objective = Objective(ObjectiveSettings(aepo=AepoSettings(0.1, 0.3)))
    assert objective.needs_entropies
    found = objective.weigh(batch(), objective.advantages(batch()), ENTROPIES)
    assert found.decision is not None
    assert found.decision.masking
    assert found.masked.tolist() == [False, False, True, True] * 2
    assert masked_share(batch(), found.masked) == {"dialogue_memory": 0.5, "multi_hop": 0.5}


def test_clipping_and_aepo_masks_are_joined() -> None:
    settings = ObjectiveSettings(
        aepo=AepoSettings(0.1, 0.5), clipping=ClippingSettings(0.5, "token", "high")
    )
    found = Objective(settings).weigh(batch(), Objective(settings).advantages(batch()), ENTROPIES)
    assert found.masked.tolist() == [False] * 3 + [True] + [False] * 2 + [True] * 2
    assert masked_share(batch(), found.masked) == {"dialogue_memory": 0.5, "multi_hop": 0.25}


def test_state_carries_the_mode_over_a_restart() -> None:
    settings = ObjectiveSettings(aepo=AepoSettings(0.1, 0.3))
    first, second = Objective(settings), Objective(settings)
    first.weigh(batch(), first.advantages(batch()), ENTROPIES)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    inside = torch.full_like(ENTROPIES, 0.2)
    found = second.weigh(batch(), second.advantages(batch()), inside)
    assert found.decision is not None
    assert found.decision.masking
