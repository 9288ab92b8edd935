"""How the policy of a recipe is held and computed: device, type, memory, adapters.

Frozen, with unknown keys refused. This module knows neither engines nor models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from longspan.trainers.settings import Settings

Dtype = Literal["auto", "float32", "bfloat16"]
"""Type of a policy's arithmetic."""


class LoraSettings(Settings):
    """Low-rank adapters (peft) in place of training all weights; without dropout.

    Dropout would make the policy that is trained another one than the policy that sampled.
    """

    rank: int = Field(default=32, ge=1)
    """Rank of the adapters."""

    alpha: float = Field(default=64.0, gt=0)
    """Adapters are scaled by alpha / rank."""

    target_modules: Literal["all-linear"] | tuple[Annotated[str, Field(min_length=1)], ...] = (
        "all-linear"
    )
    """Names of the layers that get one, e.g. [q_proj, v_proj]; never the output layer."""


class ModelSettings(Settings):
    """Of every stage's policy in the embedded engine, and of the evaluations between stages."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """cpu, cuda, cuda:1, ...; auto is cuda where there is one."""

    dtype: Dtype = "auto"
    """Of forwards and rollouts; auto is float32 on a CPU, else bfloat16. Weights that are trained
    are float32 in any case, or small updates would be lost; what samples then is a copy."""

    lora: LoraSettings | None = None
    """Train adapters; none trains all weights."""

    gradient_checkpointing: bool = False
    """Keep one activation per layer and compute the rest again in the backward."""

    max_batch_rows: int | None = Field(default=None, ge=1)
    """Rollouts decoded together at most; none is 64, or what the cache has room for."""

    def provider_arguments(self) -> dict[str, Any]:
        """Returns the arguments of `longspan-local` that evaluate a checkpoint the same way."""
        given = self.model_dump(include={"device", "dtype", "max_batch_rows"})
        return {name: value for name, value in given.items() if value is not None}
