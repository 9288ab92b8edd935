"""Both engines say the same of the same rollouts: advantages, masks, entropies, loss, gradient.

The embedded engine packs turns over shared prefixes, this one pads a sequence per turn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.errors import ModelError
from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.stage import stage_batch
from longspan.trainers.loss import policy_loss
from longspan.trainers.objective import Objective
from longspan.trainers.openrlhf.sequences import (
    MicroBatch,
    TurnSequence,
    micro_batches,
    turn_sequences,
)
from longspan.trainers.openrlhf.step_batch import StepBatch, weigh_step
from longspan.trainers.openrlhf.streamed_head import StreamedHead
from longspan.trainers.stages import TrainStage
from longspan.trainers.update import Update
from tests.trainers.tiny import tiny_model
from tests.trainers.toy import toy_stage

TOLERANCE = 2e-5
"""Of float32 forwards over other shapes; advantages and masks are equal."""
PAD = 0


class Padded:
    """The update of this engine in one process: padded micro-batches, gradients that add up."""

    def __init__(self, model: torch.nn.Module, stage: TrainStage, num_ranks: int = 1) -> None:
        self.model, self.stage, self.num_ranks = model, stage, num_ranks
        self.head = StreamedHead(model, stage.sampling.temperature)
        self.objective = Objective(stage.objective)
        optimizer = stage.optimizer
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            weight_decay=optimizer.weight_decay,
        )

    def gradient(self, rollouts: Sequence[Rollout]) -> tuple[StepBatch, float]:
        step = weigh_step(rollouts, self.stage, self.objective, self.num_ranks, self.measure)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in step.parts:
            found = self.statistics(part)
            old = step.batch.sampled_logprobs[part.places]
            clip = self.stage.objective.ratio_clip
            weights = step.weights_of(part)
            loss = policy_loss(found.logprobs, weights, old if clip else None, clip)
            loss.backward()
            total += float(loss.detach())
        return step, total

    def update(self, rollouts: Sequence[Rollout], number: int) -> StepBatch:
        step, _ = self.gradient(rollouts)
        limit = self.stage.optimizer.max_gradient_norm
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.optimizer.rate_of(number)
        if step.parts:
            self.optimizer.step()
        return step

    def measure(self, parts: Sequence[MicroBatch]) -> list[TokenStatistics]:
        with torch.no_grad():
            return [self.statistics(part) for part in parts]

    def statistics(self, part: MicroBatch) -> TokenStatistics:
        ids, attention, sampled = part.padded(PAD)
        return self.head.statistics(self.model, ids, attention, sampled)


def rollouts(seed: int, num_turns: int = 1, num_groups: int = 4) -> list[Rollout]:
    """Returns groups of four: random prompts and responses, one rollout without a score."""
    draw = random.Random(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw.randrange(6, 80) for _ in range(draw.randint(low, high)))

    found = []
    for group in range(num_groups):
        chunks = [ids(3, 12) for _ in range(num_turns)]
        for epoch in range(1, 5):
            turns = tuple(
                Turn(chunk + ids(0, 3), sampled := ids(1, 6), (-3.0,) * len(sampled), "stop")
                for chunk in chunks[: draw.randint(1, num_turns)]
            )
            kind = ("dense", "sparse")[group % 2]
            reward = draw.random() if kind == "dense" else float(draw.random() < 0.5)
            found.append(
                Rollout("k", kind, f"{kind}/x", f"s{group}", epoch, turns, reward, "answered",
                        0, 0.0, 0, 0)
            )  # fmt: skip
    failed = found[5]
    found[5] = Rollout(
        failed.task, failed.task_type, failed.advantage_group, failed.sample_id, failed.epoch,
        failed.turns, None, "scorer_failed", 0, 0.0, 0, 0, error="the scorer raised",
    )  # fmt: skip
    return found


def stage(**changes: object) -> TrainStage:
    objective = {"aepo": {"low": 0.0, "high": 0.1}, "clipping": {"threshold": 3.0}}
    content = {"objective": objective, **changes}
    made = toy_stage(**content)
    sampling = made.sampling.model_copy(update={"temperature": 0.8})
    return made.model_copy(update={"sampling": sampling})


def embedded(model: torch.nn.Module, of: TrainStage, batch: Sequence[Rollout]) -> Update:
    learner = Learner(model, of.optimizer, of.sampling.temperature)
    return learner.gradient(stage_batch(batch, of), Objective(of.objective), 0)


def gradients(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("num_turns", [1, 3], ids=["full_context", "memory_agent"])
@pytest.mark.parametrize(
    "objective",
    [
        {"aepo": {"low": 0.0, "high": 0.1}},
        {"aepo": {"low": 0.0, "high": 0.1}, "normalisation": "batch", "masked_denominator": "kept"},
        {"clipping": {"threshold": 3.0}, "deviation": "group"},
        {"ratio_clip": {"low": 0.1, "high": 0.1}, "deviation": "batch"},
    ],
    ids=["aepo", "aepo_kept", "clipping", "ratio"],
)
def test_a_batch_is_the_same_to_both_engines(num_turns: int, objective: dict[str, object]) -> None:
    of, batch = stage(objective=objective), rollouts(1, num_turns)
    of = of.model_copy(
        update={"optimizer": of.optimizer.model_copy(update={"max_gradient_norm": 1e9})}
    )
    ours, theirs = tiny_model(), tiny_model()
    update = embedded(ours, of, batch)
    step, loss = Padded(theirs, of).gradient(batch)
    assert torch.equal(step.advantages, update.advantages)
    assert torch.equal(step.step_weights.masked, update.step_weights.masked)
    assert torch.equal(step.step_weights.weights, update.step_weights.weights)
    decisions = [one.step_weights.decision for one in (step, update)]
    assert len({None if one is None else (one.masking, one.reason) for one in decisions}) == 1
    assert step.entropy == pytest.approx(update.entropy, abs=TOLERANCE)
    assert loss == pytest.approx(update.loss, abs=TOLERANCE)
    difference = gradients(ours) - gradients(theirs)
    assert difference.norm() <= TOLERANCE * gradients(ours).norm()


def test_twenty_steps_make_the_same_decisions_of_aepo() -> None:
    # Thresholds near the entropies of these steps and a cap, so that the decision changes often.
    of = stage(
        objective={"aepo": {"low": 2.61, "high": 2.66, "max_masked_steps": 3}},
        optimizer={"learning_rate": 5e-3, "warmup_steps": 2, "micro_batch_tokens": 64},
    )
    ours, theirs = tiny_model(), tiny_model()
    learner, objective = Learner(ours, of.optimizer, 0.8), Objective(of.objective)
    padded, decisions = Padded(theirs, of, num_ranks=2), []
    for number in range(20):
        batch = rollouts(number, num_turns=1 + number % 3)
        update = learner.update(stage_batch(batch, of), objective, number)
        step = padded.update(batch, number)
        pair = (update.step_weights.decision, step.step_weights.decision)
        assert pair[0] is not None and pair[1] is not None
        decisions.append(pair[0].masking)
        assert pair[0].masking == pair[1].masking
        assert pair[0].entropy == pytest.approx(pair[1].entropy, abs=1e-3)
    assert {True, False} <= set(decisions)
    assert sum(a != b for a, b in zip(decisions, decisions[1:], strict=False)) >= 2


@given(st.integers(0, 1000), st.integers(8, 200), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_every_rank_gets_as_many_micro_batches_and_every_sequence_once(
    seed: int, max_tokens: int, num_ranks: int
) -> None:
    sequences = turn_sequences(stage_batch(rollouts(seed, 3), stage()))
    parts = micro_batches(sequences, max_tokens, num_ranks)
    assert len(parts) % num_ranks == 0
    counted = [one for part in parts if part.counted for one in part.sequences]
    assert sorted(counted, key=lambda one: one.start) == sequences
    for part in parts:
        padded = len(part.sequences) * max(one.num_tokens for one in part.sequences)
        assert padded <= max_tokens or len(part.sequences) == 1


def test_padding_marks_the_positions_that_predict_sampled_tokens() -> None:
    part = MicroBatch((TurnSequence((7, 8), (9, 5), 0, 0), TurnSequence((6,), (5,), 1, 2)))
    ids, attention, sampled = part.padded(PAD)
    assert ids.tolist() == [[7, 8, 9, 5], [6, 5, 0, 0]]
    assert attention.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert sampled.tolist() == [[False, True, True], [True, False, False]]
    assert part.places.tolist() == [0, 1, 2]


def test_a_rollout_without_a_score_has_no_sequence_and_no_weight() -> None:
    batch = rollouts(2)
    step, _ = Padded(tiny_model(), stage()).gradient(batch)
    failed = next(i for i, one in enumerate(step.batch.rollouts) if one.reward is None)
    assert failed not in {one.rollout for part in step.parts for one in part.sequences}
    assert step.advantages[failed] == 0
    assert math.isfinite(step.entropy)


def test_equal_rewards_leave_nothing_to_learn() -> None:
    turn = Turn((7, 8), (9, 5), (-1.0, -1.0), "stop")
    batch = [
        Rollout("k", "t", "t/x", "s", epoch, (turn,), 0.5, "answered", 0, 0.0, 0, 0)
        for epoch in (1, 2)
    ]
    step, loss = Padded(tiny_model(), stage()).gradient(batch)
    assert (list(step.parts), loss) == ([], 0.0)
    assert step.entropy > 0


def test_a_model_that_changes_its_logits_by_another_name_is_refused() -> None:
    model, part = tiny_model(), MicroBatch((TurnSequence((7, 8), (9, 5), 0, 0),))
    ids, attention, sampled = part.padded(PAD)
    StreamedHead(model, 1.0).statistics(model, ids, attention, sampled)  # as it is: fine
    forward = model.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled
    with pytest.raises(ModelError, match="scales or caps its logits after the output layer"):
        StreamedHead(model, 1.0).statistics(model, ids, attention, sampled)


def test_a_model_that_caps_its_logits_is_refused() -> None:
    model = tiny_model()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ModelError, match="scales or caps"):
        StreamedHead(model, 1.0)
