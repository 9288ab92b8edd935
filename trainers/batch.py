"""Rollouts of one step as tensors and packed items, with every distinct turn computed once.

Shapes: [N] rollouts, [T] sampled tokens of all valid rollouts one after another (rollouts in
order, their turns in order), [U] tokens of distinct turns. Turns of one group with the same prompt
and the same sampled ids are one branch: their log-probabilities are the same, so their weights add
up. Prompts of a group that begin alike are one prefix. This module does not know the model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.harness.errors import DataError
from longspan.harness.rollout import Rollout, Turn
from longspan.harness.scoring.validity import is_scored

Branch = tuple[tuple[int, ...], tuple[int, ...]]
"""Suffix ids that follow the prefix, and sampled ids."""


@dataclass(frozen=True)
class PackedItem:
    """A shared prefix and the branches that continue it: one row of a packed forward.

    Attributes:
        prefix: ids computed once.
        branches: suffix and sampled ids of each distinct turn.
        group: id of the group it belongs to.
        start: index in [U] of its first sampled token; the others follow.
    """

    prefix: tuple[int, ...]
    branches: tuple[Branch, ...]
    group: int
    start: int

    @property
    def num_targets(self) -> int:
        """Sampled tokens of all branches."""
        return sum(len(sampled) for _, sampled in self.branches)

    @property
    def num_tokens(self) -> int:
        """Tokens of the packed row."""
        return len(self.prefix) + sum(len(suffix) + len(ids) for suffix, ids in self.branches)

    def parts(self, max_tokens: int) -> Iterator[PackedItem]:
        """Yields the item in parts of at most `max_tokens`, each with the whole prefix.

        Parts may have twice the prefix in any case: what is computed again then stays less than
        what is computed once. A branch that is longer by itself makes a part of its own.
        """
        limit = max(max_tokens, 2 * len(self.prefix))
        part = replace(self, branches=())
        for branch in self.branches:
            longer = replace(part, branches=(*part.branches, branch))
            if part.branches and longer.num_tokens > limit:
                yield part
                start = part.start + part.num_targets
                longer = replace(part, branches=(branch,), start=start)
            part = longer
        yield part


@dataclass(frozen=True)
class RolloutBatch:
    """What the algorithms need to know of a step's rollouts.

    Attributes:
        rollouts: sorted by task, sample id and epoch.
        rewards: [N] float64, nan where there is none.
        valid: [N] rollouts that take part.
        groups: [N] id of each rollout's sample.
        tasks: [N] id of each rollout's advantage group ("task" of Eq. 7).
        items: packed items over all groups.
        token_rollouts: [T] rollout of every sampled token.
        token_places: [T] index in [U] of every sampled token.
        sampled_logprobs: [T] log-probability at sampling, nats.
        num_unique: U.
    """

    rollouts: tuple[Rollout, ...]
    rewards: Tensor
    valid: Tensor
    groups: Tensor
    tasks: Tensor
    items: tuple[PackedItem, ...]
    token_rollouts: Tensor
    token_places: Tensor
    sampled_logprobs: Tensor
    num_unique: int

    def to_unique(self, weights: Tensor) -> Tensor:
        """Returns the weights [U] of distinct tokens: sums over their occurrences of [T]."""
        total = torch.zeros(self.num_unique, dtype=weights.dtype)
        return total.index_add_(0, self.token_places, weights)


def build_batch(
    rollouts: Iterable[Rollout], train_on_cut_off: bool = True, merge_identical: bool = True
) -> RolloutBatch:
    """Returns the batch of a step's rollouts; those without a score take no part in it.

    Args:
        rollouts: of one step, in any order.
        train_on_cut_off: whether rollouts take part of which a turn hit the output limit.
        merge_identical: whether identical turns of a group become one branch. Exact while the
            loss is linear in a token's weight, which PPO clipping is not.

    Raises:
        DataError: a reward is not finite, or a scored rollout has no recorded call.
    """
    ordered = sorted(rollouts, key=lambda one: (one.task, one.sample_id, one.epoch))
    valid = [_takes_part(rollout, train_on_cut_off) for rollout in ordered]
    groups = _ids((rollout.task, rollout.sample_id) for rollout in ordered)
    packer = _Packer(merge_identical)
    for group in sorted(set(groups)):
        members = [i for i, own in enumerate(groups) if own == group and valid[i]]
        packer.add_group(group, [(i, ordered[i]) for i in members])
    owners, places, logprobs = packer.tokens()
    rewards = [math.nan if one.reward is None else one.reward for one in ordered]
    return RolloutBatch(
        rollouts=tuple(ordered),
        rewards=torch.tensor(rewards, dtype=torch.float64),
        valid=torch.tensor(valid, dtype=torch.bool),
        groups=torch.tensor(groups, dtype=torch.long),
        tasks=torch.tensor(_ids(one.advantage_group for one in ordered), dtype=torch.long),
        items=tuple(packer.items),
        token_rollouts=torch.tensor(owners, dtype=torch.long),
        token_places=torch.tensor(places, dtype=torch.long),
        sampled_logprobs=torch.tensor(logprobs, dtype=torch.float64),
        num_unique=packer.num_unique,
    )


def _takes_part(rollout: Rollout, train_on_cut_off: bool) -> bool:
    name = f"rollout {rollout.task}/{rollout.sample_id} epoch {rollout.epoch}"
    if rollout.not_finite:
        raise DataError(
            f"reward of {name} is not finite ({rollout.error}); mend the scorer of its task: for a "
            "sample that it cannot score it may raise, or return Score.unscored(reason=...)"
        )
    if rollout.reward is None or not is_scored(rollout.validity):
        return False
    if not math.isfinite(rollout.reward):
        raise DataError(f"reward of {name} is {rollout.reward}; mend the scorer of its task")
    if not rollout.turns:
        raise DataError(
            f"{name} has a reward but no recorded call; train with a provider that records calls "
            "(longspan-local)"
        )
    return train_on_cut_off or not rollout.is_cut_off


def _ids(names: Iterable[object]) -> list[int]:
    """Returns consecutive ids in order of first appearance."""
    seen: dict[object, int] = {}
    return [seen.setdefault(name, len(seen)) for name in names]


class _Occurrence(NamedTuple):
    """A turn and where it stands: index of its rollout in the batch, number in the rollout."""

    rollout: int
    number: int
    turn: Turn


class _Packer:
    """Collects the distinct turns of groups as packed items and the place of every token."""

    def __init__(self, merge_identical: bool) -> None:
        self.items: list[PackedItem] = []
        self.num_unique = 0
        self._merge = merge_identical
        self._placed: list[tuple[_Occurrence, int]] = []

    def add_group(self, group: int, members: Sequence[tuple[int, Rollout]]) -> None:
        """Adds the turns of a group's rollouts, given with their indices in the batch."""
        for number in range(max((len(one.turns) for _, one in members), default=0)):
            turns = [
                _Occurrence(index, number, rollout.turns[number])
                for index, rollout in members
                if number < len(rollout.turns) and rollout.turns[number].sampled_ids
            ]
            for prefix, distinct in _shared_prefixes(_distinct(turns, self._merge)):
                self._add_item(group, prefix, distinct)

    def tokens(self) -> tuple[list[int], list[int], list[float]]:
        """Returns rollout, place in [U] and log-probability of every token, in order [T]."""
        owners: list[int] = []
        places: list[int] = []
        logprobs: list[float] = []
        for occurrence, start in sorted(self._placed, key=lambda placed: placed[0][:2]):
            size = len(occurrence.turn.sampled_ids)
            owners += [occurrence.rollout] * size
            places += range(start, start + size)
            logprobs += occurrence.turn.logprobs
        return owners, places, logprobs

    def _add_item(
        self, group: int, prefix: tuple[int, ...], distinct: Sequence[list[_Occurrence]]
    ) -> None:
        start, branches = self.num_unique, []
        for occurrences in distinct:
            turn = occurrences[0].turn
            branches.append((turn.prompt_ids[len(prefix) :], turn.sampled_ids))
            self._placed += [(occurrence, self.num_unique) for occurrence in occurrences]
            self.num_unique += len(turn.sampled_ids)
        self.items.append(PackedItem(prefix, tuple(branches), group, start))


