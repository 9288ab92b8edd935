"""How the forwards of a training step are computed: type, and what the backward finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from longspan.harness.errors import ModelError


@dataclass(frozen=True)
class Compute:
    """Of the training forward.

    Attributes:
        autocast: type of the matrix products; None is that of the weights.
        checkpointing: whether a layer keeps its input only and is computed again in the backward.
    """

    autocast: torch.dtype | None = None
    checkpointing: bool = False

    @contextmanager
    def forward(self, model: Any) -> Iterator[None]:
        """Computes the model's forwards inside the block this way."""
        layers = _layers(model) if self.checkpointing and torch.is_grad_enabled() else []
        kind = model.device.type
        # Layers compute again only in training mode. They alone are switched, not what is in them:
        # dropout stays off.
        for layer in layers:
            layer.training = layer.gradient_checkpointing = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        try:
            with torch.autocast(kind, self.autocast, enabled=self.autocast is not None):
                yield
        finally:
            for layer in layers:
                layer.training = layer.gradient_checkpointing = False

    def check(self, model: Any) -> None:
        """Makes sure that the model's layers can be computed again.

        Raises:
            ModelError: they cannot, or not without dropout.
        """
        if not self.checkpointing:
            return
        layers = _layers(model)
        if not layers:
            reason = "has no layers that transformers can compute again"
        elif any(
            isinstance(getattr(one, "dropout", None), float) and one.dropout for one in layers
        ):
            reason = "has dropout in its layers, which would not stay off"
        else:
            return
        raise ModelError(
            f"gradient_checkpointing: {type(model).__name__} {reason}; set it to false and lower "
            "micro_batch_tokens"
        )


def _layers(model: Any) -> list[Any]:
    return [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
