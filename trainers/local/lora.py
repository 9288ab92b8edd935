"""Low-rank adapters through peft, in the model itself, so that the engine samples with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from longspan.harness.errors import ModelError, one_line
from longspan.trainers.model_settings import LoraSettings


class Adapters:
    """The adapters of a model; its other weights are frozen."""

    def __init__(self, model: Any, settings: LoraSettings, seed: int) -> None:
        """Puts adapters into `model`; at first they change nothing.

        Args:
            model: Hugging Face causal language model.
            settings: rank, scale, layers.
            seed: of their random halves.

        Raises:
            ModelError: peft is not installed, or the model has no such layers.
        """
        try:
            # Heavy, and an extra.
            from peft import LoraConfig, get_peft_model
        except ImportError as error:
            raise ModelError("lora needs the package peft; pip install 'longspan[lora]'") from error
        targets = settings.target_modules
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]  # used as a factor only
            lora_dropout=0.0,
            target_modules=targets if isinstance(targets, str) else list(targets),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self._adapted = get_peft_model(model, config)
            except ValueError as error:  # no layer has such a name
                reason = one_line(str(error), 200).rstrip(".")
                raise ModelError(f"lora.target_modules {targets}: {reason}; name others") from error
        self._adapted.eval()

    def save(self, folder: Path) -> None:
        """Writes the adapters alone, as peft loads them."""
        self._adapted.save_pretrained(str(folder))

    def merge(self) -> Any:
        """Adds the adapters to the weights and returns the plain model; they are gone then."""
        return self._adapted.merge_and_unload()
