"""Two ways to run a causal language model over a `GroupedCache`, with the same results.

`LlamaDecoder` walks the weights of Llama-like models (Llama, SmolLM2, Mistral, Qwen2, Qwen3) with
few operations per layer: for small models the modules' own overhead costs more than the arithmetic.
`ModuleDecoder` runs any model of transformers whose attention goes through its attention interface.
`choose_decoder` takes the first whose logits agree with the model's plain forward, so a new or
unusual architecture is never decoded wrongly.

Shapes: R rows, T prompt tokens, H query heads, K key heads, D head dimension, V vocabulary.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.masking_utils import sdpa_mask

from longspan.harness.errors import ModelError
from longspan.trainers.local.cache import GroupedCache, KeyValues
from longspan.trainers.local.output import logit_error, output_logits, probe_ids

LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")
"""`model_type`s whose layers are those of `LlamaDecoder`."""
_ATTENTION = "longspan_grouped"
_active_cache: ContextVar[GroupedCache | None] = ContextVar("active_cache", default=None)


class Decoder(Protocol):
    """Runs a model's prompts and steps."""

    def prefill(self, prompt: tuple[int, ...]) -> tuple[KeyValues, Tensor]:
        """Returns a prompt's keys and values, and the logits [V] that follow it."""
        ...

    def step(self, cache: GroupedCache, tokens: Tensor) -> Tensor:
        """Returns the logits [R, V] that follow one more token [R] in the first R rows."""
        ...


