"""Operations of a step, and its time at rates that somebody states.

An operation is a multiplication or an addition. Not counted: Inspect's solvers, scorers and judges,
transfers of weights, states on disk, waiting for the longest rollout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from longspan.trainers.forecast.architecture import Architecture
from longspan.trainers.forecast.memory import branches_per_part
from longspan.trainers.forecast.workload import Workload

BACKWARD = 2
"""A backward has the operations of so many forwards."""


@dataclass(frozen=True)
class Rates:
    """What the machines do, as stated; None is not known.

    Attributes:
        train_flops: operations per second of one GPU in training.
        prefill: prompt tokens per second of one engine.
        decode: sampled tokens per second of one engine, all its sequences together.
    """

    train_flops: float | None = None
    prefill: float | None = None
    decode: float | None = None


def packed_flops(model: Architecture, work: Workload, micro_batch_tokens: int) -> float:
    """Returns the operations of one forward over a step as the embedded engine packs it.

    A prefix is computed once for each part of its group.
    """
    branch, prefix = work.suffix_tokens + work.output_tokens, work.prefix_tokens
    parts = math.ceil(work.group_size / branches_per_part(work, micro_batch_tokens))
    of_prefix = prefix * model.forward_flops(prefix / 2)
    of_branch = branch * model.forward_flops(prefix + branch / 2)
    of_group = parts * of_prefix + work.group_size * of_branch
    return work.num_groups * work.num_turns * of_group + _output_flops(model, work)


def padded_flops(model: Architecture, work: Workload) -> float:
    """Returns the operations of one forward over a step, every sequence by itself."""
    of_sequence = work.sequence_tokens * model.forward_flops(work.sequence_tokens / 2)
    return work.num_sequences * of_sequence + _output_flops(model, work)


def num_passes(is_measured: bool, checkpointing: bool) -> int:
    """Returns how many forwards' operations a step takes.

    Args:
        is_measured: whether entropies are needed before the update, which is a forward of its own.
        checkpointing: whether layers are computed again in the backward.
    """
    return is_measured + 1 + checkpointing + BACKWARD


def sampling_seconds(work: Workload, rates: Rates, num_engines: int) -> float | None:
    """Returns the seconds of a step's rollouts; None where a rate is not known."""
    if rates.prefill is None or rates.decode is None:
        return None
    seconds = work.prefill_tokens / rates.prefill + work.decode_tokens / rates.decode
    return seconds / num_engines


def training_seconds(flops: float, rates: Rates, num_ranks: int) -> float | None:
    """Returns the seconds of a step's training; None where the rate is not known."""
    return None if rates.train_flops is None else flops / (rates.train_flops * num_ranks)


def _output_flops(model: Architecture, work: Workload) -> float:
    """Returns the operations of the output layer, over sampled tokens only."""
    return 2.0 * work.decode_tokens * model.output_parameters
