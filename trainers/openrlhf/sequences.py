"""Turns of a step's rollouts as padded micro-batches for several training processes.

Shapes: [T] sampled tokens of all valid rollouts one after another, as in `trainers.batch`; [B, S]
padded sequences; [t] the sampled tokens of one micro-batch, sequence by sequence. A rollout has as
many sequences as turns. This module does not know the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longspan.trainers.batch import RolloutBatch


@dataclass(frozen=True)
class TurnSequence:
    """One turn: its prompt and what was sampled.

    Attributes:
        prompt_ids: what the policy saw.
        sampled_ids: what it sampled, at least one token.
        rollout: index of the rollout in the batch.
        start: index in [T] of the first sampled token.
    """

    prompt_ids: tuple[int, ...]
    sampled_ids: tuple[int, ...]
    rollout: int
    start: int

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt_ids) + len(self.sampled_ids)

    @property
    def places(self) -> range:
        """Indices in [T] of its sampled tokens."""
        return range(self.start, self.start + len(self.sampled_ids))


@dataclass(frozen=True)
class MicroBatch:
    """Sequences of one forward.

    Attributes:
        sequences: the longest first.
        counted: False for one that only gives a training process as many as the others have.
    """

    sequences: tuple[TurnSequence, ...]
    counted: bool = True

    @property
    def places(self) -> Tensor:
        """[t] index in [T] of every sampled token."""
        return torch.tensor([place for one in self.sequences for place in one.places])

    def padded(self, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns [B, S] ids and attention mask, and [B, S - 1] which next tokens were sampled.

        Padding is on the right. The last one is OpenRLHF's action mask: it stands at the position
        that predicts the token.
        """
        width = max(one.num_tokens for one in self.sequences)
        ids = torch.full((len(self.sequences), width), pad_id, dtype=torch.long)
        attention = torch.zeros_like(ids)
        sampled = torch.zeros((len(ids), width - 1), dtype=torch.bool)
        for row, one in enumerate(self.sequences):
            ids[row, : one.num_tokens] = torch.tensor(one.prompt_ids + one.sampled_ids)
            attention[row, : one.num_tokens] = 1
            sampled[row, len(one.prompt_ids) - 1 : one.num_tokens - 1] = True
        return ids, attention, sampled


def turn_sequences(batch: RolloutBatch) -> list[TurnSequence]:
    """Returns the turns of the rollouts that take part, in the order of [T]."""
    found: list[TurnSequence] = []
    start = 0
    for index, rollout in enumerate(batch.rollouts):
        if not batch.valid[index]:
            continue
        for turn in rollout.turns:
            if turn.sampled_ids:
                found.append(TurnSequence(turn.prompt_ids, turn.sampled_ids, index, start))
                start += len(turn.sampled_ids)
    return found


def micro_batches(
    sequences: Iterable[TurnSequence], max_tokens: int, num_ranks: int
) -> list[MicroBatch]:
    """Returns micro-batches of at most `max_tokens` padded tokens, as many for every rank.

    A sequence that is longer makes one by itself. The result holds the micro-batches of the first
    rank, then those of the second: of every `num_ranks` of similar length each gets one. Ranks must
    take part in the same number of backwards, so the shortest one is repeated, not counted, where
    the number does not come out even.
    """
    parts: list[list[TurnSequence]] = []
    for one in sorted(sequences, key=lambda one: (-one.num_tokens, one.start)):
        if parts and (len(parts[-1]) + 1) * parts[-1][0].num_tokens <= max_tokens:
            parts[-1].append(one)
        else:
            parts.append([one])
    batches = [MicroBatch(tuple(part)) for part in parts]
    if not batches:
        return []
    filler = MicroBatch(batches[-1].sequences[-1:], counted=False)
    batches += [filler] * (-len(batches) % num_ranks)
    return [one for rank in range(num_ranks) for one in batches[rank::num_ranks]]


def gathered(batches: Sequence[MicroBatch], values: Sequence[Tensor], num_tokens: int) -> Tensor:
    """Returns [T] values from those of micro-batches, [t] each."""
    total = torch.full((num_tokens,), torch.nan, dtype=torch.float64)
    for batch, found in zip(batches, values, strict=True):
        total[batch.places] = found.double()
    return total
