"""What every process of a stage's run reads: one JSON file, named by an environment variable.

A run has many processes (driver, controller, training processes, engines), which Ray may start on
other machines; the stage's folder is on a file system that all of them see.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from longspan.harness.errors import DataError
from longspan.harness.files import read_text, written_whole
from longspan.trainers.local.stage import StageRun
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.openrlhf.cluster import ClusterSettings
from longspan.trainers.settings import RoleModel, Settings
from longspan.trainers.stages import TaskSource, TrainStage

RUN_VARIABLE = "LONGSPAN_OPENRLHF_RUN"
"""Environment variable with the path of the file."""
WHOLE_STATE = "whole"
"""File among DeepSpeed's states with the name of the last one that all processes have written."""


class RunFile(Settings):
    """A stage's run."""

    stage: TrainStage
    """What to do."""

    folder: Path
    """Of the stage."""

    working_directory: Path
    """Where `longspan train` runs: relative paths of tasks are meant from there."""

    model: ModelSettings
    """How the policy is computed."""

    start: Path
    """Folder of the checkpoint that it starts from."""

    window: int
    """Tokens of prompt and response together."""

    sources: tuple[TaskSource, ...]
    """Where samples come from."""

    kept: tuple[str, ...] | None
    """Keys of the samples that take part; none is all."""

    pools: dict[str, tuple[str, ...]]
    """Keys of the samples to draw from, by task type."""

    versions: dict[str, str]
    """Version of every task."""

    seed: int
    """Of the recipe."""

    model_roles: dict[str, str | RoleModel]
    """Models by role, e.g. a judge."""

    cluster: ClusterSettings
    """The machines."""

    def stage_run(self) -> StageRun[TrainStage]:
        """Returns the stage as the embedded engine's parts take it."""
        return StageRun(
            stage=self.stage,
            folder=self.folder,
            start=str(self.start),
            sources=self.sources,
            model=self.model,
            kept=None if self.kept is None else frozenset(self.kept),
            seed=self.seed,
            model_roles=self.model_roles,
        )


def write_run(path: Path, run: RunFile) -> None:
    """Writes the file; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        # Not pydantic's own JSON, in which what is infinite would be null.
        content = json.dumps(run.model_dump(mode="json"), indent=1)
        partial.write_text(content + "\n", encoding="utf-8")


def read_run(path: Path | None = None) -> RunFile:
    """Returns the run of a file, or of the one that the environment names.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = path or Path(os.environ.get(RUN_VARIABLE, ""))
    if not path.is_file():
        raise DataError(
            f"no run file at {str(path)!r} ({RUN_VARIABLE}); start runs with longspan train, in a "
            "folder that every machine of the cluster sees"
        )
    try:
        return RunFile.model_validate_json(read_text(path))
    except ValidationError as error:
        raise DataError(f"damaged: {path}; remove it and run the same command again") from error
