"""The policy of a stage: a model that is trained, and an engine that samples from it.

Both are the same module, unless all weights are trained with forwards in bfloat16: then the weights
are float32 and the engine samples from a bfloat16 copy, which follows after every update.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from longspan.trainers.local.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    resolve_place,
    save_checkpoint,
)
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.engine import Engine
from longspan.trainers.local.lora import Adapters
from longspan.trainers.local.output import check_training_forward
from longspan.trainers.model_settings import ModelSettings

ADAPTER = "adapter"
"""Folder, beside the checkpoint, of adapters alone."""


@dataclass(frozen=True)
class Trainable:
    """A model whose parameters that require gradients are trained.

    Attributes:
        model: Hugging Face causal language model.
        tokenizer: its tokenizer.
        compute: how its training forwards are computed.
        adapters: where not all weights are trained.
    """

    model: Any
    tokenizer: Any
    compute: Compute
    adapters: Adapters | None = None

    def save(self, directory: Path) -> None:
        """Writes the checkpoint; adapters are written beside it, added to the weights, and gone."""
        if self.adapters is None:
            save_checkpoint(directory, self.model, self.tokenizer)
            return
        self.adapters.save(directory.parent / ADAPTER)
        save_checkpoint(directory, self.adapters.merge(), self.tokenizer)


class Policy:
    """What is trained and what samples."""

    def __init__(self, trainable: Trainable, max_batch_rows: int | None = None) -> None:
        """Makes the engine over a model, or over a copy in the type of its forwards."""
        self.trainable = trainable
        model, dtype = trainable.model, trainable.compute.autocast
        if dtype is not None:
            model = copy.deepcopy(model).to(dtype).requires_grad_(False)
        self.engine = Engine(model, trainable.tokenizer, max_batch_rows=max_batch_rows)

    @torch.no_grad()
    def publish(self, version: int) -> None:
        """Makes the engine sample from the weights as they are now.

        Args:
            version: number of updates that they have behind them.
        """
        trained = self.trainable.model
        if self.engine.model is not trained:
            copies = self.engine.model.state_dict()
            for name, tensor in trained.state_dict().items():
                copies[name].copy_(tensor)
        self.engine.policy_version = version


def load_trainable(source: str, settings: ModelSettings, seed: int) -> Trainable:
    """Returns the model of a checkpoint, ready to be trained.

    Args:
        source: packaged name, folder or Hub id.
        settings: device, type, adapters, memory.
        seed: of the adapters' random halves.

    Raises:
        ModelError: the checkpoint, the device or the adapters cannot be used, or the model
            cannot be trained.
    """
    source = find_checkpoint(source)
    device, dtype = resolve_place(settings.device, settings.dtype)
    if settings.lora is None:
        loaded = load_checkpoint(source, device, "float32")
        autocast = torch.bfloat16 if dtype == "bfloat16" else None
        compute, adapters = Compute(autocast, settings.gradient_checkpointing), None
    else:  # frozen weights need no more precision than the forwards have
        loaded = load_checkpoint(source, device, dtype)
        compute = Compute(None, settings.gradient_checkpointing)
        adapters = Adapters(loaded.model, settings.lora, seed)
    compute.check(loaded.model)
    check_training_forward(loaded.model)
    return Trainable(loaded.model, loaded.tokenizer, compute, adapters)


def sampling_engine(source: str, settings: ModelSettings) -> Engine:
    """Returns an engine over a checkpoint that is not trained.

    Raises:
        ModelError: the checkpoint or the device cannot be used.
    """
    return Engine.load(
        find_checkpoint(source),
        device=settings.device,
        dtype=settings.dtype,
        max_batch_rows=settings.max_batch_rows,
    )
