"""`longspan train --replay`: a saved batch's step, computed again and shown, without taking it.

Advantages follow from the rollouts alone. Entropies, and with them AEPO's decision, masks, loss and
gradient, need the weights before the step; where these are gone the replay says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from longspan.trainers.batch import RolloutBatch
from longspan.trainers.local.engine import default_threads
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.policy import load_trainable
from longspan.trainers.local.saved_batch import SavedBatch, StepRecord, read_batch
from longspan.trainers.local.stage import stage_batch
from longspan.trainers.objective import Objective
from longspan.trainers.update import Update

COLUMNS = ("task", "sample", "epoch", "reward", "validity", "advantage", "masked", "tokens")


@dataclass(frozen=True)
class Replay:
    """A step computed again.

    Attributes:
        folder: of the saved batch.
        record: what the step was.
        batch: its rollouts.
        advantages: [N].
        update: what the step's update does; None where the weights before it are gone.
    """

    folder: Path
    record: StepRecord
    batch: RolloutBatch
    advantages: Tensor
    update: Update | None

    def masked_shares(self) -> list[float | None]:
        """Returns the share of every rollout's tokens that are left out; None where not known."""
        if self.update is None:
            return [None] * len(self.batch.rollouts)
        owners, masked = self.batch.token_rollouts, self.update.step_weights.masked.double()
        total = torch.bincount(owners, minlength=len(self.batch.rollouts))
        left_out = torch.bincount(owners, masked, minlength=len(total))
        pairs = zip(left_out.tolist(), total.tolist(), strict=True)
        return [out / number if number else None for out, number in pairs]


def replay_command(path: Path) -> Replay:
    """Prints what the step of a saved batch was, and returns it.

    Raises:
        DataError: there is no saved batch at `path`.
        ModelError: the checkpoint that its stage started from is gone.
    """
    found = replay(read_batch(path))
    console = Console(soft_wrap=True, highlight=False)
    record = found.record
    console.print(f"stage {record.stage.name}, step {record.step}", markup=False)
    if record.error:
        console.print(f"stopped: {record.error}", markup=False)
    console.print(rollout_table(found))
    console.print(totals(found), markup=False)
    return found


def replay(saved: SavedBatch) -> Replay:
    """Returns the step of a saved batch; nothing is changed, on disk or elsewhere.

    A rollout whose reward is not finite, which stops a step, counts as one without a score.
    """
    record = saved.record
    batch = stage_batch([replace(one, not_finite=False) for one in saved.rollouts], record.stage)
    objective = Objective(record.stage.objective)
    objective.load_state_dict(record.objective)
    if not saved.has_weights:
        return Replay(saved.folder, record, batch, objective.advantages(batch), None)
    update = _learner(saved).gradient(batch, objective, record.step - 1)
    return Replay(saved.folder, record, batch, update.advantages, update)


def rollout_table(replay: Replay) -> Table:
    """Returns one row per rollout."""
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        left = column in ("task", "sample")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    rows = zip(
        replay.batch.rollouts, replay.advantages.tolist(), replay.masked_shares(), strict=True
    )
    for one, advantage, masked in rows:
        table.add_row(
            one.task,
            one.sample_id,
            str(one.epoch),
            "-" if one.reward is None else f"{one.reward:.4g}",
            one.validity,
            f"{advantage:+.4f}",
            "-" if masked is None else f"{masked:.1%}",
            str(one.sampled_tokens),
        )
    return table


def totals(replay: Replay) -> str:
    """Returns what holds for the whole batch, or why it is not known."""
    update = replay.update
    if update is None:
        return (
            "not computed: batch entropy, AEPO's decision, masks, loss and gradient norm, since "
            "the weights before the step (model.safetensors) are not beside the rollouts"
        )
    decision = update.step_weights.decision
    lines = [f"batch entropy {update.entropy:.6g} nats"]
    if decision is not None:
        lines.append(
            f"AEPO {'masks' if decision.masking else 'does not mask'} ({decision.reason}; low "
            f"{decision.low:.6g}, high {decision.high:.6g}; {decision.masked_steps} masked steps)"
        )
    masked = update.step_weights.masked
    lines += [
        f"masked {float(masked.double().mean()) if len(masked) else 0.0:.1%} of sampled tokens",
        f"loss {update.loss:.6g}",
        f"gradient norm {update.gradient_norm:.6g} "
        f"(clipped to {replay.record.stage.optimizer.max_gradient_norm:g})",
        f"groups with an advantage {update.num_live_groups}",
    ]
    return "\n".join(lines)


def _learner(saved: SavedBatch) -> Learner:
    """Returns a learner with the weights before the step."""
    stage = saved.record.stage
    trainable = load_trainable(saved.record.start, saved.record.model, saved.record.seed)
    model = trainable.model
    torch.set_num_threads(default_threads(sum(p.numel() for p in model.parameters())))
    learner = Learner(model, stage.optimizer, stage.sampling.temperature, trainable.compute)
    learner.load_weights(saved.weights())
    return learner