def _distinct(turns: Sequence[_Occurrence], merge: bool) -> list[list[_Occurrence]]:
    """Returns the turns by what was seen and sampled; each by itself without `merge`."""
    if not merge:
        return [[turn] for turn in turns]
    alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[_Occurrence]] = {}
    for one in turns:
        alike.setdefault((one.turn.prompt_ids, one.turn.sampled_ids), []).append(one)
    return list(alike.values())


def _shared_prefixes(
    distinct: Sequence[list[_Occurrence]],
) -> list[tuple[tuple[int, ...], list[list[_Occurrence]]]]:
    """Returns prefixes with the turns that begin with them, in the fewer tokens of two ways.

    One row over the longest common prefix of all prompts, or one row per distinct prompt: turns
    of a memory agent share a chunk but differ in memory, and some memories are the same.
    """
    if not distinct:
        return []
    by_prompt: dict[tuple[int, ...], list[list[_Occurrence]]] = {}
    for occurrences in distinct:
        by_prompt.setdefault(occurrences[0].turn.prompt_ids, []).append(occurrences)
    common = _common_prefix(by_prompt)
    suffixes = sum((len(prompt) - len(common)) * len(same) for prompt, same in by_prompt.items())
    if len(common) + suffixes <= sum(map(len, by_prompt)):
        return [(common, list(distinct))]
    return list(by_prompt.items())


def _common_prefix(prompts: Collection[tuple[int, ...]]) -> tuple[int, ...]:
    first, last = min(prompts), max(prompts)
    differ = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differ, min(len(first), len(last)))]
