"""Operations and seconds of a step, by hand."""

from __future__ import annotations

import pytest

from longspan.trainers.forecast.architecture import find_architecture
from longspan.trainers.forecast.timing import (
    Rates,
    num_passes,
    packed_flops,
    padded_flops,
    sampling_seconds,
    training_seconds,
)
from longspan.trainers.forecast.workload import Workload

NANO = find_architecture("nano")
# 4 layers of 4 * 128 * 128 weights in attention and 3 * 128 * 320 inside, and 9 norms of 128
WEIGHTS = 4 * (4 * 128 * 128 + 3 * 128 * 320) + 9 * 128
PER_PAIR = 4 * 4 * 128
OUTPUT = 2 * 416 * 128


def test_a_sequence_by_itself_attends_to_half_of_its_tokens() -> None:
    work = Workload(2, 4, 3, 90, 0, 10)
    of_sequence = 100 * (2 * WEIGHTS + PER_PAIR * 50) + 10 * OUTPUT
    assert padded_flops(NANO, work) == 24 * of_sequence


def test_a_prefix_is_computed_once_for_each_part_of_its_group() -> None:
    work = Workload(2, 4, 1, 90, 0, 10)
    prefix = 90 * (2 * WEIGHTS + PER_PAIR * 45)
    branches = 4 * 10 * (2 * WEIGHTS + PER_PAIR * 95) + 4 * 10 * OUTPUT
    assert packed_flops(NANO, work, 1000) == 2 * (prefix + branches)
    short = Workload(2, 4, 1, 20, 0, 10)  # 40 tokens: two branches beside the prefix
    prefix = 20 * (2 * WEIGHTS + PER_PAIR * 10)
    branches = 4 * 10 * (2 * WEIGHTS + PER_PAIR * 25) + 4 * 10 * OUTPUT
    assert packed_flops(NANO, short, 30) == 2 * (2 * prefix + branches)


@pytest.mark.parametrize(
    ("is_measured", "checkpointing", "passes"),
    [(False, False, 3), (True, False, 4), (False, True, 4), (True, True, 5)],
)
def test_a_step_is_forward_backward_and_what_is_computed_twice(
    is_measured: bool, checkpointing: bool, passes: int
) -> None:
    assert num_passes(is_measured, checkpointing) == passes


def test_seconds_follow_from_the_stated_rates() -> None:
    work = Workload(10, 8, 1, 1000, 0, 100)
    rates = Rates(train_flops=2e12, prefill=5000.0, decode=400.0)
    # 10,000 prompt tokens, a group's once, and 8,000 sampled ones, on two engines
    assert sampling_seconds(work, rates, 2) == (10_000 / 5000 + 8000 / 400) / 2 == 11.0
    assert training_seconds(8e12, rates, 4) == 1.0


def test_without_a_rate_a_time_is_not_known() -> None:
    work = Workload(1, 2, 1, 10, 0, 10)
    assert sampling_seconds(work, Rates(prefill=1.0), 1) is None
    assert training_seconds(1.0, Rates(prefill=1.0, decode=1.0), 1) is None
