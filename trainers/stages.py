"""Stages of a recipe: RL, filtering by difficulty, merging; and the evaluations between them.

This module knows neither engines nor models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from longspan.trainers.merge import WEIGHT_FLOOR
from longspan.trainers.settings import (
    Name,
    ObjectiveSettings,
    OptimizerSettings,
    RolloutSettings,
    SamplingSettings,
    Settings,
)

START = "start"
"""What stages call the checkpoint that the recipe starts from."""


class TaskSource(Settings):
    """Samples to train on: a task with its arguments, or a task set of the recipe."""

    task: str | None = Field(default=None, min_length=1)
    """A registered task, e.g. `longspan/niah`, or one of a file, `my_tasks.py@my_task`."""

    taskset: Name | None = None
    """Name of a task set that the recipe declares; its train split. A `task` that is named as well
    is what reads it, in place of `longspan/taskset`: it gets its `path` and `split`."""

    args: dict[str, Any] = {}
    """Arguments of the task, as `-T name=value` of `inspect eval`."""

    reward_key: str | None = None
    """Which score is the reward, for tasks with several."""

    @model_validator(mode="after")
    def _names_one(self) -> TaskSource:
        if self.task is None and self.taskset is None:
            raise ValueError("a source names neither a task nor a taskset; name one")
        return self


class PolicyStage(Settings):
    """What stages that generate with a policy have in common."""

    name: Name
    """Name of the stage and of its folder."""

    start_from: Name | None = None
    """Stage whose checkpoint this one takes, or `start`; none is the last one before it."""

    tasks: tuple[TaskSource, ...] = ()
    """Where samples come from; none is the recipe's own, or the filter's."""

    solver: str | None = None
    """Registered solver in place of every task's own, e.g. `longspan/memory_agent`."""

    solver_args: dict[str, Any] = {}
    """Arguments of the solver."""

    sampling: RolloutSettings
    """How rollouts are generated."""


class TrainStage(PolicyStage):
    """One stage of RL."""

    kind: Literal["train"] = "train"
    """What the stage does."""

    samples_of: Name | None = None
    """Train on the samples that this filter stage kept, of the tasks that it measured."""

    num_steps: int = Field(ge=1)
    """Updates; one per batch."""

    sampling: SamplingSettings
    """Batches and generation."""

    objective: ObjectiveSettings = ObjectiveSettings()
    """Advantages, masks, loss."""

    optimizer: OptimizerSettings
    """Learning rate and what goes with it."""

    @model_validator(mode="after")
    def _has_one_source(self) -> TrainStage:
        if self.samples_of is not None and self.tasks:
            raise ValueError(
                f"stage {self.name!r} names tasks and samples_of {self.samples_of!r}, which has "
                "tasks of its own; remove one"
            )
        return self


class FilterStage(PolicyStage):
    """Measures how hard every sample is for a checkpoint and keeps some (section 4).

    A sample's difficulty is the mean reward of its rollouts, taken at the lengths of the stage that
    will train on what is kept.
    """

    kind: Literal["filter"]
    """What the stage does."""

    lowest: float = Field(default=0.0, ge=0, le=1)
    """Samples with a lower mean reward are dropped."""

    highest: float = Field(default=1.0, ge=0, le=1)
    """Samples with a higher mean reward are dropped."""

    num_samples: int | None = Field(default=None, ge=1)
    """Keep so many of the rest, drawn evenly from the bins; none keeps all."""

    num_bins: int = Field(default=1, ge=1)
    """Uniform bins of the mean reward over [0, 1] that samples are drawn evenly from."""

    @model_validator(mode="after")
    def _drops_some(self) -> FilterStage:
        if self.lowest > self.highest:
            raise ValueError(
                f"lowest must not exceed highest: got {self.lowest} > {self.highest}; swap them"
            )
        if (self.lowest, self.highest, self.num_samples) == (0, 1, None):
            raise ValueError("keeps every sample; set lowest, highest or num_samples")
        return self


class MergeStage(Settings):
    """Merges checkpoints of earlier stages by SCE."""

    kind: Literal["merge"]
    """What the stage does."""

    name: Name
    """Name of the stage and of its folder."""

    models: tuple[Name, ...] = Field(min_length=1)
    """Stages whose checkpoints are merged."""

    base: Name = START
    """Stage whose checkpoint differences are taken to, or `start`."""

    density: float = Field(default=1.0, ge=0, le=1)
    """Share of elements that is kept: those in which the models vary most."""

    weight_floor: float = Field(default=WEIGHT_FLOOR, ge=0)
    """Sum of mean squared differences below which all models weigh alike."""


def _kind(stage: Any) -> str:
    if isinstance(stage, dict):
        return str(stage.get("kind", "train"))
    return str(getattr(stage, "kind", "none"))


Stage = Annotated[
    Annotated[TrainStage, Tag("train")]
    | Annotated[FilterStage, Tag("filter")]
    | Annotated[MergeStage, Tag("merge")],
    Discriminator(
        _kind,
        custom_error_type="stage_kind",
        custom_error_message="must be a mapping whose kind is train, filter or merge",
    ),
]
"""A stage of a recipe, told apart by its `kind`."""


class Evaluation(Settings):
    """An evaluation of the start and of every checkpoint that a stage makes."""

    name: Name
    """Folder of its logs."""

    task: str | None = Field(default=None, min_length=1)
    """Registered task, task of a file (`my_tasks.py@my_task`), folder of a task set, or suite."""

    taskset: Name | None = None
    """Task set that the recipe declares; its test split."""

    args: dict[str, Any] = {}
    """Arguments of the task."""

    solver: str | None = None
    """Solver in place of the task's own."""

    solver_args: dict[str, Any] = {}
    """Arguments of the solver."""

    temperature: float | None = Field(default=None, ge=0)
    """Sampling temperature; none is the suite's, or 0.7."""

    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus; none is the suite's, or 0.95."""

    max_output_tokens: int | None = Field(default=None, ge=1)
    """Limit on sampled tokens per model call."""

    epochs: int | None = Field(default=None, ge=1)
    """Attempts per sample; none is the suite's, or 1."""

    limit: int | None = Field(default=None, ge=1)
    """Only the first samples."""

    input_over_window: float | None = Field(default=None, gt=0)
    """Label: length of the inputs in windows."""

    skip: tuple[Name, ...] = ()
    """Stages (or `start`) whose checkpoints it leaves out."""

    @model_validator(mode="after")
    def _names_one(self) -> Evaluation:
        if (self.task is None) == (self.taskset is None):
            raise ValueError(
                f"an evaluation names a task or a taskset: got {self.task!r} and "
                f"{self.taskset!r}; name one of them"
            )
        return self
