"""Real batches, saved by the embedded engine, in OpenRLHF's training process with DeepSpeed.

`test_parity.py` compares the shared parts on made-up rollouts in float32; here weights, forwards
and updates are what a run has: bfloat16 with float32 moments there, float32 in the embedded engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from longspan.trainers.local.replay import Replay, replay
from longspan.trainers.local.saved_batch import read_batch
from longspan.trainers.pipeline import train_command
from tests.trainers.openrlhf import actor_process
from tests.trainers.openrlhf.test_contract import is_installed

RECIPE = Path(__file__).parents[3] / "scripts" / "openrlhf" / "two_stages.yaml"
NUM_STEPS = {"full_context": 20, "memory_rl": 3}
FORWARD = 0.02
"""Of forwards in bfloat16."""
UPDATE = 0.05
"""Of their gradients, by weights that took another twenty updates in another arithmetic."""

pytestmark = [is_installed, pytest.mark.slow, pytest.mark.timeout(900)]

Steps = list[tuple[Replay, dict[str, Any]]]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Steps]:
    """Steps of both stages: by the embedded engine, and by OpenRLHF's process on its batches."""
    folder = tmp_path_factory.mktemp("parity")
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["keep_batches_every_steps"] = 1
    recipe["model"] = {"device": "cpu"}
    # Between entropies of about 0.4 and of about 0.03, so far from both that bfloat16 decides
    # nothing; the cap makes it switch.
    aepo = {"low": 0.1, "high": 0.2, "max_masked_steps": 3}
    for stage in recipe["stages"]:
        stage["num_steps"] = NUM_STEPS[stage["name"]]
        stage["objective"]["aepo"] = aepo
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    train_command(str(folder / "recipe.yaml"), folder / "run", quiet=True)
    return {name: pairs(folder / "run" / "stages" / name, folder / name) for name in NUM_STEPS}


def pairs(stage: Path, folder: Path) -> Steps:
    folder.mkdir()
    command = [sys.executable, actor_process.__file__, str(stage / "batches"), str(folder / "out")]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, check=True, env=environment, timeout=600)
    theirs = torch.load(folder / "out")
    batches = actor_process.batch_folders(stage / "batches")
    ours = [replay(read_batch(batch)) for batch in batches]
    return list(zip(ours, theirs, strict=True))


@pytest.mark.parametrize("stage", list(NUM_STEPS))
def test_decisions_of_aepo_are_the_same_over_all_steps(
    stages: dict[str, Steps], stage: str
) -> None:
    steps = stages[stage]
    assert len(steps) == NUM_STEPS[stage]
    decisions = []
    for ours, theirs in steps:
        assert ours.update is not None and ours.update.step_weights.decision is not None
        decision = ours.update.step_weights.decision
        decisions.append(decision.masking)
        assert (decision.masking, decision.reason) == theirs["decision"]
    changes = sum(a != b for a, b in zip(decisions, decisions[1:], strict=False))
    assert changes >= (4 if stage == "full_context" else 0)


@pytest.mark.parametrize("stage", list(NUM_STEPS))
def test_advantages_masks_and_weights_of_tokens_are_equal(
    stages: dict[str, Steps], stage: str
) -> None:
    for ours, theirs in stages[stage]:
        assert ours.update is not None
        assert torch.equal(ours.advantages, theirs["advantages"])
        assert torch.equal(ours.update.step_weights.masked, theirs["masked"])
        assert torch.equal(ours.update.step_weights.weights, theirs["weights"])


@pytest.mark.parametrize("stage", list(NUM_STEPS))
def test_entropy_loss_and_gradient_are_those_of_the_embedded_engine(
    stages: dict[str, Steps], stage: str
) -> None:
    for ours, theirs in stages[stage]:
        assert ours.update is not None
        assert theirs["entropy"] == pytest.approx(ours.update.entropy, rel=FORWARD)
        assert theirs["loss"] == pytest.approx(ours.update.loss, rel=1e-5, abs=1e-6)
        assert theirs["gradient_norm"] == pytest.approx(ours.update.gradient_norm, rel=UPDATE)
