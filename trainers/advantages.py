"""Advantages of rollouts: group-relative rewards over a group, task or batch standard deviation.

Shapes: [N] rollouts of one batch. A *group* holds the rollouts of one sample; a *task* is an
advantage group, by default (task type, scorer), so that dense and sparse rewards never share a
deviation. This module does not know how rewards are made or which rollouts are valid.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Deviation = Literal["group", "task", "batch"]
"""Over which rewards the standard deviation is taken: Eq. 3, Eq. 7, or the whole batch."""

_TOLERANCE = 1e-8
"""Differences of rewards in [0, 1] below this are rounding, not signal."""


def relative_advantages(
    rewards: Tensor,
    groups: Tensor,
    tasks: Tensor,
    valid: Tensor,
    deviation: Deviation = "task",
) -> Tensor:
    """Returns the advantage of every rollout, [N] float64.

    arXiv 2512.12967, with R the rewards of i's group:

        A_i = (r_i - mean(R)) / std(S)

    where S = R (Eq. 3, `group`), all rewards of i's task in the batch (Eq. 7, `task`), or all
    rewards of the batch (`batch`). std is the sample standard deviation (N - 1), as in the
    frameworks of the paper and of this project.

    Assumes rewards of valid rollouts to be finite. Invalid rollouts enter no mean and no deviation
    and get 0. A group with one valid rollout, and S with one valid reward or without variance,
    give 0: such rewards say nothing about which rollout was better.

    Args:
        rewards: [N]; values of invalid rollouts are ignored and may be nan.
        groups: [N] integer id of each rollout's group.
        tasks: [N] integer id of each rollout's task.
        valid: [N] bool.
        deviation: see above.
    """
    rewards = torch.where(valid, rewards.double(), 0.0)
    centred = rewards - _means(rewards, groups, valid)
    centred = torch.where(valid & (centred.abs() > _TOLERANCE), centred, 0.0)
    scopes = {"group": groups, "task": tasks, "batch": torch.zeros_like(groups)}
    deviations = _deviations(rewards, scopes[deviation], valid)
    return torch.where(deviations > _TOLERANCE, centred / deviations, 0.0)


def live_groups(advantages: Tensor, groups: Tensor) -> Tensor:
    """Returns the sorted ids of the groups in which some rollout has an advantage, [K]."""
    live: Tensor = torch.unique(groups[advantages != 0])
    return live


def _sums(values: Tensor, segments: Tensor) -> Tensor:
    """Returns for every element the sum of `values` over its segment."""
    ids, index = torch.unique(segments, return_inverse=True)
    return torch.zeros(len(ids), dtype=values.dtype).index_add_(0, index, values)[index]


def _means(values: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
    """Returns for every element the mean of its segment's valid values, 0 where there are none."""
    counts = _sums(valid.double(), segments)
    return _sums(torch.where(valid, values, 0.0), segments) / counts.clamp_min(1)


def _deviations(values: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
    """Returns for every element the sample deviation of its segment, 0 below two valid values."""
    squares = (values - _means(values, segments, valid)).square()
    counts = _sums(valid.double(), segments)
    total = _sums(torch.where(valid, squares, 0.0), segments)
    return (total / (counts - 1).clamp_min(1)).sqrt()
