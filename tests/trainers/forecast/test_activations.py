"""What a forward keeps for its backward is what autograd really keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from longspan.harness.errors import ModelError
from longspan.trainers.forecast.activations import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    Precision,
    activations,
)
from longspan.trainers.forecast.architecture import architecture_of
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.lora import Adapters
from longspan.trainers.model_settings import LoraSettings
from tests.trainers.forecast.models import config_of, model_of

NUM_TOKENS = 384
FULL = (FLOAT32, BFLOAT16, AUTOCAST)
ADAPTED = (replace(FLOAT32, rank=4), replace(BFLOAT16, rank=4))
CASES = [
    (name, one) for name in ("llama", "qwen2", "qwen3", "qwen3_moe", "mixtral") for one in FULL
]
CASES += [("qwen3_moe, every second layer", BFLOAT16)]
CASES += [(name, one) for name in ("llama", "qwen3") for one in ADAPTED]


def autograd_keeps(name: str, precision: Precision, checkpointing: bool, layers: int = 3) -> int:
    """Returns the bytes of all tensors, weights left out, that a real forward saves."""
    dtype = torch.bfloat16 if precision.residual == 2 else torch.float32
    model = model_of(config_of(name, num_hidden_layers=layers), dtype)
    if precision.rank:
        Adapters(model, LoraSettings(rank=precision.rank, alpha=8), 0)
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    found: dict[int, tuple[int, Any]] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:  # held, so that no other takes its place
            found[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    compute = Compute(torch.bfloat16 if precision.is_autocast else None, checkpointing)
    ids = torch.randint(0, 96, (1, NUM_TOKENS))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda one: one), compute.forward(model):
        model.base_model(ids, use_cache=False)
    return sum(size for size, _ in found.values())


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_all_activations_are_those_that_autograd_keeps(name: str, precision: Precision) -> None:
    sizes = architecture_of(config_of(name), name)
    computed = activations(sizes, precision, NUM_TOKENS, checkpointing=False)
    assert computed.again == 0
    # Below adapters the very first norm needs no gradient and keeps nothing.
    tolerance = 0.02 if precision.rank else 0.01
    assert computed.kept == pytest.approx(autograd_keeps(name, precision, False), rel=tolerance)


@pytest.mark.parametrize(
    ("name", "precision"),
    [("llama", FLOAT32), ("qwen3", BFLOAT16), ("qwen3_moe", BFLOAT16), ("qwen3", ADAPTED[1])],
)
def test_with_checkpointing_inputs_are_kept_and_one_layer_is_computed_again(
    name: str, precision: Precision
) -> None:
    inputs = autograd_keeps(name, precision, True)
    layer = autograd_keeps(name, precision, False, 2) - autograd_keeps(name, precision, False, 1)
    positions = NUM_TOKENS * 2 * 32 * precision.residual  # sine and cosine, handed to every layer
    sizes = architecture_of(config_of(name), name)
    computed = activations(sizes, precision, NUM_TOKENS, checkpointing=True)
    assert computed.kept == pytest.approx(inputs + positions, rel=0.03)
    assert computed.again == pytest.approx(layer, rel=1e-4)  # the experts' offsets are of no token


def test_a_layer_of_the_dense_model_by_hand() -> None:
    # Llama in bfloat16, H 64, Q 128, K 64, M 160, 4 heads; per token and layer:
    norms = 2 * (4 * 64 + 4 + 2 * 64)  # float32 input, factor, scaled input
    attention = 2 * 64 + 2 * (128 + 64 + 64 + 128) + 4 * 4  # input; q, k, v, output; a float a head
    inner = 2 * 64 + 4 * 2 * 160  # input; gate, its silu, up, product
    ends = 4 * 64 + 4 + 2 * 64 + 2 * 32 * 2 + 8  # last norm; sine, cosine and position
    sizes = architecture_of(config_of("llama"), "llama")
    assert activations(sizes, BFLOAT16, 1, False).kept == 3 * (norms + attention + inner) + ends


def test_adapters_on_experts_are_refused() -> None:
    sizes = architecture_of(config_of("qwen3_moe"), "mine")
    with pytest.raises(ModelError, match="adapters on experts: mine has 8; leave out model.lora"):
        activations(sizes, ADAPTED[0], 10, False)
