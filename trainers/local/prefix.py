"""Shared-prefix computation for training: every prompt is computed once for all its rollouts.

One packed row holds a prefix and its branches, `[prefix | branch 1 | branch 2 | ...]`. A 4-D mask
lets a branch see the prefix and itself, and positions of every branch restart where the prefix
ends, so each branch gets the hidden states and gradients of a plain forward over prefix + branch.

Shapes: n rows (prefixes), L tokens of the longest row, N predicted tokens, H hidden size, V tokens
of the vocabulary. The mask is full: a model with sliding-window layers is computed correctly only
while `len(prefix) + len(branch)` does not exceed its sliding window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Branch = tuple[Sequence[int], Sequence[int]]
"""Suffix ids (given) and target ids (predicted); the suffix may be empty."""
Item = tuple[Sequence[int], Sequence[Branch]]
"""Prefix ids and the branches that continue it."""


class TargetHidden(NamedTuple):
    """Hidden states that predict the target tokens of a list of items, in order."""

    hidden: Tensor
    """[N, H] final hidden states (after the last norm)."""
    target_ids: Tensor
    """[N] the token that each row of `hidden` predicts."""
    segments: Tensor
    """[N] index of the branch each token belongs to, counted over all items."""


class Packed(NamedTuple):
    """A padded batch of packed rows with the place of every predicted token."""

    input_ids: Tensor
    """[n, L]"""
    positions: Tensor
    """[n, L]"""
    allowed: Tensor
    """[n, 1, L, L] bool, True where a query (second to last axis) sees a key."""
    rows: Tensor
    """[N]"""
    columns: Tensor
    """[N]"""
    target_ids: Tensor
    """[N]"""
    segments: Tensor
    """[N]"""


def packed_target_hidden(model: Any, items: Sequence[Item]) -> TargetHidden:
    """Returns the hidden states that predict every target token, each prefix computed once.

    The logits of `target_ids[i]` are `output_logits(model, hidden[i])`. Exact up to rounding: the
    values and gradients are those of one forward per branch over `prefix + suffix + targets`.

    Args:
        model: a Hugging Face causal language model (attention "sdpa" or "eager").
        items: prefixes with their branches; rows are padded to the longest item, so pass items of
            similar length together.

    Raises:
        ValueError: a branch has targets but neither prefix nor suffix precedes them.
    """
    packed = pack(items)
    device = next(model.parameters()).device
    mask = additive_mask(packed.allowed.to(device), model.dtype)
    output = model.base_model(
        input_ids=packed.input_ids.to(device),
        attention_mask=mask,
        position_ids=packed.positions.to(device),
        use_cache=False,
    )
    hidden = output.last_hidden_state[packed.rows.to(device), packed.columns.to(device)]
    return TargetHidden(hidden, packed.target_ids.to(device), packed.segments.to(device))


def output_logits(model: Any, hidden: Tensor) -> Tensor:
    """Returns the logits [..., V] that the model's own forward makes of hidden states [..., H].

    Besides the output embedding this applies the scalings that some architectures keep outside it:
    `logits_scaling` (Granite, divides), `logit_scale` (Cohere, multiplies), and
    `final_logit_softcapping` (Gemma: cap * tanh(logits / cap)).
    """
    logits: Tensor = model.get_output_embeddings()(hidden)
    config = model.config
    if scaling := getattr(config, "logits_scaling", None):
        logits = logits / scaling
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
    return logits


def pack(items: Sequence[Item]) -> Packed:
    """Returns the items as one padded batch; the last target of a branch is never read."""
    row_ids, row_positions, row_blocks = [], [], []
    places: list[tuple[int, int, int, int]] = []
    segment = 0
    for row, (prefix, branches) in enumerate(items):
        ids, positions, blocks = list(prefix), list(range(len(prefix))), [0] * len(prefix)
        for block, (suffix, targets) in enumerate(branches, start=1):
            if targets and not prefix and not suffix:
                raise ValueError("a branch without prefix and suffix has nothing to predict from")
            start = len(ids)
            read = [*suffix, *targets][: len(suffix) + max(len(targets) - 1, 0)]
            ids += read
            positions += range(len(prefix), len(prefix) + len(read))
            blocks += [block] * len(read)
            first = start + len(suffix) - 1 if suffix else len(prefix) - 1
            for k, target in enumerate(targets):
                column = first if k == 0 else start + len(suffix) + k - 1
                places.append((row, column, target, segment))
            segment += 1
        row_ids.append(ids)
        row_positions.append(positions)
        row_blocks.append(blocks)
    place = torch.tensor(places, dtype=torch.long).reshape(-1, 4)
    return Packed(
        _pad(row_ids, 0), _pad(row_positions, 0), _allowed(_pad(row_blocks, -1)), *place.unbind(1)
    )


def additive_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns 0 where `allowed`, else the most negative number: what sdpa and eager both accept."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
        ~allowed, torch.finfo(dtype).min
    )


def _allowed(blocks: Tensor) -> Tensor:
    """Returns [n, 1, L, L]: causal, within the prefix (block 0) or the query's own block.

    Padding (block -1) sees itself, because a softmax over nothing is not a number.
    """
    query, key = blocks[:, :, None], blocks[:, None, :]
    causal = torch.ones(blocks.shape[1], blocks.shape[1], dtype=torch.bool).tril()
    return (causal & ((key == query) | (key == 0)))[:, None]


def _pad(rows: list[list[int]], value: int) -> Tensor:
    """Returns the rows as one [n, L] tensor, filled up with `value`."""
    width = max((len(row) for row in rows), default=0)
    return torch.tensor(
        [row + [value] * (width - len(row)) for row in rows], dtype=torch.long
    ).reshape(len(rows), width)
