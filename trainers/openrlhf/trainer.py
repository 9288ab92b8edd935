"""OpenRLHF's controller: balanced batches, whole rollouts, the objective's state in checkpoints.

Steps, update, weight transfer and checkpoints are OpenRLHF's own; what it draws, weighs and records
is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call

from longspan.harness.files import written_whole
from longspan.harness.rollout import Rollout
from longspan.trainers.local.stage import stage_sampler
from longspan.trainers.metrics import MetricsFile
from longspan.trainers.openrlhf.contract import plain
from longspan.trainers.openrlhf.experience_maker import ExperienceMaker
from longspan.trainers.openrlhf.run_file import WHOLE_STATE, RunFile, read_run
from longspan.trainers.openrlhf.step_batch import StepBatch
from longspan.trainers.update import BarrenSteps, step_metrics

STATE = "longspan"
"""Key of our state among OpenRLHF's in a checkpoint."""


class Batches:
    """A stage's batches of sample keys, in the place of OpenRLHF's prompt loader."""

    def __init__(self, run: RunFile) -> None:
        sampling = run.stage.sampling
        self._num_steps, self._batch_size = run.stage.num_steps, sampling.batch_size
        self._sampler = stage_sampler(run.pools, run.stage_run())
        self.num_drawn = 0

    def __len__(self) -> int:
        return self._num_steps * self._batch_size

    @property
    def is_exhausted(self) -> bool:
        """Whether every step has had its batch."""
        return self.num_drawn >= self._num_steps

    def next_batch(self) -> list[str]:
        """Returns the keys of the next batch, and moves on."""
        self.num_drawn += 1
        return self._sampler.next_batch()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as JSON values."""
        return {"num_drawn": self.num_drawn, "sampler": self._sampler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state_dict` returned.

        Raises:
            RecipeError: the state is of other samples, another batch size or seed.
        """
        self.num_drawn = int(state["num_drawn"])
        self._sampler.load_state_dict(state["sampler"])


class RolloutGenerator(ppo_trainer.SamplesGenerator):  # type: ignore[misc]
    """Makes a step's rollouts: groups are dealt out over the engines."""

    seconds = 0.0
    """That the last step's rollouts took."""

    def generate_samples(self, **generate_kwargs: Any) -> tuple[list[Rollout], None, int, bool]:
        """Returns rollouts, no filter rate, the number of samples, and whether it was the last."""
        batches: Batches = self.prompts_dataloader
        if batches.is_exhausted:
            return [], None, 0, True
        started, step = time.perf_counter(), batches.num_drawn
        keys = batches.next_batch()
        if self.args.vllm.enable_sleep:
            batch_vllm_engine_call(self.vllm_engines, "wake_up")
        num_engines = len(self.vllm_engines)
        refs = [
            engine.rollouts.remote(keys[number::num_engines], step)
            for number, engine in enumerate(self.vllm_engines[: len(keys)])
        ]
        rollouts = [one for found in ray.get(refs) for one in found]
        if self.args.vllm.enable_sleep:
            batch_vllm_engine_call(self.vllm_engines, "sleep")
        self.seconds = time.perf_counter() - started
        return rollouts, None, len(keys), batches.is_exhausted


class Trainer(plain(ppo_trainer.PPOTrainer)):  # type: ignore[misc]
    """A stage under way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See OpenRLHF's class for the arguments."""
        self._run = read_run()
        self._metrics = MetricsFile(self._run.folder / "metrics.jsonl")
        self._barren_steps = BarrenSteps()
        self._row: dict[str, Any] = {}
        # The base class takes its parts by these names.
        ppo_trainer.prepare_datasets = self._prepare_batches
        ppo_trainer.SamplesGenerator = RolloutGenerator
        ppo_trainer.RemoteExperienceMaker = ExperienceMaker
        super().__init__(*args, **kwargs)

    def train_step(
        self, rollout_samples: Sequence[Rollout], global_step: int
    ) -> tuple[dict[str, Any], int]:
        """Learns from a step's rollouts; returns the status and the number of steps done.

        Without any advantage there is nothing to learn: weights and moments stay as they are.

        Raises:
            ModelError: step after step no rollout takes part.
            DataError: a reward is not finite.
        """
        started = time.perf_counter()
        ray.get(self.actor_model_group.async_run_method(method_name="begin_step", step=global_step))
        step: StepBatch = self.experience_maker.weigh(rollout_samples)
        self._barren_steps.note(global_step, step.batch, rollout_samples)
        status: dict[str, Any] = {}
        if step.parts:
            status, _ = super().train_step(step, global_step)
        update = step.update(
            loss=status.get("longspan/loss", 0.0),
            gradient_norm=status.get("longspan/gradient_norm", 0.0),
            learning_rate=self._run.stage.optimizer.rate_of(global_step),
        )
        self._row = {
            **step_metrics(global_step, rollout_samples, step.batch, update),
            "rollout_seconds": round(self.samples_generator.seconds, 4),
            "train_seconds": round(time.perf_counter() - started, 4),
            **{name: round(seconds, 4) for name, seconds in step.seconds.items()},
            "transfer_seconds": round(status.get("timing/broadcast", 0.0), 4),
        }
        return status, global_step + 1

    def save_logs_and_checkpoints(
        self, global_step: int, logs_dict: Any = None, client_states: Any = None
    ) -> None:
        """Writes the step's metrics, and with a checkpoint the state of objective and sampler."""
        self._metrics.append(self._row)
        state = {
            "objective": self.experience_maker.objective.state_dict(),
            "barren_steps": self._barren_steps.count,
            "metrics_bytes": self._metrics.size,
        }
        super().save_logs_and_checkpoints(
            global_step, logs_dict, {**(client_states or {}), STATE: state}
        )
        states = Path(self.args.ckpt.path) / "_actor"
        tag = f"global_step{global_step}"
        if (states / tag).is_dir():  # by now of all processes
            with written_whole(states / WHOLE_STATE) as partial:
                partial.write_text(tag, encoding="utf-8")

    def init_checkpoint_states(self) -> dict[str, Any]:
        """Returns where to continue; a run that was killed before its first state starts over."""
        states: dict[str, Any] = super().init_checkpoint_states()
        state = states.get(STATE)
        if state is None:
            self._metrics.truncate(0)
            return {
                "episode": 0,
                "global_step": 0,
                "total_consumed_prompts": 0,
                "data_loader_state_dict": {},
            }
        self.experience_maker.objective.load_state_dict(state["objective"])
        self._barren_steps.count = state["barren_steps"]
        self._metrics.truncate(state["metrics_bytes"])
        return states

    def _prepare_batches(self, strategy: Any, tokenizer: Any) -> tuple[Batches, None, int]:
        """Returns training batches, no evaluation data, and the number of steps."""
        return Batches(self._run), None, self._run.stage.num_steps
