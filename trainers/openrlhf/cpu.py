"""CPU MODE, for tests and laptops: what stands in for CUDA so that the real stack runs without it.

OpenRLHF, DeepSpeed and vLLM's CPU build do their own work; only calls that need a GPU are replaced:

- flash-attn, which OpenRLHF imports and, without packing, never calls;
- `torch.cuda.current_device` and its like;
- the group over which weights reach vLLM: NCCL there, vLLM's own store here;
- DeepSpeed's compiled Adam, which would be built first: torch's.

Nothing here runs unless the cluster says `device: cpu`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WORKER_EXTENSION = "longspan.trainers.openrlhf.cpu_worker.CpuWorker"
"""What vLLM mixes into its workers."""

ENVIRONMENT: Mapping[str, str] = {
    "DS_ACCELERATOR": "cpu",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""Environment variables of every process; the cache of keys and values has 1 GiB."""

_FLASH_ATTENTION = {
    "flash_attn": (),
    "flash_attn.bert_padding": ("index_first_axis", "pad_input", "rearrange", "unpad_input"),
    "flash_attn.utils": (),
    "flash_attn.utils.distributed": ("all_gather",),
}
"""Modules of flash-attn that OpenRLHF imports, with the names that it takes from them."""


class Cpu(str):
    """The device "cpu" that reads as number 0 in "cuda:{device}"."""

    def __format__(self, spec: str) -> str:
        return "0"


def stand_in() -> None:
    """Puts modules in the place of flash-attn; Ray calls it in every new process."""
    if "flash_attn" in sys.modules:
        return
    for name, functions in _FLASH_ATTENTION.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        for function in functions:
            setattr(module, function, _unavailable(f"{name}.{function}"))
        sys.modules[name] = module


def adapt_training() -> None:
    """Changes what OpenRLHF's training process calls; in that process, before it is set up."""
    torch: Any = importlib.import_module("torch")
    torch.cuda.current_device = lambda: Cpu("cpu")
    for name in ("set_device", "synchronize", "empty_cache", "current_stream"):
        setattr(torch.cuda, name, _nothing)
    ppo_actor: Any = importlib.import_module("openrlhf.trainer.ray.ppo_actor")
    ppo_actor.stateless_init_process_group = weight_group
    deepspeed: Any = importlib.import_module("openrlhf.utils.deepspeed.deepspeed")
    make_mesh, make_config = deepspeed.init_device_mesh, deepspeed.get_train_ds_config

    def cpu_mesh(device: str, *args: Any, **kwargs: Any) -> Any:
        return make_mesh("cpu", *args, **kwargs)

    def torch_adam(*args: Any, optim_config: Any = None, **kwargs: Any) -> Any:
        if optim_config is not None:
            optim_config["params"]["torch_adam"] = True
        return make_config(*args, optim_config=optim_config, **kwargs)

    deepspeed.init_device_mesh, deepspeed.get_train_ds_config = cpu_mesh, torch_adam


def weight_group(
    master_address: str, master_port: int, rank: int, world_size: int, device: Any
) -> WeightGroup:
    """Returns the group over which weights reach vLLM, in place of NCCL's."""
    utils: Any = importlib.import_module("vllm.distributed.utils")
    return WeightGroup(
        utils.StatelessProcessGroup.create(
            host=master_address, port=master_port, rank=rank, world_size=world_size
        )
    )


class WeightGroup:
    """Broadcasts tensors over vLLM's key-value store."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def broadcast(self, tensor: Any, src: int, stream: Any = None) -> None:
        """Sends the tensor from rank `src`; the others' is overwritten."""
        is_source = self._group.rank == src
        found = self._group.broadcast_obj(tensor.detach() if is_source else None, src)
        if not is_source:
            tensor.copy_(found)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Does nothing, in the place of a call that waits for a GPU."""


def _unavailable(name: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{name} is not there on a CPU; set attention to eager or sdpa")

    return call
