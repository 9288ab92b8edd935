"""A model's sizes from its config.json: parameters, keys and values, activations, operations.

Knows decoders of the Llama kind, dense or with experts, as transformers computes them. Sliding
windows are counted as full attention, so that what needs memory is rather over- than understated.
Nothing is loaded: a folder with a config.json is enough, and the models of the shipped recipes are
declared in `trainers/architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig

import longspan.trainers
from longspan.harness.errors import ModelError, one_line
from longspan.harness.files import read_mapping
from longspan.harness.reading import READING_KEY

ARCHITECTURES = Path(longspan.trainers.__file__).parent / "architectures"
"""Folder of declared models."""
CHECKPOINTS = Path(longspan.trainers.__file__).parent / "checkpoints"
"""Folder of the packaged checkpoints."""


class _Family(NamedTuple):
    """What a type of model has beyond Llama's layers."""

    has_query_norm: bool = False
    """RMS norms of queries and keys."""
    num_experts: str | None = None
    """Key of the number of experts."""
    expert_size: str = "moe_intermediate_size"
    """Key of an expert's inner size."""


_FAMILIES = {
    "llama": _Family(),
    "mistral": _Family(),
    "mixtral": _Family(num_experts="num_local_experts", expert_size="intermediate_size"),
    "qwen2": _Family(),
    "qwen3": _Family(has_query_norm=True),
    "qwen3_moe": _Family(has_query_norm=True, num_experts="num_experts"),
}


@dataclass(frozen=True)
class Architecture:
    """Sizes of a decoder.

    Attributes:
        name: of the checkpoint.
        num_layers: of the model.
        num_expert_layers: of them, with experts in the place of one inner layer.
        hidden_size: H.
        num_heads: of queries.
        num_key_heads: of keys and values.
        head_size: D.
        inner_size: of a layer without experts.
        num_experts: per layer with experts.
        experts_per_token: that a token is sent to.
        expert_size: inner size of an expert.
        vocabulary: V.
        is_tied: whether the output matrix is the embedding.
        has_query_norm: whether queries and keys are normalised.
        num_biases: elements of all biases of a layer.
        window: tokens of prompt and response together.
        layout: of memory turns, where the checkpoint declares it (`harness.reading`).
    """

    name: str
    num_layers: int
    num_expert_layers: int
    hidden_size: int
    num_heads: int
    num_key_heads: int
    head_size: int
    inner_size: int
    num_experts: int
    experts_per_token: int
    expert_size: int
    vocabulary: int
    is_tied: bool
    has_query_norm: bool
    num_biases: int
    window: int
    layout: str | None = None

    @property
    def num_parameters(self) -> int:
        """All parameters."""
        embeddings = self.vocabulary * self.hidden_size * (1 if self.is_tied else 2)
        dense = self.num_layers - self.num_expert_layers
        layers = self.num_layers * (self.attention_parameters + self._norm_parameters)
        layers += dense * self._inner_parameters + self.num_layers * self.num_biases
        layers += self.num_expert_layers * (self._router_parameters + self._expert_parameters)
        return embeddings + layers + self.hidden_size

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: those of all layers, but of the experts only its own."""
        idle = self.num_experts - self.experts_per_token
        unused = self.num_expert_layers * idle * 3 * self.hidden_size * self.expert_size
        return self.num_parameters - unused

    @property
    def output_parameters(self) -> int:
        """Elements of the output matrix."""
        return self.vocabulary * self.hidden_size

    @property
    def attention_parameters(self) -> int:
        """Weights of a layer's four projections."""
        return 2 * self.hidden_size * (self.query_size + self.key_size)

    @property
    def query_size(self) -> int:
        """Elements of a token's queries in a layer."""
        return self.num_heads * self.head_size

    @property
    def key_size(self) -> int:
        """Elements of a token's keys in a layer, and of its values."""
        return self.num_key_heads * self.head_size

    @property
    def cast_parameters(self) -> int:
        """Weights of all layers that autocast casts: those of linear layers, not experts."""
        dense = self.num_layers - self.num_expert_layers
        total = self.num_layers * self.attention_parameters + dense * self._inner_parameters
        return total + self.num_expert_layers * self._router_parameters

    @property
    def largest_layer(self) -> int:
        """Weights of the largest layer."""
        inner = self._expert_parameters if self.num_expert_layers else self._inner_parameters
        return self.attention_parameters + inner

    @property
    def _inner_parameters(self) -> int:
        return 3 * self.hidden_size * self.inner_size

    @property
    def _expert_parameters(self) -> int:
        return self.num_experts * 3 * self.hidden_size * self.expert_size

    @property
    def _router_parameters(self) -> int:
        return self.num_experts * self.hidden_size

    @property
    def _norm_parameters(self) -> int:
        return 2 * self.hidden_size + 2 * self.head_size * self.has_query_norm

    def adapter_parameters(self, rank: int) -> int:
        """Returns the elements of low-rank adapters on all linear layers but the output's.

        A linear layer from n to m has rank * (n + m). Adapters on experts are not counted.
        """
        attention = 2 * (2 * self.hidden_size + self.query_size + self.key_size)
        dense = self.num_layers - self.num_expert_layers
        inner = 3 * (self.hidden_size + self.inner_size)
        return rank * (self.num_layers * attention + dense * inner)

    def cache_bytes(self, width: int) -> int:
        """Returns the bytes of one token's keys and values in all layers, `width` per element."""
        return 2 * self.num_layers * self.key_size * width

    def forward_flops(self, context: float) -> float:
        """Returns the operations of one token in all layers, that attends to `context` tokens.

        2 per weight that it meets, and 4 per head element and attended token (scores, values).
        The output layer is not among them.
        """
        lookups = self.output_parameters * (1 if self.is_tied else 2)
        attention = 4 * self.num_layers * self.query_size * context
        return 2 * (self.active_parameters - lookups) + attention


