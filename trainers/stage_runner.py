"""Runs the stages of a recipe in order and knows which checkpoint each one made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from longspan.trainers.recipe import Recipe
from longspan.trainers.stages import (
    START,
    FilterStage,
    MergeStage,
    Stage,
    TaskSource,
    TrainStage,
)

TENSORBOARD = "tensorboard"
"""Folder of the stages' TensorBoard events, in a run's."""


class StageRunner:
    """The stages of a run under way; finished ones return at once."""

    def __init__(
        self,
        out: Path,
        recipe: Recipe,
        tasksets: Mapping[str, Path],
        tensorboard: bool = False,
        quiet: bool = False,
        train_stage: Callable[[Any], Path] | None = None,
    ) -> None:
        """Prepares to run.

        Args:
            out: folder of the run.
            recipe: resolved recipe.
            tasksets: folders of the task sets that the recipe declares.
            tensorboard: whether stages write TensorBoard events, to OUT/tensorboard/<stage>.
            quiet: shows nothing.
            train_stage: of another engine; None is the embedded one's.
        """
        self._train_stage = train_stage
        self._out, self._recipe, self._tasksets = out, recipe, tasksets
        self._tensorboard, self._quiet = tensorboard, quiet
        self._checkpoints = {START: recipe.checkpoint}
        self._steps = {START: 0}
        self._kept: dict[str, frozenset[str]] = {}
        self._last = START

    @property
    def last(self) -> Path | None:
        """The last checkpoint that a stage made."""
        return None if self._last == START else Path(self._checkpoints[self._last])

    @property
    def num_steps(self) -> int:
        """Updates that the last checkpoint has behind it; of a merge, those of its models' most."""
        return self._steps[self._last]

    def run(self, stage: Stage) -> Path | None:
        """Runs a stage and returns its checkpoint; None where it makes none.

        Raises:
            LongspanError: the stage cannot be run, or stopped.
        """
        if isinstance(stage, MergeStage):
            return self._merge(stage)
        # Loads torch and transformers, which a wrong recipe or folder should not have to wait for.
        from longspan.trainers.local.filter import filter_stage
        from longspan.trainers.local.trainer import train_stage

        if isinstance(stage, FilterStage):
            self._kept[stage.name] = filter_stage(self._stage_run(stage))
            return None
        before = stage.start_from or self._last
        steps = self._steps[before] + stage.num_steps
        train = self._train_stage or train_stage
        return self._made(stage, train(self._stage_run(stage)), steps)

    def _stage_run(self, stage: TrainStage | FilterStage) -> Any:
        from longspan.trainers.local.stage import StageRun

        kept = None
        if isinstance(stage, TrainStage) and stage.samples_of is not None:
            kept = self._kept[stage.samples_of]
        return StageRun(
            stage=stage,
            folder=self._folder(stage),
            start=self._checkpoints[stage.start_from or self._last],
            sources=tuple(map(self._source, self._recipe.sources(stage))),
            model=self._recipe.model,
            kept=kept,
            seed=self._recipe.seed,
            state_every_steps=self._recipe.state_every_steps,
            keep_batches_every_steps=self._recipe.keep_batches_every_steps,
            model_roles=self._recipe.model_roles,
            tensorboard=self._out / TENSORBOARD / stage.name if self._tensorboard else None,
            quiet=self._quiet,
        )

    def _source(self, source: TaskSource) -> TaskSource:
        """Returns a source with the folder of the task set that it names."""
        if source.taskset is None:
            return source
        args = {"path": str(self._tasksets[source.taskset]), "split": "train", **source.args}
        return source.model_copy(
            update={"task": source.task or "longspan/taskset", "taskset": None, "args": args}
        )

    def _merge(self, stage: MergeStage) -> Path:
        from longspan.trainers.merge_files import merge_checkpoints

        place = self._folder(stage) / "checkpoint"
        if not place.exists():
            merge_checkpoints(
                [self._checkpoints[name] for name in stage.models],
                base=self._checkpoints[stage.base],
                out=place,
                density=stage.density,
                weight_floor=stage.weight_floor,
            )
        return self._made(stage, place, max(self._steps[name] for name in stage.models))

    def _folder(self, stage: Stage) -> Path:
        return self._out / "stages" / stage.name

    def _made(self, stage: Stage, checkpoint: Path, num_steps: int) -> Path:
        self._checkpoints[stage.name] = str(checkpoint)
        self._steps[stage.name] = num_steps
        self._last = stage.name
        return checkpoint
