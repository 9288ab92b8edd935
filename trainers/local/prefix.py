"""Shared-prefix computation for training: every prompt is computed once for all its rollouts.

One packed row holds a prefix and its branches, `[prefix | branch 1 | branch 2 | ...]`. A branch
sees the prefix and itself (`prefix_attention`), and positions of every branch restart where the
prefix ends, so each branch gets the hidden states and gradients of a plain forward over prefix +
branch, in layers with a sliding window, too. Layers that do not attend (recurrent ones) are none of
it: the engine refuses such models.

Shapes: n rows (prefixes), L tokens of the longest row, N predicted tokens, H hidden size, V tokens
of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from longspan.trainers.local.prefix_attention import BranchMask, PackedRow

Branch = tuple[Sequence[int], Sequence[int]]
"""Suffix ids (given) and target ids (predicted); the suffix may be empty."""
Item = tuple[Sequence[int], Sequence[Branch]]
"""Prefix ids and the branches that continue it."""


FULL, SLIDING = "full_attention", "sliding_attention"
"""Types of layers in a model's configuration."""
CPU_TOKENS = 1024
"""Padded tokens that a CPU computes at once: more leave its caches, and rows are padded more."""


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
    layout: tuple[PackedRow, ...]
    """Which columns of every row are what."""
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
        ValueError: a branch has targets but neither prefix nor suffix precedes them, or the model
            has layers that are neither full nor sliding-window attention.
    """
    device = next(model.parameters()).device
    found: list[TargetHidden] = []
    num_segments = 0
    for part in _parts(items) if device.type == "cpu" else [items]:
        hidden, target_ids, segments = _forward(model, part, device)
        found.append(TargetHidden(hidden, target_ids, segments + num_segments))
        num_segments += sum(len(branches) for _, branches in part)
    return found[0] if len(found) == 1 else TargetHidden(*map(torch.cat, zip(*found, strict=True)))


def pack(items: Sequence[Item]) -> Packed:
    """Returns the items as one padded batch; the last target of a branch is never read."""
    row_ids, row_positions, layout = [], [], []
    places: list[tuple[int, int, int, int]] = []
    segment = 0
    for row, (prefix, branches) in enumerate(items):
        ids, positions, columns = list(prefix), list(range(len(prefix))), []
        for suffix, targets in branches:
            if targets and not prefix and not suffix:
                raise ValueError("a branch without prefix and suffix has nothing to predict from")
            start = len(ids)
            ids += [*suffix, *targets][: len(suffix) + max(len(targets) - 1, 0)]
            columns.append(slice(start, len(ids)))
            positions += range(len(prefix), len(prefix) + len(ids) - start)
            first = start + len(suffix) - 1 if suffix else len(prefix) - 1
            for k, target in enumerate(targets):
                column = first if k == 0 else start + len(suffix) + k - 1
                places.append((row, column, target, segment))
            segment += 1
        row_ids.append(ids)
        row_positions.append(positions)
        layout.append(PackedRow(len(prefix), tuple(columns)))
    place = torch.tensor(places, dtype=torch.long).reshape(-1, 4)
    return Packed(_pad(row_ids), _pad(row_positions), tuple(layout), *place.unbind(1))


def branch_masks(model: Any, layout: Sequence[PackedRow]) -> BranchMask | dict[str, BranchMask]:
    """Returns the mask that the model's layers take: one, or one by type of layer.

    Raises:
        ValueError: a type of layer is neither full nor sliding-window attention.
    """
    kinds = set(getattr(model.config, "layer_types", None) or ())
    if unknown := sorted(kinds - {FULL, SLIDING}):
        raise ValueError(
            f"layers must be {FULL} or {SLIDING} to share a prefix: got {unknown[0]}; "
            "train this model with another engine"
        )
    window = getattr(model.config, "sliding_window", None)
    windows = {FULL: None, SLIDING: window}
    place = model.dtype, model.device
    if SLIDING in kinds:  # such models take a mask by type
        return {kind: BranchMask.of(layout, windows[kind], *place) for kind in windows}
    return BranchMask.of(layout, None if kinds else window, *place)


def _parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Returns the items, in order, in parts of few padded tokens; a long item is one by itself."""
    parts: list[Sequence[Item]] = []
    start = width = 0
    for place, (prefix, branches) in enumerate(items):
        tokens = len(prefix) + sum(len(suffix) + len(targets) for suffix, targets in branches)
        if place > start and (place + 1 - start) * max(width, tokens) > CPU_TOKENS:
            parts.append(items[start:place])
            start, width = place, 0
        width = max(width, tokens)
    return [*parts, items[start:]]


def _forward(model: Any, items: Sequence[Item], device: torch.device) -> TargetHidden:
    """Returns what `packed_target_hidden` does, of one padded batch."""
    packed = pack(items)
    output = model.base_model(
        input_ids=packed.input_ids.to(device),
        attention_mask=branch_masks(model, packed.layout),
        position_ids=packed.positions.to(device),
        use_cache=False,
    )
    hidden = output.last_hidden_state[packed.rows.to(device), packed.columns.to(device)]
    return TargetHidden(hidden, packed.target_ids.to(device), packed.segments.to(device))


def _pad(rows: list[list[int]]) -> Tensor:
    """Returns the rows as one [n, L] tensor, filled up with zeros."""
    width = max((len(row) for row in rows), default=0)
    padded = [row + [0] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(len(rows), width)
