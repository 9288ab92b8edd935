"""States of a training run on disk: whole or not there, so that a kill at any moment loses a step.

A state is a folder `step-NNNNNN` with the model's and the optimizer's tensors (safetensors) and the
rest as JSON; it is written beside its place, flushed, and renamed. Nothing is pickled. Random
numbers need no state: all of them are drawn from seeds that follow from recipe and step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from longspan.harness.errors import DataError

KEPT_STATES = 2
"""The last one, and the one before it should the last turn out damaged."""

MODEL_FILE = "model.safetensors"
"""Name of the weights in the folder of a state."""

_OPTIMIZER, _REST = "optimizer.safetensors", "state.json"
_PREFIX = "step-"
_UNREADABLE = (OSError, ValueError, KeyError, SafetensorError)


@dataclass(frozen=True)
class TrainingState:
    """Everything that a run continues from.

    Attributes:
        step: steps done.
        model: weights by name.
        optimizer: moments by "<moment>/<name of the weight>".
        rest: JSON values: sampler, objective, length of the metrics file.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    rest: dict[str, Any]


def save_state(folder: Path, state: TrainingState) -> None:
    """Writes a state into `folder` and deletes all but the last `KEPT_STATES`."""
    with folder_written_whole(state_folder(folder, state.step)) as partial:
        save_weights(partial, state.model)
        save_file(_contiguous(state.optimizer), partial / _OPTIMIZER)
        (partial / _REST).write_text(
            json.dumps({"step": state.step, **state.rest}, sort_keys=True), encoding="utf-8"
        )
    for old in _states(folder)[KEPT_STATES:]:
        shutil.rmtree(old)


def state_folder(folder: Path, step: int) -> Path:
    """Returns where the state after `step` steps lies, if it is kept."""
    return folder / f"{_PREFIX}{step:06d}"


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes a model's weights into a folder as a state holds them."""
    save_file(_contiguous(weights), folder / MODEL_FILE)


@contextmanager
def folder_written_whole(place: Path) -> Iterator[Path]:
    """Gives a folder to write files into, which appears as `place`, flushed, once all are there.

    One that is there already is replaced: a step that a kill made a run repeat, or what is damaged.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    yield partial
    for path in [*partial.iterdir(), partial]:
        _flush(path)
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
    _flush(place.parent)


def load_state(folder: Path) -> TrainingState | None:
    """Returns the last whole state in `folder`, None where there is none.

    What a kill left half-written is removed; a damaged state is passed over.

    Raises:
        DataError: there are states, and none is readable.
    """
    for left in folder.glob(f".{_PREFIX}*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    places = _states(folder)
    problem = ""
    for place in places:
        try:
            rest = json.loads((place / _REST).read_text(encoding="utf-8"))
            model, optimizer = load_file(place / MODEL_FILE), load_file(place / _OPTIMIZER)
            return TrainingState(int(rest.pop("step")), model, optimizer, rest)
        except _UNREADABLE as error:
            problem = f"{place.name}: {error}"
    if problem:
        raise DataError(
            f"no readable state in {folder} ({problem}); delete it to start the stage over"
        )
    return None


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns an optimizer's moments by "<moment>/<name of the weight>"."""
    return {
        f"{moment}/{name}": tensor
        for name, parameter in parameters.items()
        for moment, tensor in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
) -> None:
    """Puts moments from `optimizer_tensors` back."""
    for key, tensor in tensors.items():
        moment, name = key.split("/", 1)
        # The step counter stays on the CPU, as AdamW keeps it.
        device = tensor.device if moment == "step" else parameters[name].device
        optimizer.state[parameters[name]][moment] = tensor.to(device)


def _states(folder: Path) -> list[Path]:
    """Returns the state folders, the last first."""
    return sorted(folder.glob(f"{_PREFIX}*"), reverse=True)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
