"""CPU MODE: receives weights in a worker of vLLM's CPU build.

vLLM imports this module in its worker processes, before a model is loaded.
"""

from __future__ import annotations

from typing import Any

import torch
import vllm.model_executor.layers.utils as layers
from torch import Tensor

from longspan.trainers.openrlhf.cpu import weight_group


def _dispatch_plain(layer: Any, remove_weight: bool) -> None:
    """Gives a linear layer torch's own product.

    The CPU build packs weights when they are loaded and cannot load others afterwards.
    """
    layer.cpu_linear = torch.nn.functional.linear


layers.dispatch_cpu_unquantized_gemm = _dispatch_plain


class CpuWorker:
    """OpenRLHF's worker extension without CUDA; vLLM mixes it into its worker."""

    def init_process_group(
        self,
        master_address: str,
        master_port: int,
        rank_offset: int,
        world_size: int,
        group_name: str,
        backend: str = "gloo",
        use_ray: bool = False,
    ) -> None:
        """Joins the group over which weights come."""
        rank = torch.distributed.get_rank() + rank_offset
        self._weights = weight_group(master_address, master_port, rank, world_size, None)

    def update_weight(
        self: Any, name: str, dtype: torch.dtype, shape: Any, empty_cache: bool = False
    ) -> None:
        """Receives a weight and loads it into the model."""
        weight: Tensor = torch.empty(shape, dtype=dtype)
        self._weights.broadcast(weight, src=0)
        self.model_runner.model.load_weights(weights=[(name, weight)])
