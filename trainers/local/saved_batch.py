"""The batch of one training step on disk, with what is needed to compute the step again.

    rollouts.jsonl       the rollouts, one JSON object per line
    step.json            step, stage, seed, start checkpoint, the objective's state before the step,
                         and what stopped the step, if it was stopped
    model.safetensors    the weights before the step

The folder appears whole or not at all. Where a state holds the same weights, they are a hard link
to it and take no room while the state is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from longspan.harness.errors import DataError
from longspan.harness.files import read_text
from longspan.harness.rollout import Rollout, read_rollouts, write_rollouts
from longspan.trainers.local.state import MODEL_FILE, folder_written_whole, save_weights
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.stages import TrainStage

ROLLOUTS_FILE = "rollouts.jsonl"
STEP_FILE = "step.json"


@dataclass(frozen=True)
class StepRecord:
    """What a step was, besides its rollouts and the weights before it.

    Attributes:
        step: counted from 1, as in the metrics.
        stage: settings.
        model: device, type and adapters of the policy.
        start: checkpoint that the stage started from.
        seed: of the stage.
        objective: state of the objective before the step.
        error: what stopped the step; None where it was taken.
    """

    step: int
    stage: TrainStage
    model: ModelSettings
    start: str
    seed: int
    objective: dict[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class SavedBatch:
    """A step's rollouts and record, read back."""

    folder: Path
    record: StepRecord
    rollouts: list[Rollout]

    @property
    def has_weights(self) -> bool:
        """Whether the weights before the step are there."""
        return (self.folder / MODEL_FILE).is_file()

    def weights(self) -> dict[str, Tensor]:
        """Returns the weights before the step.

        Raises:
            DataError: they are not readable.
        """
        path = self.folder / MODEL_FILE
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise DataError(f"cannot read {path} ({error}); remove it to replay without") from error


def save_batch(
    folder: Path,
    record: StepRecord,
    rollouts: Sequence[Rollout],
    weights: dict[str, Tensor],
    state: Path,
) -> None:
    """Writes a batch into `folder`.

    Args:
        folder: appears, or is replaced, once all is there.
        record: what the step was.
        rollouts: of the step.
        weights: before the step.
        state: folder of the state before the step, if there is one.
    """
    settings = {name: getattr(record, name).model_dump(mode="json") for name in ("stage", "model")}
    content = {**asdict(record), **settings}
    with folder_written_whole(folder) as partial:
        write_rollouts(partial / ROLLOUTS_FILE, rollouts)
        (partial / STEP_FILE).write_text(
            json.dumps({"longspan": version("longspan"), **content}, indent=2) + "\n",
            encoding="utf-8",
        )
        try:
            os.link(state / MODEL_FILE, partial / MODEL_FILE)
        except OSError:  # no such state, or a file system without links
            save_weights(partial, weights)


def read_batch(path: Path) -> SavedBatch:
    """Returns the batch of a folder, or of a file in it.

    Raises:
        DataError: it is not there, or not a saved batch.
    """
    folder = path if path.is_dir() else path.parent
    for name in (ROLLOUTS_FILE, STEP_FILE):
        if not (folder / name).is_file():
            raise DataError(
                f"no {name} in {folder}; give a folder of a saved batch: failed-step-<number>, or "
                "batches/step-<number> of a run with keep_batches_every_steps"
            )
    try:
        content = json.loads(read_text(folder / STEP_FILE))
        del content["longspan"]
        stage = TrainStage.model_validate(content.pop("stage"))
        model = ModelSettings.model_validate(content.pop("model"))
        record = StepRecord(stage=stage, model=model, **content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DataError(
            f"{folder / STEP_FILE} is no record of a step: {error}; it was damaged, or written by "
            "another version of longspan"
        ) from error
    return SavedBatch(folder, record, read_rollouts(folder / ROLLOUTS_FILE))
