"""Small models of every type that forecasts know."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama, tied": {"model_type": "llama", "tie_word_embeddings": True},
    "llama, biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral"},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3"},
    "qwen3, biases": {"model_type": "qwen3", "attention_bias": True},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {"model_type": "qwen3_moe", **EXPERTS},
    "qwen3_moe, every second layer": {
        "model_type": "qwen3_moe",
        **EXPERTS,
        "decoder_sparse_step": 2,
        "mlp_only_layers": [0],
    },
}


def config_of(name: str, **changes: Any) -> Any:
    """Returns the configuration of that name."""
    return AutoConfig.for_model(
        **{"attn_implementation": "sdpa", **SIZES, **CONFIGS[name], **changes}
    )


def model_of(config: Any, dtype: torch.dtype = torch.float32) -> Any:
    """Returns a random model."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
