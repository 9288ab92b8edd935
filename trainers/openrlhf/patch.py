"""Puts our classes in the place of OpenRLHF's, in the driver process.

`openrlhf.cli.train_ppo_ray` looks them up by these names when it runs.
"""

from __future__ import annotations

import ray
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ray import ppo_actor, vllm_engine

from longspan.trainers.openrlhf.contract import check_signatures
from longspan.trainers.openrlhf.policy_actor import PolicyActor
from longspan.trainers.openrlhf.rollout_actor import RolloutActor
from longspan.trainers.openrlhf.trainer import Trainer


def install() -> None:
    """Replaces controller, training process and engine.

    Raises:
        RecipeError: OpenRLHF is not what the patch fits.
    """
    check_signatures()
    ppo_trainer.PPOTrainer = ray.remote(Trainer)
    ppo_actor.PolicyModelActor = ray.remote(num_gpus=1)(PolicyActor)
    vllm_engine.RolloutRayActor = ray.remote(RolloutActor)
