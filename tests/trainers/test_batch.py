"""Rollouts -> tensors: who takes part, which turns are one, where every token is."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import DataError
from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.batch import RolloutBatch, build_batch


def turn(prompt: str, sampled: str, stop_reason: str = "stop") -> Turn:
    ids = tuple(map(ord, sampled))
    return Turn(tuple(map(ord, prompt)), ids, tuple(-float(i) for i in ids), stop_reason)


def rollout(
    sample: str, epoch: int, *turns: Turn, reward: float | None = 1.0, validity: str = "answered"
) -> Rollout:
    sizes = sum(len(t.prompt_ids) for t in turns), sum(len(t.sampled_ids) for t in turns)
    return Rollout(
        "task", "multi_hop", "multi_hop/x", sample, epoch, turns, reward, validity, 0, 0.1, *sizes
    )


def text(ids: tuple[int, ...]) -> str:
    return "".join(map(chr, ids))


def rows(batch: RolloutBatch) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (text(item.prefix), [(text(a), text(b)) for a, b in item.branches]) for item in batch.items
    ]


def test_identical_answers_of_a_group_are_one_branch_and_their_weights_add_up() -> None:
    batch = build_batch(
        [
            rollout("s", 1, turn("doc?", "ab")),
            rollout("s", 2, turn("doc?", "c")),
            rollout("s", 3, turn("doc?", "ab")),
        ]
    )
    assert rows(batch) == [("doc?", [("", "ab"), ("", "c")])]
    assert batch.token_rollouts.tolist() == [0, 0, 1, 2, 2]
    assert batch.token_places.tolist() == [0, 1, 2, 0, 1]
    weights = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0])
    assert batch.to_unique(weights).tolist() == [11, 22, 3]


def test_the_same_answer_to_another_sample_is_not_merged() -> None:
    batch = build_batch([rollout("s", 1, turn("p", "a")), rollout("t", 1, turn("p", "a"))])
    assert batch.num_unique == 2
    assert batch.groups.tolist() == [0, 1]


def test_memory_turns_share_the_chunk_and_keep_their_own_memory() -> None:
    # Turn 1 of both is the same prompt; turn 2 shares "chunk two " and differs in the memory.
    batch = build_batch(
        [
            rollout("s", 1, turn("chunk one", "x"), turn("chunk two m=x", "ok")),
            rollout("s", 2, turn("chunk one", "y"), turn("chunk two m=y", "ok")),
        ]
    )
    assert rows(batch) == [
        ("chunk one", [("", "x"), ("", "y")]),
        ("chunk two m=", [("x", "ok"), ("y", "ok")]),
    ]
    # Tokens stand by rollout, then turn: x, ok, y, ok.
    assert batch.token_rollouts.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.token_places.tolist() == [0, 2, 3, 1, 4, 5]


def test_prompts_that_differ_early_but_repeat_become_rows_of_their_own() -> None:
    # Common prefix "q": one row would repeat the long memories A and B for every answer.
    batch = build_batch([rollout("s", i, turn("q" + "AABB"[i] * 9, "abcd"[i])) for i in range(4)])
    assert [prefix for prefix, _ in rows(batch)] == ["q" + "A" * 9, "q" + "B" * 9]


def test_a_rollout_without_score_takes_no_part() -> None:
    batch = build_batch(
        [
            rollout("s", 1, turn("p", "a"), reward=None, validity="judge_failed"),
            rollout("s", 2, turn("p", "b"), reward=0.0, validity="cut_off"),
            rollout("s", 3, turn("p", "c"), reward=0.0, validity="unknown"),
        ],
        train_on_cut_off=False,
    )
    assert batch.valid.tolist() == [False, False, True]
    assert rows(batch) == [("p", [("", "c")])]
    assert math.isnan(float(batch.rewards[0]))


@pytest.mark.parametrize("trains", [True, False])
def test_a_reading_turn_that_hit_its_limit_cuts_the_rollout_off(trains: bool) -> None:
    cut = rollout("s", 1, turn("chunk", "memory with no e", "max_tokens"), turn("m", "answer"))
    whole = rollout("s", 2, turn("chunk", "memory"), turn("m", "answer"))
    batch = build_batch([cut, whole], train_on_cut_off=trains)
    assert batch.valid.tolist() == [trains, True]


def test_empty_completion_keeps_its_reward_and_has_no_token() -> None:
    batch = build_batch([rollout("s", 1, turn("p", "")), rollout("s", 2, turn("p", "b"))])
    assert batch.valid.all()
    assert batch.token_rollouts.tolist() == [1]


def test_no_valid_rollout_gives_an_empty_batch() -> None:
    batch = build_batch([rollout("s", 1, turn("p", "a"), reward=None, validity="engine_failed")])
    assert (batch.items, batch.num_unique, batch.valid.tolist()) == ((), 0, [False])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            rollout("s", 1, turn("p", "a"), reward=math.inf),
            "reward of rollout task/s epoch 1 is inf",
        ),
        (rollout("s", 1), "has a reward but no recorded call"),
    ],
)
def test_what_cannot_be_trained_on_is_an_error(wrong: Rollout, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_batch([wrong])


@given(
    st.lists(
        st.tuples(
            st.sampled_from("st"),
            st.lists(
                st.tuples(st.text("pq", min_size=1, max_size=4), st.text("ab", max_size=3)),
                min_size=1,
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_every_sampled_token_is_found_behind_its_own_prompt(
    drawn: list[tuple[str, list[tuple[str, str]]]], merge: bool, random
) -> None:
    rollouts = [
        rollout(sample, epoch, *(turn(*texts) for texts in turns))
        for epoch, (sample, turns) in enumerate(drawn)
    ]
    batch = build_batch(random.sample(rollouts, len(rollouts)), merge_identical=merge)
    contexts: list[str] = []  # [U] everything before and including each distinct token
    for item in batch.items:
        assert item.start == len(contexts)
        for suffix, sampled in item.branches:
            before = text(item.prefix) + text(suffix)
            contexts += [before + "|" + text(sampled[: i + 1]) for i in range(len(sampled))]
    assert len(contexts) == batch.num_unique
    expected = [
        (index, text(one.prompt_ids) + "|" + text(one.sampled_ids[: i + 1]))
        for index, each in enumerate(batch.rollouts)
        for one in each.turns
        for i in range(len(one.sampled_ids))
    ]
    found = [contexts[place] for place in batch.token_places.tolist()]
    assert list(zip(batch.token_rollouts.tolist(), found, strict=True)) == expected
    assert [replace(r) for r in batch.rollouts] == sorted(
        rollouts, key=lambda r: (r.sample_id, r.epoch)
    )
