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
from typing import NamedTuple

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


class _Places(NamedTuple):
    """Where the heads of rows lie among those of slots, in one step.

    Row order is [R, K, repeats], slot order [P, K, G, repeats].
    """

    of_rows: Tensor
    """[R * H] place in slot order of every head of a row."""
    of_lanes: Tensor
    """[P * K * G * repeats] place in row order; a lane without a reader repeats row 0's."""
    new: Tensor
    """[R * K] place of the new token in the own parts, [R, K, M]."""


class _Step(NamedTuple):
    """What holds for all layers of one step."""

    num_rows: int
    num_slots: int
    own_index: Tensor
    """[rows] place of the new token in the row's own part."""
    row_of_lane: Tensor
    """[slots * G]"""
    lane_of_row: Tensor
    """[rows]"""
    places: dict[tuple[int, int], _Places]
    """By key heads and repeats."""


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
        """Frees the row, if it is not, and its lane; the slot keeps its prompt for others."""
        if not self.active[row]:
            return
        self.row_of_lane[self.lane_of_row[row]] = None
        self.lane_of_row[row], self.active[row] = 0, False
        self.prefix_lengths[row] = self.own_lengths[row] = 0

    def move(self, row: int, to: int) -> None:
        """Moves what an active row holds to a free row."""
        length = self.own_lengths[row]
        for pair in self._own:
            for buffer in pair:
                buffer[to, :, :length] = buffer[row, :, :length]
        self._hidden[to] = self._hidden[row]
        self.lane_of_row[to], self.active[to] = self.lane_of_row[row], True
        self.row_of_lane[self.lane_of_row[row]] = to
        self.prefix_lengths[to], self.own_lengths[to] = self.prefix_lengths[row], length
        self.lane_of_row[row], self.active[row] = 0, False
        self.prefix_lengths[row] = self.own_lengths[row] = 0

    def compact(self) -> None:
        """Moves slots down so that those with readers come first: a step reads no others."""
        for hole in range(self.num_slots):
            last = max((n for n in range(self.num_slots) if any(self._readers(n))), default=0)
            if last <= hole:
                return
            if not any(self._readers(hole)):
                self._move_slot(last, hole)

    def begin_step(self, num_rows: int) -> Tensor:
        """Makes the next token of the first `num_rows` rows visible; returns their positions."""
        device = self._hidden.device
        own = torch.tensor(self.own_lengths[:num_rows], device=device)
        self._hidden[self._rows[:num_rows], self.slot_tokens + own] = 0.0
        last_lane = max((n for n, row in enumerate(self.row_of_lane) if row is not None), default=0)
        num_slots = last_lane // LANES + 1
        readers = [row or 0 for row in self.row_of_lane[: num_slots * LANES]]
        self._last = torch.tensor(self.prefix_lengths[:num_rows], device=device) + own
        self._step = _Step(
            num_rows,
            num_slots,
            own,
            torch.tensor(readers, device=device),
            torch.tensor(self.lane_of_row[:num_rows], device=device),
            {},
        )
        return self._last

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
            query: [R, H, D], rotated to its position, like the key; the result is alike.
            key: [R, K, D].
            value: [R, K, D].
            scaling: factor of the scores.
            sliding_window: number of latest tokens the layer sees, the new one included.
        """
        num_rows, num_heads, size = query.shape
        used, repeats = self._step.num_slots * key.shape[1], num_heads // key.shape[1]
        shared_keys, shared_values = (x.flatten(0, 1)[:used] for x in self._shared[layer])
        places = self._places_of(key.shape[1], repeats)
        for own, new in zip(self._own[layer], (key, value), strict=True):
            own.flatten(0, 2).index_copy_(0, places.new, new.flatten(0, 1))
        own_keys, own_values = (x[:num_rows].flatten(0, 1) for x in self._own[layer])

        query = (query * scaling).flatten(0, 1)
        lanes = query.index_select(0, places.of_lanes).view(used, -1, size)
        far = torch.bmm(lanes, shared_keys.mT).flatten(0, 1).index_select(0, places.of_rows)
        near = torch.bmm(query.view(-1, repeats, size), own_keys.mT).flatten(0, 1)
        scores = torch.cat((far, near), -1).float()
        hidden = self._hidden if sliding_window is None else self._slide(sliding_window)
        scores.view(num_rows, num_heads, -1).add_(hidden[:num_rows, None])
        weights = torch.softmax(scores, -1).to(value.dtype)
        far, near = weights[:, : self.slot_tokens], weights[:, self.slot_tokens :]
        lanes = far.index_select(0, places.of_lanes).view(used, -1, self.slot_tokens)
        far = torch.bmm(lanes, shared_values).flatten(0, 1).index_select(0, places.of_rows)
        near = torch.bmm(near.view(-1, repeats, self.own_tokens), own_values).flatten(0, 1)
        return (far + near).view(num_rows, num_heads, -1)

    def _places_of(self, num_keys: int, repeats: int) -> _Places:
        """Returns this step's places for layers of so many key heads and repeats."""
        step = self._step
        if (num_keys, repeats) not in step.places:
            device = self._hidden.device
            key_head = torch.arange(num_keys, device=device)
            repeat = torch.arange(repeats, device=device)
            slot, lane = step.lane_of_row // LANES, step.lane_of_row % LANES
            at = (slot[:, None] * num_keys + key_head) * LANES + lane[:, None]
            readers = step.row_of_lane.view(-1, 1, LANES, 1) * num_keys
            rows = (self._rows[: step.num_rows, None] * num_keys + key_head) * self.own_tokens
            step.places[num_keys, repeats] = _Places(
                of_rows=(at[..., None] * repeats + repeat).flatten(),
                of_lanes=((readers + key_head[:, None, None]) * repeats + repeat).flatten(),
                new=(rows + step.own_index[:, None]).flatten(),
            )
        return step.places[num_keys, repeats]

    def _slide(self, window: int) -> Tensor:
        """Returns the mask with keys hidden that are `window` or more tokens back."""
        prefix = (self._last - self._step.own_index)[:, None]
        shared = torch.arange(self.slot_tokens, device=prefix.device).expand(len(prefix), -1)
        own = prefix + torch.arange(self.own_tokens, device=prefix.device)
        back = self._last[:, None] - torch.cat((shared, own), 1)
        return self._hidden[: len(prefix)].masked_fill(back >= window, -torch.inf)

    def _move_slot(self, number: int, to: int) -> None:
        """Moves a slot and its readers to a slot without readers."""
        slot = self.slots[number]
        length = len(slot.prompt or ())
        for pair in self._shared:
            for buffer in pair:
                buffer[to, :, :length] = buffer[number, :, :length]
        self.slots[to], self.slots[number] = slot, Slot()
        for lane in range(LANES):
            row = self.row_of_lane[number * LANES + lane]
            self.row_of_lane[to * LANES + lane] = row
            self.row_of_lane[number * LANES + lane] = None
            if row is not None:
                self.lane_of_row[row] = to * LANES + lane

    def _readers(self, number: int) -> Sequence[bool]:
        lanes = self.row_of_lane[number * LANES : (number + 1) * LANES]
        return [row is not None for row in lanes]


def _pair(like: tuple[Tensor, Tensor], count: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Returns buffers [count, K, tokens, D] of zeros: what is hidden has to be finite, too."""
    keys, values = (x.new_zeros(count, x.shape[0], tokens, x.shape[2]) for x in like)
    return keys, values
