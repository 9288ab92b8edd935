"""Memory: figures by hand, and those of the real parts of the engines."""

from __future__ import annotations

from typing import Any

import pytest

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.batch import build_batch
from longspan.trainers.forecast.activations import AUTOCAST, BFLOAT16, FLOAT32, Precision
from longspan.trainers.forecast.architecture import architecture_of, find_architecture
from longspan.trainers.forecast.memory import (
    Forward,
    Holding,
    engine_sampling,
    local_holding,
    local_precision,
    local_sampling,
    packed_forward,
    padded_forward,
    training_memory,
    zero_holding,
)
from longspan.trainers.forecast.workload import Workload
from longspan.trainers.local import learner
from longspan.trainers.local.policy import Policy, load_trainable
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.objective import Objective
from longspan.trainers.openrlhf import sequences
from longspan.trainers.openrlhf.cluster import ClusterSettings
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings
from tests.trainers.tiny import save_tiny

PAPER = find_architecture("Qwen/Qwen3-30B-A3B-Thinking-2507")
P = 30_532_122_624
"""Parameters of the paper's model."""
EIGHT = {"gpus_per_node": 8, "rollout_engines": 4, "gpus_per_engine": 2}


def rollouts(work: Workload) -> list[Rollout]:
    """Returns a step's rollouts of a workload of one turn, no two tokens of outputs alike."""
    found, token = [], 0
    for group in range(work.num_groups):
        prefix = (group,) * work.prefix_tokens
        for epoch in range(1, work.group_size + 1):
            token += 1
            turn = Turn(
                prefix + (1000 + token,) * work.suffix_tokens,
                (2000 + token,) * work.output_tokens,
                (-1.0,) * work.output_tokens,
                "stop",
            )
            found.append(
                Rollout("k", "t", "t/x", f"s{group}", epoch, (turn,), float(epoch % 2), "answered",
                        0, 0.0, 0, 0)
            )  # fmt: skip
    return found


WORKS = [
    (Workload(4, 8, 1, 64, 0, 16), 100_000),  # the whole batch in one forward
    (Workload(6, 4, 1, 64, 0, 16), 300),  # several groups
    (Workload(3, 8, 1, 64, 0, 16), 160),  # groups in parts
    (Workload(3, 8, 1, 64, 0, 100), 32),  # a part is longer than the limit
    (Workload(3, 4, 1, 40, 24, 16), 150),  # suffixes of their own
]


@pytest.mark.parametrize(("work", "limit"), WORKS)
def test_the_largest_forward_is_that_of_the_engines(work: Workload, limit: int) -> None:
    batch = build_batch(rollouts(work))
    pieces = learner.micro_batches(batch.items, limit)
    widest = max(len(piece) * max(item.num_tokens for item in piece) for piece in pieces)
    found = packed_forward(work, limit)
    assert found.tokens == widest
    assert found.sampled == max(sum(item.num_targets for item in piece) for piece in pieces)
    parts = sequences.micro_batches(sequences.turn_sequences(batch), limit, 1)
    found = padded_forward(work, limit)
    assert found.tokens == max(part.padded(0)[0].numel() for part in parts)
    assert found.sampled == max(len(part.places) for part in parts)


def held_bytes(settings: ModelSettings, folder: Any) -> tuple[Any, dict[str, int]]:
    """Returns the model and the bytes that the embedded engine holds after an update."""
    trainable = load_trainable(str(save_tiny(folder)), settings, 0)
    policy = Policy(trainable)
    optimizer = OptimizerSettings(learning_rate=1e-3)
    trained = learner.Learner(trainable.model, optimizer, 1.0, trainable.compute)
    small = [
        Rollout("k", "t", "t/x", "s", n + 1, (Turn((2, 3, 4), (5 + n,), (-1.0,), "stop"),),
                float(n % 2), "answered", 0, 0.0, 0, 0)
        for n in range(4)
    ]  # fmt: skip
    trained.update(build_batch(small), Objective(ObjectiveSettings(deviation="group")), 0)
    weights = list(trainable.model.parameters())
    states = [one for state in trained.optimizer.state.values() for one in state.values()]
    copied = policy.engine.model is not trainable.model
    return trainable.model, {
        "weights": sum(one.nbytes for one in weights),
        "gradients": sum(one.grad.nbytes for one in weights if one.grad is not None),
        "moments": sum(one.nbytes for one in states if one.numel() > 1),
        "copy": sum(one.nbytes for one in policy.engine.model.parameters()) if copied else 0,
    }


