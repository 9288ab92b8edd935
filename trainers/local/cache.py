"""Keys and values of a decoding batch: prompts shared by their rollouts, and each row's own tokens.

A *slot* holds the keys and values of one prompt; up to `LANES` rows read a slot, in one matrix
product. Rows that continue the same prompt share slots, so its keys are stored and read once for
`LANES` rollouts. What a row has generated lies in its own part. Every product has the same shape
whoever else is in the batch (only the number of independent products varies), hence a row's result
does not depend on its batch-mates.

Shapes: R rows, P slots, G = `LANES`, H query heads, K key heads (H = K * repeats), S tokens of a
slot, M tokens of an own part, D head dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LANES = 4
"""Rows that read one slot together: enough for matrix products, few enough not to be wasted."""

KeyValues = list[tuple[Tensor, Tensor]]
"""Per layer, keys and values [K, tokens, D]."""


@dataclass
class Slot:
    """A prompt in the cache."""

    prompt: tuple[int, ...] | None = None
    logits: Tensor | None = None
    """[V] logits that follow the prompt."""


class GroupedCache:
    """Keys and values of R rows over P prompt slots."""

    def __init__(
        self, like: KeyValues, num_rows: int, num_slots: int, slot_tokens: int, own_tokens: int
    ) -> None:
        """Allocates room for keys and values shaped like `like` (any prompt's)."""
        self.num_rows, self.num_slots = num_rows, num_slots
        self.slot_tokens, self.own_tokens = slot_tokens, own_tokens
        device = like[0][0].device
        self._shared = [_pair(pair, num_slots, slot_tokens) for pair in like]
        self._own = [_pair(pair, num_rows, own_tokens) for pair in like]
        self._hidden = torch.zeros(num_rows, slot_tokens + own_tokens, device=device)
        self._rows = torch.arange(num_rows, device=device)
        self.clear()

    def clear(self) -> None:
        """Forgets all prompts and rows."""
        self.slots = [Slot() for _ in range(self.num_slots)]
        self.row_of_lane: list[int | None] = [None] * (self.num_slots * LANES)
        self.lane_of_row = [0] * self.num_rows
        self.active = [False] * self.num_rows
        self.prefix_lengths = [0] * self.num_rows
        self.own_lengths = [0] * self.num_rows
        self._hidden.fill_(-torch.inf)

    def lane_for(self, prompt: tuple[int, ...]) -> int | None:
        """Returns a free lane of a slot that holds the prompt already."""
        for number, slot in enumerate(self.slots):
            if slot.prompt == prompt:
                for lane in range(number * LANES, (number + 1) * LANES):
                    if self.row_of_lane[lane] is None:
                        return lane
        return None

    def load(self, prompt: tuple[int, ...], key_values: KeyValues, logits: Tensor) -> int:
        """Writes a prompt into the first slot that nobody reads; returns its first lane."""
        number = next(n for n in range(self.num_slots) if not any(self._readers(n)))
        self.slots[number] = Slot(prompt, logits)
        for shared, new in zip(self._shared, key_values, strict=True):
            for buffer, values in zip(shared, new, strict=True):
                buffer[number, :, : values.shape[1]] = values
        return number * LANES

    def find(self, prompt: tuple[int, ...]) -> tuple[KeyValues, Tensor] | None:
        """Returns the keys, values and logits of a prompt that some slot holds."""
        for number, slot in enumerate(self.slots):
            if slot.prompt == prompt and slot.logits is not None:
                length = len(prompt)
                shared = [(k[number, :, :length], v[number, :, :length]) for k, v in self._shared]
                return shared, slot.logits
        return None

    def enter(self, row: int, lane: int, own: KeyValues | None = None) -> Tensor:
        """Lets a row read a lane, with own tokens if it brings some; returns the slot's logits."""
        slot = self.slots[lane // LANES]
        if slot.prompt is None or slot.logits is None:
            raise ValueError(f"slot {lane // LANES} holds no prompt; load one before entering it")
        self.row_of_lane[lane], self.lane_of_row[row] = row, lane
        self.active[row] = True
        self.prefix_lengths[row] = len(slot.prompt)
        self.own_lengths[row] = own[0][0].shape[1] if own else 0
        for buffers, new in zip(self._own, own or (), strict=False):
            for buffer, values in zip(buffers, new, strict=True):
                buffer[row, :, : values.shape[1]] = values
        self._hidden[row] = -torch.inf
        self._hidden[row, : len(slot.prompt)] = 0.0
        self._hidden[row, self.slot_tokens : self.slot_tokens + self.own_lengths[row]] = 0.0
        return slot.logits

    def own(self, row: int) -> KeyValues:
        """Returns a copy of the keys and values that a row has generated."""
        length = self.own_lengths[row]
        return [(k[row, :, :length].clone(), v[row, :, :length].clone()) for k, v in self._own]

    def leave(self, row: int) -> None:
        """Frees the row and its lane; the slot keeps its prompt until another takes its place."""
        self.row_of_lane[self.lane_of_row[row]] = None
        self.lane_of_row[row], self.active[row] = 0, False
        self.prefix_lengths[row] = self.own_lengths[row] = 0

    def begin_step(self) -> Tensor:
        """Makes the next token of every row visible; returns the rows' positions [R]."""
        device = self._hidden.device
        self._own_index = torch.tensor(self.own_lengths, device=device)
        self._hidden[self._rows, self.slot_tokens + self._own_index] = 0.0
        lanes = [lane for row, lane in enumerate(self.lane_of_row) if self.active[row]]
        self._num_used = 1 + max(lanes, default=0) // LANES
        readers = [row or 0 for row in self.row_of_lane[: self._num_used * LANES]]
        self._row_of_lane = torch.tensor(readers, device=device)
        self._lane_of_row = torch.tensor(self.lane_of_row, device=device)
        return torch.tensor(self.prefix_lengths, device=device) + self._own_index

    def end_step(self) -> None:
        """Counts the token that the step has added to every active row."""
        self.own_lengths = [
            length + on for length, on in zip(self.own_lengths, self.active, strict=True)
        ]

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        sliding_window: int | None = None,
    ) -> Tensor:
        """Returns the attention of one new token per row, after storing its key and value.

        Args:
            layer: index of the layer.
            query: [R, H, D], keys rotated to their positions as the model does.
            key: [R, K, D].
            value: [R, K, D].
            scaling: factor of the scores.
            sliding_window: number of latest tokens the layer sees, the new one included.

        Returns:
            [R, H, D]
        """
        (shared_keys, shared_values), (own_keys, own_values) = self._shared[layer], self._own[layer]
        own_keys[self._rows, :, self._own_index] = key
        own_values[self._rows, :, self._own_index] = value
        kept = query.shape[0], key.shape[1], query.shape[1] // key.shape[1]
        query = (query * scaling).view(*kept, -1)
        scores = self._by_slot(query) @ shared_keys[: self._num_used].transpose(2, 3)
        scores = torch.cat((self._by_row(scores, kept[2]), query @ own_keys.transpose(2, 3)), -1)
        hidden = self._hidden if sliding_window is None else self._slide(sliding_window)
        weights = torch.softmax(scores.float() + hidden[:, None, None], -1).to(value.dtype)
        near = weights[..., self.slot_tokens :] @ own_values
        far = self._by_slot(weights[..., : self.slot_tokens]) @ shared_values[: self._num_used]
        return (self._by_row(far, kept[2]) + near).flatten(1, 2)

    def _by_slot(self, rows: Tensor) -> Tensor:
        """Returns [P, K, G * repeats, N] of [R, K, repeats, N]; a lane without reader copies row 0."""
        lanes = rows.index_select(0, self._row_of_lane)
        return lanes.unflatten(0, (-1, LANES)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, slots: Tensor, repeats: int) -> Tensor:
        """Returns [R, K, repeats, N] of [P, K, G * repeats, N]."""
        lanes = slots.unflatten(2, (LANES, repeats)).transpose(1, 2).flatten(0, 1)
        return lanes.index_select(0, self._lane_of_row)

    def _slide(self, window: int) -> Tensor:
        """Returns the mask with keys hidden that are `window` or more tokens back."""
        prefix = torch.tensor(self.prefix_lengths, device=self._hidden.device)[:, None]
        shared = torch.arange(self.slot_tokens, device=prefix.device).expand(self.num_rows, -1)
        own = prefix + torch.arange(self.own_tokens, device=prefix.device)
        last = prefix + self._own_index[:, None]
        return self._hidden.masked_fill(last - torch.cat((shared, own), 1) >= window, -torch.inf)

    def _readers(self, number: int) -> Sequence[bool]:
        lanes = self.row_of_lane[number * LANES : (number + 1) * LANES]
        return [row is not None for row in lanes]


def _pair(like: tuple[Tensor, Tensor], count: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Returns zeroed buffers [count, K, tokens, D]: stale values are finite, masked weights are 0."""
    keys, values = (x.new_zeros(count, x.shape[0], tokens, x.shape[2]) for x in like)
    return keys, values
