"""A training recipe: engine-independent, frozen, and refused when it has an unknown key.

A recipe is a list of stages; each takes the checkpoint of the last stage that made one, or of the
one it names. Between them the checkpoints are evaluated. This module knows neither engines nor
models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from longspan.harness.errors import RecipeError
from longspan.harness.files import read_mapping
from longspan.harness.validation import describe_validation
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.settings import Name, RoleModel, Settings
from longspan.trainers.stages import (
    START,
    Evaluation,
    FilterStage,
    MergeStage,
    PolicyStage,
    Stage,
    TaskSource,
    TrainStage,
)


class Recipe(Settings):
    """A whole training run."""

    name: Name
    """Name of the recipe."""

    description: str = ""
    """What it is for, in a sentence."""

    checkpoint: str = Field(min_length=1)
    """The model to start from: a shipped checkpoint, a directory or a hub id."""

    model: ModelSettings = ModelSettings()
    """How the policy is held and computed: device, type, adapters, memory."""

    seed: int = Field(default=0, ge=0)
    """Of batches and sampling."""

    state_every_steps: int = Field(default=1, ge=1)
    """Steps between states to resume from; other steps are repeated after a kill."""

    keep_batches_every_steps: int = Field(default=0, ge=0)
    """Steps between batches kept, with the weights before them, for `--replay`; 0 keeps none."""

    model_roles: dict[str, str | RoleModel] = {}
    """Models by role, e.g. a judge: `grader: openai/...`, or with settings of its own."""

    tasksets: dict[Name, dict[str, Any] | str] = {}
    """Task sets by name: a plan of `longspan synth`, built in the run's folder, or a folder."""

    tasks: tuple[TaskSource, ...] = ()
    """What stages train on that name no tasks of their own."""

    stages: tuple[Stage, ...]
    """In order; without any, the start is evaluated."""

    evaluations: tuple[Evaluation, ...] = ()
    """Of the start and of every checkpoint that a stage makes."""

    evaluation_workers: int = Field(default=0, ge=0, le=64)
    """Processes that evaluate beside the training; 0 evaluates between the stages."""

    board: bool | str | dict[str, Any] = True
    """Whether the evaluations' board is built; or by which declaration: a packaged name, a file, or
    its content."""

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> Recipe:
        seen: dict[str, Stage] = {}
        for stage in self.stages:
            if stage.name in seen or stage.name == START:
                raise ValueError(f"two stages have the name {stage.name!r}; rename one")
            for key, name in _references(stage):
                made = [n for n, s in seen.items() if not isinstance(s, FilterStage)]
                known = (
                    [n for n in seen if n not in made] if key == "samples_of" else [START, *made]
                )
                if name not in known:
                    raise ValueError(
                        f"{key} of stage {stage.name!r} is {name!r}, which is no earlier stage of "
                        f"that kind; name one of {known}"
                    )
            seen[stage.name] = stage
        names = [evaluation.name for evaluation in self.evaluations]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two evaluations have the name {min(twice)!r}; rename one")
        unknown = {n for one in self.evaluations for n in one.skip} - {START, *seen}
        if unknown:
            raise ValueError(f"an evaluation skips {min(unknown)!r}, which is no stage; mend it")
        return self

    @model_validator(mode="after")
    def _tasks_are_there(self) -> Recipe:
        for stage in self.stages:
            if isinstance(stage, PolicyStage) and not self.sources(stage):
                raise ValueError(f"stage {stage.name!r} has no tasks; name some, or the recipe's")
        named = [source.taskset for stage in self.stages for source in self.sources(stage)]
        named += [evaluation.taskset for evaluation in self.evaluations]
        for name in named:
            if name is not None and name not in self.tasksets:
                raise ValueError(
                    f"unknown taskset {name!r}; declare it under tasksets: {sorted(self.tasksets)}"
                )
        return self

    def sources(self, stage: Stage) -> tuple[TaskSource, ...]:
        """Returns where a stage's samples come from: its own, its filter's or the recipe's."""
        if isinstance(stage, MergeStage):
            return ()
        if isinstance(stage, TrainStage) and stage.samples_of is not None:
            return self.sources(next(one for one in self.stages if one.name == stage.samples_of))
        return stage.tasks or self.tasks

    def with_tasks(self, *tasks: TaskSource) -> Recipe:
        """Returns the recipe with every stage training on `tasks` instead."""
        stages = tuple(
            stage.model_copy(update={"tasks": ()}) if isinstance(stage, PolicyStage) else stage
            for stage in self.stages
        )
        return self.model_copy(update={"stages": stages, "tasks": tasks})


def load_recipe(path: Path) -> Recipe:
    """Returns the recipe of a YAML file.

    Raises:
        DataError: the file is missing or not YAML.
        RecipeError: it is not a recipe; the message names the key.
    """
    return parse_recipe(read_mapping(path, "recipe"), str(path))


def parse_recipe(content: Any, origin: str) -> Recipe:
    """Returns the recipe that a mapping describes.

    Args:
        content: what a recipe's YAML holds.
        origin: where it came from, for messages.

    Raises:
        RecipeError: it is not a recipe; the message names the key.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"recipe {origin}: {describe_validation(error)}") from error


def recipe_hash(recipe: Recipe) -> str:
    """Returns a hash of the resolved recipe, a label on checkpoints and logs (12 hex digits)."""
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()[:12]


def _references(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yields the key and the name of every stage that a stage refers to."""
    if isinstance(stage, MergeStage):
        yield from (("models", name) for name in stage.models)
        yield "base", stage.base
        return
    if stage.start_from is not None:
        yield "start_from", stage.start_from
    if isinstance(stage, TrainStage) and stage.samples_of is not None:
        yield "samples_of", stage.samples_of
