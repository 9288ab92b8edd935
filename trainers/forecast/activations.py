"""What a training forward leaves behind for its backward, in bytes.

Counted per token and layer over the tensors that autograd keeps in the layers of transformers
(5.15), with an attention that never holds the matrix of all pairs (flash kernels, FlexAttention,
`sdpa`). Tests compare the counts with what autograd really keeps.

Symbols: H hidden size, Q and K elements of a token's queries and keys, M inner size, k experts of a
token and E in all, of size e; c bytes of matrix products, r of what layers hand on.
"""

from __future__ import annotations

from dataclasses import dataclass

from longspan.harness.errors import ModelError
from longspan.trainers.forecast.architecture import Architecture

_ROUTING_BYTES = 33
"""Per token and expert: four indices of 8 bytes and a mask."""


@dataclass(frozen=True)
class Precision:
    """In what types a training forward is computed.

    Attributes:
        compute: bytes of an element of matrix products (c).
        residual: bytes of an element that layers hand on (r).
        is_autocast: whether float32 weights are cast for every product.
        rank: of adapters over frozen weights; 0 trains all weights.
    """

    compute: int
    residual: int
    is_autocast: bool = False
    rank: int = 0


FLOAT32 = Precision(4, 4)
BFLOAT16 = Precision(2, 2)
AUTOCAST = Precision(2, 4, is_autocast=True)


@dataclass(frozen=True)
class Activations:
    """Bytes of a forward's activations."""

    kept: int
    """From the forward to the backward."""
    again: int
    """Of the largest layer, which is computed again in the backward; 0 where all are kept."""


def activations(
    model: Architecture, precision: Precision, num_tokens: int, checkpointing: bool
) -> Activations:
    """Returns what a forward over so many tokens keeps, and what its backward computes again.

    With checkpointing every layer keeps its input, r H per token, and one layer at a time is
    computed again. Copies that autocast makes of weights are alive while their layers are.

    Raises:
        ModelError: adapters on a model with experts, which is not counted here.
    """
    num_dense = model.num_layers - model.num_expert_layers
    layers = [
        (_outer_bytes(model, precision) + _inner_bytes(model, precision, has_experts), count)
        for has_experts, count in ((False, num_dense), (True, model.num_expert_layers))
        if count
    ]
    # Of all layers together: the last norm, and positions with their sines and cosines.
    last = _norm_bytes(model, precision) // 2 + 2 * model.head_size * precision.residual + 8
    copies = 2 * model.cast_parameters if precision.is_autocast else 0
    if not checkpointing:
        kept = num_tokens * (sum(one * count for one, count in layers) + last) + copies
        return Activations(kept, 0)
    inputs = model.num_layers * precision.residual * model.hidden_size
    again = num_tokens * max(one for one, _ in layers) + copies // model.num_layers
    return Activations(num_tokens * (inputs + last), again)


def _norm_bytes(model: Architecture, precision: Precision) -> int:
    """Returns the bytes of a layer's two RMS norms: a float32 input, a factor, what it scales."""
    scaled = 0 if precision.rank else precision.residual * model.hidden_size
    return 2 * (4 * model.hidden_size + 4 + scaled)


def _outer_bytes(model: Architecture, precision: Precision) -> int:
    """Returns the bytes of norms and attention, and of what the projections take."""
    c, queries, keys = precision.compute, model.query_size, model.key_size
    total = _norm_bytes(model, precision) + 2 * c * (queries + keys) + 4 * model.num_heads
    if model.has_query_norm:
        scaled = 0 if precision.rank else c
        total += (4 + scaled) * (queries + keys) + 4 * (model.num_heads + model.num_key_heads)
    if not precision.rank:
        # A cast input is another tensor for each of the three projections.
        return total + (3 if precision.is_autocast else 1) * c * model.hidden_size
    total += 4 * 4 * precision.rank
    return total + (4 * (3 * model.hidden_size + queries) if c < 4 else 4 * model.hidden_size)


def _inner_bytes(model: Architecture, precision: Precision, has_experts: bool) -> int:
    """Returns the bytes of a layer's inner part, dense or of a token's experts."""
    c, hidden, inner = precision.compute, model.hidden_size, model.inner_size
    if not has_experts and not precision.rank:
        return (2 if precision.is_autocast else 1) * c * hidden + 4 * c * inner
    if not has_experts:
        inputs = 2 * hidden if c < 4 else hidden
        return 4 * (inputs + inner + 3 * precision.rank) + 3 * c * inner
    if precision.rank:
        raise ModelError(
            f"forecasts do not know adapters on experts: {model.name} has {model.num_experts}; "
            "leave out model.lora"
        )
    # Grouped products are not among those that autocast casts.
    width = 4 if precision.is_autocast else c
    per_expert = width * (2 * hidden + 4 * model.expert_size) + _ROUTING_BYTES + c
    return c * hidden + model.experts_per_token * per_expert + 4 * model.num_experts
