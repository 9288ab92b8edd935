"""The machines of a distributed run: how many GPUs train and sample, and how they are used.

It belongs to no recipe: the same recipe runs on one GPU and on a cluster. This module knows neither
OpenRLHF nor models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

import longspan.trainers
from longspan.harness.errors import RecipeError
from longspan.harness.files import read_mapping
from longspan.harness.validation import describe_validation
from longspan.trainers.settings import Settings

CLUSTERS = Path(longspan.trainers.__file__).parent / "clusters"
"""Folder of the shipped descriptions."""


class ClusterSettings(Settings):
    """GPUs of the training processes and of the vLLM engines."""

    device: Literal["gpu", "cpu"] = "gpu"
    """`cpu` runs the whole stack without a GPU, slowly: for tests and laptops. What counts as GPUs
    below are then processes."""

    num_nodes: int = Field(default=1, ge=1)
    """Machines that train."""

    gpus_per_node: int = Field(default=1, ge=1)
    """GPUs of each that train."""

    rollout_engines: int = Field(default=1, ge=1)
    """vLLM engines."""

    gpus_per_engine: int = Field(default=1, ge=1)
    """GPUs of one engine (tensor parallel)."""

    colocate: bool = True
    """Training and engines take turns on the same GPUs; otherwise each has its own."""

    zero_stage: Literal[1, 2, 3] = 2
    """What DeepSpeed spreads over the training GPUs: moments; gradients, too; weights, too."""

    offload_optimizer: bool = False
    """Keep the moments in main memory and update there."""

    attention: Literal["flash_attention_2", "sdpa", "eager"] = "sdpa"
    """Implementation of attention in training."""

    engine_memory_share: float = Field(default=0.6, gt=0, lt=1)
    """Share of a GPU's memory that an engine takes for weights and keys and values."""

    max_window_tokens: int | None = Field(default=None, ge=2)
    """Tokens of prompt and response at most; none is the model's own window. Engines need room for
    the keys and values of one such sequence."""

    @property
    def num_ranks(self) -> int:
        """Training processes."""
        return self.num_nodes * self.gpus_per_node

    @property
    def num_gpus(self) -> int:
        """GPUs that a run needs."""
        engines = self.rollout_engines * self.gpus_per_engine
        return self.num_ranks if self.colocate else self.num_ranks + engines

    @model_validator(mode="after")
    def _fits_together(self) -> ClusterSettings:
        engines = self.rollout_engines * self.gpus_per_engine
        if self.colocate and self.device == "cpu":
            raise ValueError("colocate must be false on cpu: there is no GPU to take turns on")
        if self.colocate and engines != self.num_ranks:
            raise ValueError(
                f"colocate needs as many GPUs that train as engines have: got {self.num_ranks} and "
                f"{engines}; change rollout_engines or gpus_per_engine, or set colocate to false"
            )
        return self


def load_cluster(name: str) -> ClusterSettings:
    """Returns the description of a file, or of a shipped name.

    Raises:
        DataError: the file is missing or not YAML.
        RecipeError: no such name, or the description is wrong.
    """
    path = Path(name)
    if not path.suffix and not path.is_file():
        path = CLUSTERS / f"{name}.yaml"
        if not path.is_file():
            shipped = ", ".join(sorted(one.stem for one in CLUSTERS.glob("*.yaml")))
            raise RecipeError(f"no cluster {name!r}; give a YAML file or one of: {shipped}")
    try:
        return ClusterSettings.model_validate(read_mapping(path, "cluster"))
    except ValidationError as error:
        raise RecipeError(f"cluster {path}: {describe_validation(error)}") from error
