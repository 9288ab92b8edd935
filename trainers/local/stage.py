"""What stages that generate with a policy need: its engine, its environment, its samples."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, Model, get_model

from longspan.harness.environment import Environment, named_tasks
from longspan.harness.errors import RecipeError
from longspan.harness.resolve import (
    registered_task,
    resolve_model,
    resolve_solver,
    with_settings,
)
from longspan.harness.rollout import Rollout
from longspan.trainers.batch import RolloutBatch, build_batch
from longspan.trainers.local.provider import PolicyEngine, register_policy, unregister_policy
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.sampler import BalancedSampler
from longspan.trainers.settings import RoleModel
from longspan.trainers.stages import PolicyStage, TaskSource, TrainStage

StageT = TypeVar("StageT", bound=PolicyStage)


@dataclass(frozen=True)
class StageRun(Generic[StageT]):
    """Where and from what a stage runs.

    Attributes:
        stage: what to do.
        folder: for metrics, states and the checkpoint.
        start: checkpoint to start from: a packaged name, a folder or a Hub id.
        sources: where samples come from; task sets stand in them as tasks.
        model: device, type and adapters of the policy.
        kept: keys (see `sample_key`) of the samples that take part, None for all.
        seed: of the recipe.
        state_every_steps: steps between states.
        keep_batches_every_steps: steps between batches that are kept for a replay; 0 keeps none.
        model_roles: models by role, e.g. a judge.
        tensorboard: folder for TensorBoard events; None writes none.
        quiet: shows nothing.
    """

    stage: StageT
    folder: Path
    start: str
    sources: tuple[TaskSource, ...] = ()
    model: ModelSettings = ModelSettings()
    kept: frozenset[str] | None = None
    seed: int = 0
    state_every_steps: int = 1
    keep_batches_every_steps: int = 0
    model_roles: Mapping[str, str | RoleModel] = field(default_factory=dict)
    tensorboard: Path | None = None
    quiet: bool = False

    @property
    def stage_seed(self) -> int:
        """Seed of this stage: stages of one recipe draw different batches."""
        digest = hashlib.blake2b(f"{self.seed}/{self.stage.name}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") >> 1

    @property
    def checkpoint(self) -> Path:
        """Where the trained checkpoint appears when the stage is done."""
        return self.folder / "checkpoint"


@contextmanager
def registered(engine: PolicyEngine, stage: str) -> Iterator[str]:
    """Yields the name that Inspect knows the engine of a stage's policy by, inside the block."""
    name = f"{stage}-{id(engine)}"
    register_policy(name, engine)
    try:
        yield name
    finally:
        unregister_policy(name)


def stage_tasks(run: StageRun[StageT]) -> dict[str, Task]:
    """Returns the tasks of a stage by the names that its environment gives them.

    Raises:
        RecipeError: a task has no scorer.
        SpecError: an unknown task, or arguments that it does not take.
        DataError: a task's data cannot be used.
    """
    return named_tasks([_source_task(source) for source in run.sources])


def stage_environment(run: StageRun[StageT], policy: str) -> Environment:
    """Returns the environment of a stage over the policy of that name.

    Raises:
        RecipeError: a task has no scorer.
        SpecError: an unknown task or solver, or arguments that it does not take.
        DataError: a task's data cannot be used.
    """
    tasks = [_source_task(source) for source in run.sources]
    keys = {
        task.name: source.reward_key
        for task, source in zip(tasks, run.sources, strict=True)
        if source.reward_key is not None
    }
    stage = run.stage
    return Environment(
        tasks,
        get_model(f"longspan-rl/{policy}", memoize=False),
        solver=None if stage.solver is None else resolve_solver(stage.solver, stage.solver_args),
        model_roles={role: _role_model(model) for role, model in run.model_roles.items()},
        generation=stage.sampling.generation(run.stage_seed),
        reward_keys=keys,
    )


def stage_samples(
    tasks: Mapping[str, Task], run: StageRun[StageT]
) -> dict[str, tuple[str, Sample]]:
    """Returns the samples that take part by key, with the name of their task.

    Raises:
        RecipeError: none does.
    """
    limit = run.stage.sampling.max_input_tokens
    found, num_long = {}, 0
    for name, task in tasks.items():
        for sample in task.dataset:
            key = sample_key(name, sample.id)
            if run.kept is not None and key not in run.kept:
                continue
            length = (sample.metadata or {}).get("input_tokens")
            if limit is not None and length is not None and length > limit:
                num_long += 1
                continue
            found[key] = (name, sample)
    if not found and num_long:
        raise RecipeError(
            f"no sample has at most {limit} input tokens; raise max_input_tokens or train on "
            "shorter samples"
        )
    if not found:
        raise RecipeError(
            f"stage {run.stage.name} has no samples: the filter kept none of these tasks; widen "
            "its bounds"
        )
    return found


def _source_task(source: TaskSource) -> Task:
    return registered_task(source.task or "", **source.args)


def _role_model(model: str | RoleModel) -> Model | str:
    if isinstance(model, str):
        return resolve_model(model)
    own = model.model_dump(include={"max_connections", "temperature", "max_tokens"})
    # A fixed limit, where one is set, instead of Inspect's own search for one.
    adaptive = None if model.max_connections is None else False
    settings = GenerateConfig(**own, adaptive_connections=adaptive)
    return with_settings(resolve_model(model.model, **model.args), settings)


def stage_pools(
    samples: Mapping[str, tuple[str, Sample]], run: StageRun[TrainStage]
) -> dict[str, list[str]]:
    """Returns the keys of samples by task type; samples without one count by their task."""
    pools: dict[str, list[str]] = defaultdict(list)
    for key, (task, sample) in samples.items():
        kind = (sample.metadata or {}).get("task_type") or task
        pools[kind if run.stage.sampling.balanced else "all"].append(key)
    return dict(pools)


def stage_sampler(pools: Mapping[str, Iterable[str]], run: StageRun[TrainStage]) -> BalancedSampler:
    """Returns a sampler over pools of keys.

    Raises:
        RecipeError: they hold too few samples.
    """
    sampling = run.stage.sampling
    return BalancedSampler(pools, sampling.batch_size, run.stage_seed, sampling.short_types)


def stage_batch(rollouts: Iterable[Rollout], stage: TrainStage) -> RolloutBatch:
    """Returns the batch that a stage's update makes of a step's rollouts.

    Raises:
        DataError: a reward is not finite, or a scored rollout has no recorded call.
    """
    return build_batch(
        rollouts,
        train_on_cut_off=stage.sampling.train_on_cut_off,
        merge_identical=stage.objective.ratio_clip is None,
    )


def sample_key(task: str, sample_id: object) -> str:
    """Returns what names a sample among all tasks of a stage."""
    return f"{task}\t{sample_id}"


def task_versions(tasks: Mapping[str, Task]) -> dict[str, str]:
    """Returns the version of every task, which tells whether its data have changed."""
    return {name: str(task.version) for name, task in tasks.items()}
