"""Packed shared-prefix forward: values and gradients of one forward per branch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.trainers.local.prefix import output_logits, pack, packed_target_hidden
from tests.trainers.tiny import tiny_model

MODEL = tiny_model(dtype=torch.float64)
tokens = st.lists(st.integers(0, 79), max_size=6)
branches = st.lists(st.tuples(tokens, tokens), max_size=3)
item_lists = st.lists(st.tuples(tokens.filter(bool), branches), min_size=1, max_size=3)


def unshared_hidden(model, items):
    """One plain forward per branch: the definition that packing must reproduce."""
    hidden = [torch.zeros(0, model.config.hidden_size, dtype=torch.float64)]
    for prefix, group in items:
        for suffix, targets in group:
            if targets:
                ids = torch.tensor([[*prefix, *suffix, *targets]])
                start = len(prefix) + len(suffix) - 1
                states = model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
                hidden.append(states[start : start + len(targets)])
    return torch.cat(hidden)


def test_pack_places_every_target_after_its_own_branch():
    packed = pack([([1, 2], [([], [3, 4]), ([5], [6])])])
    assert packed.input_ids.tolist() == [[1, 2, 3, 5]]
    assert packed.positions.tolist() == [[0, 1, 2, 2]]
    assert packed.columns.tolist() == [1, 2, 3]
    assert packed.target_ids.tolist() == [3, 4, 6]
    assert packed.segments.tolist() == [0, 0, 1]
    assert packed.allowed[0, 0, 3].tolist() == [True, True, False, True]


@settings(max_examples=25, deadline=None)
@given(item_lists)
def test_packed_values_and_gradients_equal_one_forward_per_branch(items):
    results = []
    for compute in (lambda m, i: packed_target_hidden(m, i).hidden, unshared_hidden):
        MODEL.zero_grad()
        hidden = compute(MODEL, items)
        weights = torch.arange(1, hidden.numel() + 1, dtype=torch.float64).reshape(hidden.shape)
        loss = output_logits(MODEL, hidden).logsumexp(-1).sum() + (hidden * weights.sin()).sum()
        loss.backward()
        gradients = [p.grad if p.grad is not None else 0 * p for p in MODEL.parameters()]
        results.append([hidden, *(g.clone() for g in gradients)])
    for shared, plain in zip(*results, strict=True):
        torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)  # norms run in float32


def test_output_logits_are_those_of_the_model():
    ids = torch.tensor([[7, 8, 9]])
    hidden = packed_target_hidden(MODEL, [([7, 8, 9], [([], [1])])]).hidden
    torch.testing.assert_close(output_logits(MODEL, hidden)[0], MODEL(ids).logits[0, -1])


def test_branch_without_any_context_is_refused():
    with pytest.raises(ValueError, match="nothing to predict from"):
        pack([([], [([], [1])])])
