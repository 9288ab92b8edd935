"""Eq. 3, Eq. 7 and the batch variant, by hand; exclusion of invalid rollouts; degenerate groups."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.trainers.advantages import live_groups, relative_advantages

REWARDS = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.2, 0.4])
GROUPS = torch.tensor([7, 7, 3, 3, 5, 5])
TASKS = torch.tensor([0, 0, 0, 0, 1, 1])
VALID = torch.ones(6, dtype=torch.bool)


def test_group_deviation_is_equation_3() -> None:
    # Group 7: mean 0.5, std sqrt((0.25 + 0.25) / 1) = sqrt(1/2). Group 3 is dead. Group 5: mean
    # 0.3, std sqrt(0.01 + 0.01) = 0.1 sqrt(2): the small dense difference counts as much.
    advantages = relative_advantages(REWARDS, GROUPS, TASKS, VALID, "group")
    half = math.sqrt(0.5)
    expected = [half, -half, 0, 0, -half, half]
    assert advantages.tolist() == pytest.approx(expected, abs=1e-7)


def test_task_deviation_is_equation_7() -> None:
    # Task 0 has rewards 1, 0, 0, 0: mean 0.25, squares 0.5625 + 3 * 0.0625 = 0.75, std
    # sqrt(0.75 / 3) = 0.5, so group 7 gets +-0.5 / 0.5 = +-1. Task 1 is group 5 alone.
    advantages = relative_advantages(REWARDS, GROUPS, TASKS, VALID, "task")
    half = math.sqrt(0.5)
    assert advantages.tolist() == pytest.approx([1, -1, 0, 0, -half, half], abs=1e-7)


def test_batch_deviation_divides_every_group_by_one_number() -> None:
    # Rewards 1, 0, 0, 0, .2, .4: mean 1.6 / 6, squares 1.2 - 1.6^2 / 6, std sqrt(that / 5).
    deviation = math.sqrt((1.2 - 1.6**2 / 6) / 5)
    advantages = relative_advantages(REWARDS, GROUPS, TASKS, VALID, "batch")
    expected = [x / deviation for x in (0.5, -0.5, 0, 0, -0.1, 0.1)]
    assert advantages.tolist() == pytest.approx(expected, abs=1e-6)


def test_invalid_rollout_enters_no_mean_and_no_deviation() -> None:
    # Without the third rollout the group is 1, 0: as if it had never been sampled.
    rewards = torch.tensor([1.0, 0.0, math.nan])
    one = torch.zeros(3, dtype=torch.long)
    valid = torch.tensor([True, True, False])
    advantages = relative_advantages(rewards, one, one, valid, "task")
    assert advantages.tolist() == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5), 0])


@pytest.mark.parametrize("deviation", ["group", "task", "batch"])
@pytest.mark.parametrize(
    ("rewards", "valid"),
    [
        ([0.1, 0.1, 0.1], [True, True, True]),
        ([1.0, 0.0, 0.0], [True, False, False]),
        ([1.0, 0.0, 0.5], [False, False, False]),
    ],
    ids=["no variance", "one valid rollout", "none valid"],
)
def test_nothing_to_compare_gives_zero(
    deviation: str, rewards: list[float], valid: list[bool]
) -> None:
    one = torch.zeros(3, dtype=torch.long)
    advantages = relative_advantages(
        torch.tensor(rewards), one, one, torch.tensor(valid), deviation
    )
    assert advantages.tolist() == [0, 0, 0]


def test_live_groups_are_those_with_an_advantage() -> None:
    advantages = relative_advantages(REWARDS, GROUPS, TASKS, VALID, "group")
    assert live_groups(advantages, GROUPS).tolist() == [5, 7]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.booleans()), min_size=1, max_size=40),
    st.sampled_from(["group", "task", "batch"]),
)
def test_advantages_are_finite_centred_and_ordered_within_every_group(
    rollouts: list[tuple[float, int, bool]], deviation: str
) -> None:
    rewards, groups, valid = (torch.tensor(column) for column in zip(*rollouts, strict=True))
    advantages = relative_advantages(rewards, groups, groups // 2, valid, deviation)
    assert advantages.isfinite().all()
    assert (advantages[~valid] == 0).all()
    for group in groups.unique():
        members = valid & (groups == group)
        assert abs(float(advantages[members].sum())) < 1e-4
        order = rewards[members].argsort()
        assert (advantages[members][order].diff() >= -1e-9).all()
    if deviation == "batch" and (advantages != 0).any():
        assert float(advantages.abs().max()) <= math.sqrt(len(rollouts)) + 1e-6