@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(device="cpu"),
        ModelSettings(device="cpu", dtype="bfloat16"),
        ModelSettings(device="cpu", lora={"rank": 4, "alpha": 8}),
        ModelSettings(device="cpu", dtype="bfloat16", lora={"rank": 4, "alpha": 8}),
    ],
    ids=["float32", "bfloat16", "adapters", "adapters in bfloat16"],
)
def test_the_embedded_engine_holds_what_was_computed(
    settings: ModelSettings, tmp_path: Any
) -> None:
    model, held = held_bytes(settings, tmp_path / "start")
    # The adapters are weights of their own, so the sizes are those of the plain configuration.
    sizes = architecture_of(model.config, "tiny")
    found = local_holding(sizes, local_precision(settings, on_cpu=True))
    assert {name: getattr(found, name) for name in held} == held


def test_full_training_in_bfloat16_takes_18_bytes_a_parameter() -> None:
    found = local_holding(PAPER, AUTOCAST)
    assert found.total == 18 * P == found.kept


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # weights 2 P; gradients 2 P summed in parts and as many arriving; master and moments
        ({"zero_stage": 2}, Holding(2 * P, 4 * P // 8, 12 * P // 8)),
        ({"zero_stage": 1}, Holding(2 * P, 2 * P, 12 * P // 8)),
        ({"zero_stage": 3}, Holding(2 * P // 8, 2 * P // 8, 12 * P // 8)),
        ({"zero_stage": 2, "offload_optimizer": True}, Holding(2 * P, 0, 0)),
        ({"zero_stage": 3, "offload_optimizer": True}, Holding(2 * P // 8, 0, 0)),
    ],
)
def test_deepspeed_spreads_what_its_stage_says(settings: Any, expected: Holding) -> None:
    cluster = ClusterSettings(**EIGHT, **settings)
    found = zero_holding(PAPER, cluster)
    is_three, is_offloaded = cluster.zero_stage == 3, cluster.offload_optimizer
    assert (found.weights, found.gradients, found.moments) == (
        expected.weights,
        expected.gradients,
        expected.moments,
    )
    # a bucket of gradients; ZeRO 3 gathers at most a billion weights
    assert found.buffers == (3_000_000_000 if is_three else 1_000_000_000)
    assert found.kept == found.weights
    # in float32: the summed gradients, with ZeRO 3 those of a billion weights
    in_parts = min(4 * P // 8, 4_000_000_000 // 8) if is_three else 4 * (P // 8)
    assert found.step == (0 if is_offloaded else in_parts)
    assert found.host == (18 * P // 8 if is_offloaded else 0)
    # taking turns, the moments wait in main memory in any case
    assert found.host_while_sampling == (18 * P // 8 if is_offloaded else 12 * P // 8)


def test_processes_that_do_not_take_turns_leave_nothing_on_the_engines_gpus() -> None:
    found = zero_holding(PAPER, ClusterSettings(colocate=False, gpus_per_node=8))
    assert (found.kept, found.host_while_sampling) == (0, 0)


def test_the_papers_engine_by_hand() -> None:
    gpu = 80 << 30
    work = Workload(128, 8, 1, 120_000, 0, 50_000)
    cluster = ClusterSettings(**EIGHT, engine_memory_share=0.6)
    found = engine_sampling(PAPER, work, cluster, 5, gpu)
    cache = int(0.6 * gpu) - P  # half of the weights, 2 bytes each
    assert (found.weights, found.cache) == (P, cache)
    assert found.cache_tokens == 2 * cache // 98_304 == 427_398
    assert found.at_once == 6  # (427,398 - 120,000) // 50,000: a prompt once for its group
    assert found.total == 5 + int(0.6 * gpu)


def test_more_gpus_than_heads_hold_keys_twice() -> None:
    work = Workload(1, 2, 1, 100, 0, 100)
    by_eight = ClusterSettings(gpus_per_node=8, rollout_engines=1, gpus_per_engine=8)
    found = engine_sampling(PAPER, work, by_eight, 0, 80 << 30)
    assert found.cache_tokens == 4 * found.cache // 98_304  # 4 heads on 8 GPUs


def test_an_engine_whose_weights_do_not_fit_has_no_room() -> None:
    found = engine_sampling(
        PAPER, Workload(1, 2, 1, 10, 0, 10), ClusterSettings(engine_memory_share=0.6), 0, 80 << 30
    )
    assert found.cache < 0
    assert (found.cache_tokens, found.at_once, found.total) == (0, 0, 2 * P)


def test_whole_groups_and_parts_of_one_fit_the_cache() -> None:
    nano = find_architecture("nano")
    per_token = nano.cache_bytes(4)
    work = Workload(9, 4, 1, 100, 0, 25)  # a group takes 200 tokens
    gpu = 1000 * per_token
    found = local_sampling(nano, work, FLOAT32, 0, gpu)
    assert found.cache_tokens == 600  # 60% of what is free
    assert found.at_once == 3 * 4
    found = local_sampling(nano, work, FLOAT32, gpu // 12, gpu)  # 550: two groups, and 2 of a third
    assert (found.cache_tokens, found.at_once) == (550, 2 * 4 + 2)
    assert local_sampling(nano, work, FLOAT32, 0, gpu, max_rows=5).at_once == 5


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        # V 416, H 128: chunks of 80,659 rows; logits and probabilities in float32, the gradient
        (FLOAT32, 80_659 * 416 * 8 + 4 * 416 * 128),
        # logits and their gradient in bfloat16, too; a product that is added to the gradient
        (BFLOAT16, 80_659 * 416 * 12 + 6 * 416 * 128),
        # a copy of the output matrix
        (AUTOCAST, 80_659 * 416 * 12 + 8 * 416 * 128),
        # a frozen output matrix has no gradient
        (Precision(2, 2, rank=4), 80_659 * 416 * 12),
    ],
)
def test_the_output_layer_by_hand(precision: Precision, expected: int) -> None:
    forward, nothing = Forward(200_000, 100_000), Holding(0, 0, 0)
    found = training_memory(find_architecture("nano"), nothing, precision, forward, False)
    assert found.output_layer == expected
    assert found.naive_logits == 2 * 4 * 200_000 * 416
    assert found.total == found.activations.kept + expected


def test_naive_logits_of_the_papers_longest_sequence_take_two_cards() -> None:
    forward = Forward(170_000, 50_000)
    found = training_memory(PAPER, Holding(0, 0, 0), BFLOAT16, forward, True)
    assert found.naive_logits == 2 * 4 * 170_000 * 151_936 > 2 * 80 * 2**30
    assert found.output_layer < 3 * 2**30
    assert found.total == found.activations.kept + found.activations.again


def test_a_short_forward_needs_less_than_the_optimizers_step() -> None:
    nano = find_architecture("nano")
    holding = local_holding(nano, FLOAT32)
    found = training_memory(nano, holding, FLOAT32, Forward(2, 1), False)
    assert found.total == holding.total + 4 * nano.num_parameters


def test_fewer_sampled_tokens_than_a_chunk_make_a_smaller_one() -> None:
    nano, nothing = find_architecture("nano"), Holding(0, 0, 0)
    found = training_memory(nano, nothing, Precision(4, 4, rank=4), Forward(1000, 10), False)
    assert found.output_layer == 10 * 416 * 8
