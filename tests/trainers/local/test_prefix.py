"""Packed shared-prefix forward: values and gradients of one forward per branch."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from longspan.trainers.local import prefix, prefix_attention
from longspan.trainers.local.output import output_logits
from longspan.trainers.local.prefix import pack, packed_target_hidden
from longspan.trainers.local.prefix_attention import PackedRow
from tests.trainers.tiny import tiny_model

SIZES = {"vocab_size": 80, "num_hidden_layers": 2, "pad_token_id": 0, "initializer_range": 0.3}
LLAMA_SIZES = {
    **SIZES,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def build(kind, config):
    torch.manual_seed(0)
    return kind(config).double().eval()


def exact(model):
    """The model with norms that do not compute in float32."""
    for module in list(model.modules()):
        for name, norm in module.named_children():
            if type(norm).__name__.endswith("RMSNorm"):
                size, eps = norm.weight.shape, norm.variance_epsilon
                setattr(module, name, torch.nn.RMSNorm(size, eps, dtype=torch.float64))
    return model


MODEL = exact(tiny_model(dtype=torch.float64))
MODELS = {
    "llama": MODEL,
    "eager": tiny_model(dtype=torch.float64, attn_implementation="eager"),
    "sliding window": exact(
        build(MistralForCausalLM, MistralConfig(**LLAMA_SIZES, sliding_window=5))
    ),
    "alternating windows": build(Gemma2ForCausalLM, Gemma2Config(**LLAMA_SIZES, sliding_window=5)),
    "soft-capped scores": build(
        Gemma2ForCausalLM,
        Gemma2Config(**LLAMA_SIZES, attn_logit_softcapping=2.0, attn_implementation="eager"),
    ),
    # Its attention has neither transformers' interface nor torch's sdpa.
    "attention of its own": build(
        GPTJForCausalLM, GPTJConfig(**SIZES, n_embd=32, n_head=4, rotary_dim=4)
    ),
}
FLOAT32_INSIDE = ("eager", "alternating windows", "soft-capped scores", "attention of its own")
"""Models whose norms, softmax or rotation compute in float32 even where the weights are float64."""
tokens = st.lists(st.integers(0, 79), max_size=6)
branches = st.lists(st.tuples(tokens, tokens), max_size=3)
item_lists = st.lists(st.tuples(tokens.filter(bool), branches), min_size=1, max_size=3)


def unshared_hidden(model, items):
    """One plain forward per branch: the definition that packing must reproduce."""
    hidden = [torch.zeros(0, model.config.hidden_size, dtype=torch.float64)]
    for shared, group in items:
        for suffix, targets in group:
            if targets:
                ids = torch.tensor([[*shared, *suffix, *targets]])
                start = len(shared) + len(suffix) - 1
                states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
                hidden.append(states[start : start + len(targets)])
    return torch.cat(hidden)


def test_pack_places_every_target_after_its_own_branch():
    packed = pack([([1, 2], [([], [3, 4]), ([5], [6])])])
    assert packed.input_ids.tolist() == [[1, 2, 3, 5]]
    assert packed.positions.tolist() == [[0, 1, 2, 2]]
    assert packed.columns.tolist() == [1, 2, 3]
    assert packed.target_ids.tolist() == [3, 4, 6]
    assert packed.segments.tolist() == [0, 0, 1]
    assert packed.layout == (PackedRow(2, (slice(2, 3), slice(3, 4))),)


def values_and_gradients(compute, model, items):
    model.zero_grad()
    hidden = compute(model, items)
    weights = torch.arange(1, hidden.numel() + 1, dtype=torch.float64).reshape(hidden.shape)
    loss = output_logits(model, hidden).logsumexp(-1).sum() + (hidden * weights.sin()).sum()
    loss.backward()
    gradients = [p.grad if p.grad is not None else 0 * p for p in model.parameters()]
    return [hidden, *(g.clone() for g in gradients)]


def shared_hidden(model, items):
    return packed_target_hidden(model, items).hidden


@settings(max_examples=20, deadline=None)
@given(item_lists)
def test_items_computed_in_parts_give_what_one_batch_gives(items):
    whole = packed_target_hidden(MODEL, items)
    with mock.patch.object(prefix, "CPU_TOKENS", 1):
        parts = packed_target_hidden(MODEL, items)
    torch.testing.assert_close(parts.hidden, whole.hidden, rtol=1e-12, atol=1e-12)
    assert parts.target_ids.tolist() == whole.target_ids.tolist()
    assert parts.segments.tolist() == whole.segments.tolist()


def test_parts_keep_the_order_and_hold_few_padded_tokens():
    sizes = [600, 500, 400, 300, 2000, 10, 10]
    items = [(range(size), []) for size in sizes]
    assert [[len(one) for one, _ in part] for part in prefix._parts(items)] == [
        [600],
        [500, 400],
        [300],
        [2000],
        [10, 10],
    ]


@pytest.mark.parametrize("dense_tokens", [0, 512])
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10, deadline=None)
@given(item_lists)
def test_packed_values_and_gradients_equal_one_forward_per_branch(name, dense_tokens, items):
    model = MODELS[name]
    with mock.patch.object(prefix_attention, "DENSE_TOKENS", dense_tokens):
        shared = values_and_gradients(shared_hidden, model, items)
    plain = values_and_gradients(unshared_hidden, model, items)
    tolerance = 1e-5 if name in FLOAT32_INSIDE else 1e-12
    for found, expected in zip(shared, plain, strict=True):
        error, size = (x.detach().norm() for x in (found - expected, expected))
        assert float(error) <= tolerance * float(size + 1)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("dense_tokens", [0, 512])
def test_gradient_checkpointing_changes_nothing(dense_tokens, reentrant):
    items = [([7, 8, 9, 10], [([], [1, 2, 3]), ([4], [5, 6])]), ([11], [([], [12, 13])])]
    expected = values_and_gradients(shared_hidden, MODEL, items)
    model = exact(tiny_model(dtype=torch.float64)).train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    with mock.patch.object(prefix_attention, "DENSE_TOKENS", dense_tokens):
        found = values_and_gradients(shared_hidden, model, items)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_layers_that_do_not_attend_are_refused():
    model = tiny_model()
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ValueError, match="got linear_attention"):
        packed_target_hidden(model, [([1], [([], [2])])])


def test_output_logits_are_those_of_the_model():
    ids = torch.tensor([[7, 8, 9]])
    hidden = packed_target_hidden(MODEL, [([7, 8, 9], [([], [1])])]).hidden
    torch.testing.assert_close(output_logits(MODEL, hidden)[0], MODEL(ids).logits[0, -1])


def test_branch_without_any_context_is_refused():
    with pytest.raises(ValueError, match="nothing to predict from"):
        pack([([], [([], [1])])])