def choose_decoder(model: Any) -> Decoder:
    """Returns the fastest decoder that agrees with the model's plain forward.

    Raises:
        ModelError: none does (recurrent states, attention with sinks or biases of its own).
    """
    reason = "no decoder applies"
    for kind in (LlamaDecoder, ModuleDecoder):
        if kind is LlamaDecoder and not _is_llama_like(model.config):
            continue
        try:
            decoder: Decoder = kind(model)
            error = _disagreement(model, decoder)
        except (
            AttributeError,
            IndexError,
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as failed:
            reason = f"{type(failed).__name__}: {failed}"
            continue
        if error <= 1:
            return decoder
        reason = f"its logits differ from the model's own {error:.2g} times more than they may"
    raise ModelError(
        f"the embedded engine cannot run architecture {type(model).__name__} ({reason}); "
        "serve it with vLLM and use vllm/<model>"
    )


@torch.inference_mode()
def stable_row_counts(model: Any, max_rows: int) -> list[int]:
    """Returns the batch sizes (up to `max_rows`, ascending) that give a row the same result.

    Libraries choose their kernels by size, so the last bits of a row may depend on how many rows
    there are. The model's own matrices tell which sizes agree with the largest; on an accelerator
    no such promise is made.
    """
    sizes = [4 << k for k in range(12) if 4 << k < max_rows]
    if model.device.type != "cpu":
        return [*sizes, max_rows]
    matrices = {
        module.weight.shape: module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    }
    generator = torch.Generator().manual_seed(0)
    for matrix in matrices.values():
        x = torch.randn(max_rows, matrix.shape[1], generator=generator).to(matrix.dtype)
        full = F.linear(x, matrix)
        sizes = [n for n in sizes if torch.equal(F.linear(x[-n:], matrix), full[-n:])]
    return [*sizes, max_rows]


class LlamaDecoder:
    """Pre-norm RMSNorm, rotary grouped-query attention, gated SiLU; biases and q/k norms if any."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.head_dim = model.model.layers[0].self_attn.head_dim

    def prefill(self, prompt: tuple[int, ...]) -> tuple[KeyValues, Tensor]:
        """Returns a prompt's keys and values, and the logits [V] that follow it."""
        core = self.model.model
        ids = torch.tensor(prompt, device=self.model.device)
        x = core.embed_tokens(ids)
        rotary = _rotary(core, x, torch.arange(len(prompt), device=ids.device))
        key_values: KeyValues = []
        last = len(core.layers) - 1
        for number, layer in enumerate(core.layers):
            query, key, value = (y.transpose(0, 1) for y in self._project(layer, x, rotary))
            key_values.append((key, value))
            if number == last:  # only the last position is read from here on
                x, query = x[-1:], query[:, -1:]
            y = F.scaled_dot_product_attention(
                query[None],
                key[None],
                value[None],
                is_causal=number != last,
                scale=layer.self_attn.scaling,
                enable_gqa=query.shape[0] != key.shape[0],
            )[0]
            x = _finish(layer, x, y.transpose(0, 1))
        return key_values, output_logits(self.model, _norm(core.norm, x))[0]

    def step(self, cache: GroupedCache, tokens: Tensor) -> Tensor:
        """Returns the logits [R, V] that follow one more token [R] in the first R rows."""
        core = self.model.model
        positions = cache.begin_step(len(tokens))
        x = core.embed_tokens(tokens)
        rotary = _rotary(core, x, positions)
        for number, layer in enumerate(core.layers):
            query, key, value = self._project(layer, x, rotary)
            y = cache.attend(number, query, key, value, layer.self_attn.scaling)
            x = _finish(layer, x, y)
        cache.end_step()
        return output_logits(self.model, _norm(core.norm, x))

    def _project(
        self, layer: Any, x: Tensor, rotary: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns rotated queries [N, H, D] and keys [N, K, D], and values [N, K, D]."""
        attention = layer.self_attn
        normed = _norm(layer.input_layernorm, x)
        query, key, value = (
            projection(normed).unflatten(-1, (-1, self.head_dim))
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if hasattr(attention, "q_norm"):
            query, key = _norm(attention.q_norm, query), _norm(attention.k_norm, key)
        return _rotate(query, rotary), _rotate(key, rotary), value


class ModuleDecoder:
    """The model's own modules, with attention replaced while a step runs."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def prefill(self, prompt: tuple[int, ...]) -> tuple[KeyValues, Tensor]:
        """Returns a prompt's keys and values, and the logits [V] that follow it."""
        output = self.model(
            input_ids=torch.tensor([prompt], device=self.model.device),
            past_key_values=DynamicCache(),  # without a config no layer drops tokens
            use_cache=True,
            logits_to_keep=1,
        )
        layers = output.past_key_values.layers
        return [(layer.keys[0], layer.values[0]) for layer in layers], output.logits[0, -1]

    def step(self, cache: GroupedCache, tokens: Tensor) -> Tensor:
        """Returns the logits [R, V] that follow one more token [R] in the first R rows."""
        before = self.model.config._attn_implementation
        token = _active_cache.set(cache)
        self.model.set_attn_implementation(_ATTENTION)
        try:
            logits: Tensor = self.model(
                input_ids=tokens[:, None],
                position_ids=cache.begin_step(len(tokens))[:, None],
                attention_mask=torch.zeros(len(tokens), 1, 1, 1, device=tokens.device),
                use_cache=False,
            ).logits[:, -1]
        finally:
            self.model.set_attn_implementation(before)
            _active_cache.reset(token)
        cache.end_step()
        return logits


def _grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function of `ModuleDecoder.step`: [R, H, 1, D] in, [R, 1, H, D] out."""
    cache = _active_cache.get()
    if cache is None:
        raise RuntimeError("grouped attention runs only inside a decoding step")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = cache.attend(
        module.layer_idx, query[:, :, 0], key[:, :, 0], value[:, :, 0], scale, sliding_window
    )
    return attended[:, None], None


AttentionInterface.register(_ATTENTION, _grouped_attention)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


def _is_llama_like(config: Any) -> bool:
    sliding = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    sliding = sliding or (config.model_type == "mistral" and config.sliding_window is not None)
    return config.model_type in LLAMA_LIKE and config.hidden_act == "silu" and not sliding


@torch.inference_mode()
def _disagreement(model: Any, decoder: Decoder) -> float:
    """Returns `logit_error` against a plain forward."""
    ids = probe_ids(model, 8)
    plain = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, 4:]
    key_values, logits = decoder.prefill(ids[:5])
    cache = GroupedCache(key_values, num_rows=2, num_slots=1, slot_tokens=6, own_tokens=4)
    cache.enter(1, cache.load(ids[:5], key_values, logits))
    rows = [logits]
    for token in ids[5:]:
        rows.append(decoder.step(cache, torch.tensor([0, token], device=model.device))[1])
    return logit_error(model, torch.stack(rows), plain)


def _rotary(core: Any, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns cosines and sines [N, 1, D] at the positions [N]."""
    cos, sin = core.rotary_emb(x[None], positions[None])
    return cos[0, :, None], sin[0, :, None]


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Returns [N, heads, D] rotated to its positions (halves convention)."""
    first, second = x.chunk(2, -1)
    return x * rotary[0] + torch.cat((-second, first), -1) * rotary[1]


def _norm(module: Any, x: Tensor) -> Tensor:
    """Returns the RMS norm in one operation."""
    return F.rms_norm(x, module.weight.shape, module.weight, module.variance_epsilon)


def _finish(layer: Any, x: Tensor, attended: Tensor) -> Tensor:
    """Returns the layer's output [N, hidden] of its input and its attention [N, H, D]."""
    x = x + layer.self_attn.o_proj(attended.flatten(1))
    normed = _norm(layer.post_attention_layernorm, x)
    gate = F.silu(layer.mlp.gate_proj(normed))
    output: Tensor = x + layer.mlp.down_proj(gate * layer.mlp.up_proj(normed))
    return output
