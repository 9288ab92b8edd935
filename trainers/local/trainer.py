"""The embedded engine's training loop: batch -> rollouts -> advantages -> update -> state.

A step depends only on the recipe, the samples and the state before it: all random numbers come from
seeds of (recipe, stage, step, sample, epoch, turn). So a run that is killed at any moment and run
again ends with the same bytes as one that was not (CPU, same number of threads).
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from inspect_ai.dataset import Sample

from longspan.harness.errors import LongspanError, RecipeError
from longspan.harness.rollout import Rollout
from longspan.trainers.batch import RolloutBatch
from longspan.trainers.local.engine import default_threads
from longspan.trainers.local.learner import Learner, NonFiniteError
from longspan.trainers.local.policy import Policy, load_trainable
from longspan.trainers.local.saved_batch import StepRecord, save_batch
from longspan.trainers.local.stage import (
    StageRun,
    registered,
    stage_batch,
    stage_environment,
    stage_pools,
    stage_sampler,
    stage_samples,
    task_versions,
)
from longspan.trainers.local.state import (
    TrainingState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
    state_folder,
)
from longspan.trainers.metrics import MetricsFile, alarm
from longspan.trainers.objective import Objective
from longspan.trainers.progress import StageProgress, step_line
from longspan.trainers.stages import TrainStage
from longspan.trainers.tensorboard import TensorBoard
from longspan.trainers.update import BarrenSteps, Update, step_metrics

OTHER_STATES = "openrlhf/states"
"""Those of the OpenRLHF engine, which removes them as well."""
STATES = "states"
"""Folder of the states to resume from; it goes when the stage is done."""
BATCHES = "batches"
"""Folder of the batches that are kept for a replay."""


def train_stage(run: StageRun[TrainStage]) -> Path:
    """Runs or resumes a stage and returns the folder of its checkpoint.

    Raises:
        RecipeError: the stage does not fit its tasks, or its tasks have changed since it began.
        ModelError: the checkpoint cannot be used, or step after step no rollout takes part.
        DataError: a reward is not finite; the batch is saved.
        NonFiniteError: logits, a loss or a gradient are not finite; the batch is saved.
    """
    if run.checkpoint.exists():
        return run.checkpoint
    if (run.folder / OTHER_STATES).exists():
        raise RecipeError(
            f"{run.folder} was begun by the OpenRLHF engine; go on with --engine openrlhf, or "
            "train into another folder"
        )
    run.folder.mkdir(parents=True, exist_ok=True)
    trainable = load_trainable(run.start, run.model, run.stage_seed)
    policy = Policy(trainable, run.model.max_batch_rows)
    with registered(policy.engine, run.stage.name) as name:
        _Trainer(run, policy, name).train()
    trainable.save(run.checkpoint)
    if (run.folder / STATES).exists():  # a stage shorter than the distance of states has none
        shutil.rmtree(run.folder / STATES)
    return run.checkpoint


class _Trainer:
    """A stage under way."""

    def __init__(self, run: StageRun[TrainStage], policy: Policy, name: str) -> None:
        stage, trainable = run.stage, policy.trainable
        self.run, self.policy = run, policy
        self.learner = Learner(
            trainable.model, stage.optimizer, stage.sampling.temperature, trainable.compute
        )
        self.objective = Objective(stage.objective)
        self.barren_steps = BarrenSteps()
        self.metrics = MetricsFile(run.folder / "metrics.jsonl")
        self.environment = stage_environment(run, name)
        self.versions = task_versions(self.environment.tasks)
        self.samples = stage_samples(self.environment.tasks, run)
        self.sampler = stage_sampler(stage_pools(self.samples, run), run)

    def train(self) -> None:
        """Runs the steps that are left."""
        done, num_steps = self._restore(), self.run.stage.num_steps
        name, events = self.run.stage.name, self.run.tensorboard
        with ExitStack() as stack:
            progress = stack.enter_context(StageProgress(name, num_steps, done, self.run.quiet))
            curves = None
            if events is not None:
                curves = stack.enter_context(closing(TensorBoard(events, self.metrics.rows())))
            if done:
                progress.note(f"resuming after step {done} of {num_steps}")
            for step in range(done, num_steps):
                row = self._step(step)
                self.metrics.append(row)
                if curves is not None:
                    curves.append(row)
                progress.show(step + 1, step_line(row))
                if warning := alarm(row):
                    progress.note(f"ALARM step {step + 1}: {warning}")
                if _is_due(step, self.run.state_every_steps):
                    self._save(step + 1)

    def _step(self, step: int) -> dict[str, Any]:
        """Runs one step (counted from 0) and returns its metrics."""
        sampling = self.run.stage.sampling
        watch = _Watch()
        rollouts = self.environment.rollouts(
            self._batch(), sampling.group_size, step, require_reward=False
        )
        rollout_times = watch.lap("rollout")
        engine = self.policy.engine
        engine.release()
        torch.set_num_threads(default_threads(engine.num_parameters))
        record = self._record(step)
        if _is_due(step, self.run.keep_batches_every_steps):
            self._save_batch(f"{BATCHES}/step-{step + 1:06d}", record, rollouts)
        try:
            batch, update = self._update(step, rollouts)
        except LongspanError as error:
            record = replace(record, error=str(error))
            raise type(error)(f"{error} [{self._save_failed(record, rollouts)}]") from error
        self.policy.publish(step + 1)
        return {
            **step_metrics(step, rollouts, batch, update),
            **rollout_times,
            **watch.lap("train"),
        }

    def _update(self, step: int, rollouts: Sequence[Rollout]) -> tuple[RolloutBatch, Update]:
        """Learns from a step's rollouts; returns their batch and what was done."""
        if (divergence := self.policy.engine.divergence) is not None:
            raise NonFiniteError(str(divergence))
        batch = stage_batch(rollouts, self.run.stage)
        self.barren_steps.note(step, batch, rollouts)
        return batch, self.learner.update(batch, self.objective, step)

    def _batch(self) -> dict[str, list[Sample]]:
        """Returns the next batch's samples by task."""
        chosen: dict[str, list[Sample]] = defaultdict(list)
        for key in self.sampler.next_batch():
            task, sample = self.samples[key]
            chosen[task].append(sample)
        return dict(chosen)

    def _record(self, step: int) -> StepRecord:
        """Returns what a replay of the step needs besides its rollouts, as it is before it."""
        local = Path(self.run.start)
        return StepRecord(
            step=step + 1,
            stage=self.run.stage,
            model=self.run.model,
            start=str(local.resolve()) if local.exists() else self.run.start,
            seed=self.run.stage_seed,
            objective=self.objective.state_dict(),
        )

    def _save_batch(self, name: str, record: StepRecord, rollouts: Sequence[Rollout]) -> Path:
        """Saves a step's rollouts with the weights before it, which the model still has."""
        place = self.run.folder / name
        before = state_folder(self.run.folder / STATES, record.step - 1)
        save_batch(place, record, rollouts, self.learner.parameters, before)
        return place

    def _save_failed(self, record: StepRecord, rollouts: Sequence[Rollout]) -> str:
        """Saves the batch of a step that was stopped; returns where it is, or why it is not."""
        try:
            place = self._save_batch(f"failed-step-{record.step:06d}", record, rollouts)
        except OSError as error:  # the step's own error is what has to be shown
            return f"its batch could not be saved: {error}"
        return f"batch saved; longspan train --replay {place} shows it"

    def _save(self, step: int) -> None:
        rest = {
            "sampler": self.sampler.state_dict(),
            "objective": self.objective.state_dict(),
            "barren_steps": self.barren_steps.count,
            "metrics_bytes": self.metrics.size,
            "versions": self.versions,
        }
        weights = self.learner.parameters
        moments = optimizer_tensors(self.learner.optimizer, weights)
        save_state(self.run.folder / STATES, TrainingState(step, dict(weights), moments, rest))

    def _restore(self) -> int:
        """Continues from the last state; returns the number of steps done."""
        state = load_state(self.run.folder / STATES)
        if state is None:
            self.metrics.truncate(0)
            return 0
        if state.rest["versions"] != self.versions:
            raise RecipeError(
                f"the tasks have changed since {self.run.folder} was started: {self.versions}, "
                f"then {state.rest['versions']}; restore them or train into another folder"
            )
        self.sampler.load_state_dict(state.rest["sampler"])
        self.objective.load_state_dict(state.rest["objective"])
        self.barren_steps.count = state.rest.get("barren_steps", 0)
        self.learner.load_weights(state.model)
        restore_optimizer(self.learner.optimizer, self.learner.parameters, state.optimizer)
        self.metrics.truncate(state.rest["metrics_bytes"])
        self.policy.publish(state.step)
        return state.step


class _Watch:
    """Wall-clock and CPU seconds of the parts of a step."""

    def __init__(self) -> None:
        self._last = (time.perf_counter(), time.process_time())

    def lap(self, name: str) -> dict[str, float]:
        """Returns the seconds since the last lap, under the name of the part that ended."""
        now = (time.perf_counter(), time.process_time())
        wall, cpu = (round(new - old, 4) for new, old in zip(now, self._last, strict=True))
        self._last = now
        return {f"{name}_seconds": wall, f"{name}_cpu_seconds": cpu}


def _is_due(step: int, every: int) -> bool:
    """Returns whether something that happens every so many steps follows this one (from 0)."""
    return every > 0 and (step + 1) % every == 0