def find_architecture(source: str) -> Architecture:
    """Returns the sizes of a packaged checkpoint, a checkpoint folder, or a declared model.

    Raises:
        ModelError: there is no config.json and no declaration, or its type is not known here.
    """
    for folder in (CHECKPOINTS / source, Path(source)):
        if (folder / "config.json").is_file():
            return read_architecture(folder, source)
    for path in sorted(ARCHITECTURES.glob("*.yaml")):
        declared = read_mapping(path, "architecture")
        if source in declared.pop("checkpoints"):
            return architecture_of(AutoConfig.for_model(**declared), source)
    raise ModelError(
        f"the sizes of {source} are not known here: it is no folder with a config.json and not "
        f"declared in {ARCHITECTURES}; give a folder with --checkpoint (its config.json is enough)"
    )


def read_architecture(folder: Path, name: str) -> Architecture:
    """Returns the sizes that a folder's config.json says.

    Raises:
        ModelError: it cannot be read, or its type is not known here.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = one_line(str(error), 200)
        raise ModelError(f"cannot read {folder}/config.json: {reason}; mend the file") from error
    return architecture_of(config, name)


def architecture_of(config: Any, name: str) -> Architecture:
    """Returns the sizes of a transformers configuration.

    Raises:
        ModelError: its type is not known here.
    """
    family = _FAMILIES.get(config.model_type)
    if family is None:
        raise ModelError(
            f"forecasts know models of the types {', '.join(_FAMILIES)}: {name} is "
            f"{config.model_type}; run a few steps and read the memory instead"
        )
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    num_experts = getattr(config, family.num_experts) if family.num_experts else 0
    reading = getattr(config, READING_KEY, None)
    return Architecture(
        name=name,
        num_layers=config.num_hidden_layers,
        num_expert_layers=_num_expert_layers(config) if num_experts else 0,
        hidden_size=config.hidden_size,
        num_heads=heads,
        num_key_heads=key_heads,
        head_size=head_size,
        inner_size=config.intermediate_size,
        num_experts=num_experts,
        experts_per_token=config.num_experts_per_tok if num_experts else 0,
        expert_size=getattr(config, family.expert_size) if num_experts else 0,
        vocabulary=config.vocab_size,
        is_tied=bool(config.tie_word_embeddings),
        has_query_norm=family.has_query_norm,
        num_biases=_num_biases(config, heads * head_size, key_heads * head_size),
        window=config.max_position_embeddings,
        layout=reading.get("layout") if isinstance(reading, Mapping) else None,
    )


def _num_expert_layers(config: Any) -> int:
    """Returns how many layers have experts; in models that mix both kinds not all do."""
    step, dense = getattr(config, "decoder_sparse_step", 1), getattr(config, "mlp_only_layers", ())
    layers = range(config.num_hidden_layers)
    return sum(layer not in (dense or ()) and (layer + 1) % step == 0 for layer in layers)


def _num_biases(config: Any, queries: int, keys: int) -> int:
    """Returns the elements of a layer's biases."""
    inner = 2 * config.intermediate_size + config.hidden_size
    count = inner if getattr(config, "mlp_bias", False) else 0
    if config.model_type == "qwen2":  # always has those of queries, keys and values
        return count + queries + 2 * keys
    has_bias = getattr(config, "attention_bias", False)
    return count + (queries + 2 * keys + config.hidden_size if has_bias else 0)
