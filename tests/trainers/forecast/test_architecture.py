"""Sizes computed from a config.json are those of the models that transformers builds of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from longspan.harness.errors import ModelError
from longspan.harness.files import read_mapping
from longspan.trainers.forecast.architecture import (
    ARCHITECTURES,
    architecture_of,
    find_architecture,
)
from longspan.trainers.local.checkpoint import load_checkpoint
from longspan.trainers.local.lora import Adapters
from longspan.trainers.model_settings import LoraSettings
from tests.trainers.forecast.models import CONFIGS, config_of, model_of

PAPER = "Qwen/Qwen3-30B-A3B-Thinking-2507"
SMALL = "Qwen/Qwen3-4B-Thinking-2507"


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_built_model(name: str) -> None:
    config = config_of(name)
    built = sum(one.numel() for one in model_of(config).parameters())
    assert architecture_of(config, name).num_parameters == built


@pytest.mark.parametrize("path", sorted(ARCHITECTURES.glob("*.yaml")), ids=lambda path: path.stem)
def test_declared_models_have_the_parameters_of_the_model_on_the_meta_device(path: Path) -> None:
    declared = read_mapping(path, "architecture")
    name = declared.pop("checkpoints")[0]
    config = AutoConfig.for_model(**declared)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    sizes = find_architecture(name)
    assert sizes.num_parameters == sum(one.numel() for one in built.parameters())
    assert sizes.window == 262_144


def test_the_papers_models_have_their_published_sizes() -> None:
    paper, small = find_architecture(PAPER), find_architecture(SMALL)
    assert f"{paper.num_parameters / 1e9:.1f}" == "30.5"
    assert 3.3e9 <= paper.active_parameters < 3.4e9
    assert (paper.num_layers, paper.num_expert_layers) == (48, 48)
    assert f"{small.num_parameters / 1e9:.1f}" == "4.0"
    assert f"{(small.num_parameters - small.output_parameters) / 1e9:.1f}" == "3.6"
    assert small.active_parameters == small.num_parameters


def test_a_token_of_the_papers_model_has_96_kib_of_keys_and_values() -> None:
    # 48 layers, keys and values, 4 heads of 128 elements of 2 bytes
    assert find_architecture(PAPER).cache_bytes(2) == 48 * 2 * 4 * 128 * 2 == 96 * 1024


@pytest.mark.parametrize("name", ["llama", "qwen3", "qwen3_moe"])
def test_keys_and_values_are_those_of_a_real_cache(name: str) -> None:
    model = model_of(config_of(name))
    with torch.no_grad():
        cache = model(torch.arange(40)[None], use_cache=True).past_key_values
    held = sum(one.nbytes for layer in cache.layers for one in (layer.keys, layer.values))
    assert architecture_of(model.config, name).cache_bytes(4) * 40 == held


@pytest.mark.parametrize("name", ["llama", "qwen3", "qwen3_moe"])
def test_operations_are_those_that_torch_counts(name: str) -> None:
    num_tokens = 128
    # torch counts plain products, not those of fused kernels
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = model_of(config_of(name, **plain))
    ids = torch.randint(0, 96, (1, num_tokens))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.base_model(ids, use_cache=False)
    # every token's product with all keys, masked or not
    computed = num_tokens * architecture_of(model.config, name).forward_flops(num_tokens)
    assert computed == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_adapters_are_those_that_peft_adds(name: str) -> None:
    model = model_of(config_of(name))
    Adapters(model, LoraSettings(rank=4, alpha=8), 0)
    added = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert architecture_of(model.config, name).adapter_parameters(4) == added


def test_a_packaged_checkpoint_and_a_folder_are_found(tmp_path: Path) -> None:
    nano = find_architecture("nano")
    folder = load_checkpoint(Path(str(ARCHITECTURES.parent / "checkpoints" / "nano")))
    assert nano.num_parameters == sum(one.numel() for one in folder.model.parameters())
    config_of("qwen3").save_pretrained(tmp_path)
    assert find_architecture(str(tmp_path)).num_layers == 3


def test_what_a_config_leaves_out_is_transformers_default(tmp_path: Path) -> None:
    content = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = find_architecture(str(tmp_path))
    assert (found.num_key_heads, found.head_size, found.num_layers) == (4, 16, 32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not known here: it is no folder with a config.json"),
        ("{", "cannot read .*config.json"),
        ('{"model_type": "mamba"}', "llama, .*qwen3_moe: .* is mamba"),
    ],
)
def test_what_is_not_known_is_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        find_architecture(str(tmp_path))
    assert "\n" not in str(caught.value)
