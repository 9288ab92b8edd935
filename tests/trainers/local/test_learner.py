"""The update equals the naive policy gradient, whatever is shared, merged or split."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.aepo import AepoSettings
from longspan.trainers.batch import RolloutBatch, build_batch
from longspan.trainers.clipping import ClippingSettings
from longspan.trainers.local.learner import Learner, NonFiniteError, micro_batches
from longspan.trainers.loss import ClipRange
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings
from longspan.trainers.update import Update
from tests.trainers.tiny import tiny_model

TEMPERATURE = 0.8


def rollout(sample: str, epoch: int, reward: float, *texts: tuple[list[int], list[int]]) -> Rollout:
    turns = tuple(Turn(tuple(p), tuple(s), (-1.0,) * len(s), "stop") for p, s in texts)
    return Rollout("k", "t", "t/x", sample, epoch, turns, reward, "answered", 0, 0.0, 0, 0)


def example(merge: bool = True) -> RolloutBatch:
    """A live group with identical answers, a live group of two turns, a dead group."""
    doc, memory = [7, 8, 9, 10], [11, 12, 13]
    return build_batch(
        [
            rollout("a", 1, 1.0, (doc, [20, 5])),
            rollout("a", 2, 0.0, (doc, [21, 22, 5])),
            rollout("a", 3, 1.0, (doc, [20, 5])),
            rollout("b", 1, 0.0, (memory, [30, 5]), ([*memory, 30], [31, 5])),
            rollout("b", 2, 1.0, (memory, [30, 5]), ([*memory, 30], [32, 33, 5])),
            rollout("b", 3, 0.0, (memory, [34, 5]), ([*memory, 34], [31, 5])),
            rollout("c", 1, 0.5, (doc, [40, 5])),
            rollout("c", 2, 0.5, (doc, [41, 5])),
        ],
        merge_identical=merge,
    )


def learner(model: torch.nn.Module, micro_batch_tokens: int = 8192) -> Learner:
    optimizer = OptimizerSettings(
        learning_rate=1e-3,
        warmup_steps=0,
        max_gradient_norm=1e9,
        micro_batch_tokens=micro_batch_tokens,
    )
    return Learner(model, optimizer, TEMPERATURE)


def naive(model: torch.nn.Module, batch: RolloutBatch, objective: ObjectiveSettings):
    """One forward per turn, the loss written down as in Eq. 4; returns gradients, entropies."""
    logprobs, entropies = [], []
    for one in batch.rollouts:
        for turn in one.turns:
            if not turn.sampled_ids:
                continue
            ids = torch.tensor([[*turn.prompt_ids, *turn.sampled_ids]])
            logits = model(input_ids=ids).logits[0, len(turn.prompt_ids) - 1 : -1] / TEMPERATURE
            log_p = logits.log_softmax(-1)
            logprobs.append(log_p.gather(1, torch.tensor(turn.sampled_ids)[:, None])[:, 0])
            entropies.append(-(log_p.exp() * log_p).sum(-1))
    entropy = torch.cat(entropies).detach()
    rule = Objective(objective)
    weights = rule.weigh(batch, rule.advantages(batch), entropy).weights
    loss = -(weights * torch.cat(logprobs)).sum()
    return dict(
        zip(
            [name for name, _ in model.named_parameters()],
            torch.autograd.grad(loss, list(model.parameters())),
            strict=True,
        )
    ), entropy


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Llama's norm computes in fp32 even in a float64 model, so equality is not to 1e-16."""
    return float((found - expected).norm() / expected.norm())


OBJECTIVES = {
    "plain": ObjectiveSettings(),
    "batch mean": ObjectiveSettings(deviation="group", normalisation="batch"),
    "aepo": ObjectiveSettings(aepo=AepoSettings(0.1, 0.2)),
    "clipping": ObjectiveSettings(clipping=ClippingSettings(0.5, "token", "high", "quantile")),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("micro_batch_tokens", [1, 16, 8192])
@pytest.mark.parametrize("merge", [True, False])
def test_gradients_equal_the_naive_policy_gradient(
    name: str, micro_batch_tokens: int, merge: bool
) -> None:
    model = tiny_model(dtype=torch.float64)
    batch = example(merge)
    expected, entropy = naive(model, batch, OBJECTIVES[name])
    trainee = learner(model, micro_batch_tokens)
    update = trainee.update(batch, Objective(OBJECTIVES[name]), step=0)
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert relative_error(parameter.grad, expected[key]) < 1e-5
    means = [float(part.mean()) for part in entropy.split([2, 3, 2, 4, 5, 4, 2, 2])]
    assert update.entropy == pytest.approx(sum(means) / 8, rel=1e-6)
    assert update.num_live_groups == 2
    assert update.gradient_norm > 0


def test_ppo_clip_with_old_logprobs_of_the_policy_itself_is_on_policy() -> None:
    gradients = []
    for clip in (None, ClipRange(0.2, 0.2)):
        model = tiny_model(dtype=torch.float64)
        batch = example(merge=False)
        if clip is not None:
            batch = with_own_logprobs(model, batch)
        learner(model).update(batch, Objective(ObjectiveSettings(ratio_clip=clip)), step=0)
        gradients.append([p.grad for p in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert relative_error(ours, theirs) < 1e-5


def with_own_logprobs(model: torch.nn.Module, batch: RolloutBatch) -> RolloutBatch:
    rollouts = []
    for one in batch.rollouts:
        turns = []
        for turn in one.turns:
            ids = torch.tensor([[*turn.prompt_ids, *turn.sampled_ids]])
            logits = model(input_ids=ids).logits[0, len(turn.prompt_ids) - 1 : -1] / TEMPERATURE
            picked = logits.log_softmax(-1).gather(1, torch.tensor(turn.sampled_ids)[:, None])
            turns.append(replace(turn, logprobs=tuple(picked[:, 0].tolist())))
        rollouts.append(replace(one, turns=tuple(turns)))
    return build_batch(rollouts, merge_identical=False)


def test_a_batch_without_signal_leaves_weights_and_moments_alone() -> None:
    model = tiny_model()
    before = {name: p.clone() for name, p in model.named_parameters()}
    trainee = learner(model)
    trainee.update(example(), Objective(ObjectiveSettings()), step=0)
    moved = {name: p.clone() for name, p in model.named_parameters()}
    assert any(not torch.equal(before[name], moved[name]) for name in before)
    dead = build_batch([rollout("c", i, 0.5, ([7, 8], [40 + i, 5])) for i in range(3)])
    update = trainee.update(dead, Objective(ObjectiveSettings()), step=1)
    assert (update.num_live_groups, update.gradient_norm, update.loss) == (0, 0.0, 0.0)
    assert update.entropy > 0
    assert all(torch.equal(moved[name], p) for name, p in model.named_parameters())


def test_no_valid_rollout_is_a_step_that_does_nothing() -> None:
    model = tiny_model()
    failed = Rollout("k", "t", "t/x", "a", 1, (), None, "engine_failed", 0, 0.0, 0, 0)
    objective = Objective(ObjectiveSettings(aepo=AepoSettings(0.1, 0.2)))
    update = learner(model).update(build_batch([failed]), objective, step=0)
    assert math.isnan(update.entropy)
    assert update.step_weights.decision is not None
    assert update.step_weights.decision.reason == "no entropy"


def test_a_gradient_that_is_not_finite_stops_the_step_and_spares_the_weights() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.model.embed_tokens.weight[20] = math.nan
    before = model.lm_head.weight.clone()
    with pytest.raises(NonFiniteError, match="step 4 has loss nan"):
        learner(model).update(example(), Objective(ObjectiveSettings()), step=3)
    assert torch.equal(before.nan_to_num(), model.lm_head.weight.nan_to_num())


def failed(sample: str, epoch: int) -> Rollout:
    return Rollout("k", "t", "t/x", sample, epoch, (), None, "scorer_failed", 0, 0.0, 0, 0, "boom")


def gradients(batch: RolloutBatch) -> tuple[dict[str, torch.Tensor], Update]:
    model = tiny_model(dtype=torch.float64)
    update = learner(model).gradient(batch, Objective(ObjectiveSettings()), step=0)
    return {k: p.grad for k, p in model.named_parameters() if p.grad is not None}, update


def test_a_group_without_a_valid_rollout_changes_nothing_for_the_others() -> None:
    whole = example()
    lost = [failed("d", epoch) for epoch in (1, 2, 3)]
    expected, alone = gradients(whole)
    found, update = gradients(build_batch([*whole.rollouts, *lost]))
    assert update.loss == alone.loss
    assert update.entropy == alone.entropy
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_an_invalid_rollout_leaves_its_groups_mean_to_the_others() -> None:
    doc = [7, 8, 9, 10]
    scored = [rollout("a", i, float(i), (doc, [20 + i, 5])) for i in (1, 2)]
    expected, alone = gradients(build_batch(scored))
    found, update = gradients(build_batch([*scored, failed("a", 3)]))
    assert update.advantages.tolist() == [*alone.advantages.tolist(), 0.0]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_empty_completions_count_as_rewards_and_weigh_nothing() -> None:
    doc = [7, 8, 9, 10]
    empty = [rollout("a", 1, 0.0, (doc, [])), rollout("a", 2, 0.0, (doc, [5]))]
    batch = build_batch([*empty, rollout("a", 3, 1.0, (doc, [20, 5]))])
    found, update = gradients(batch)
    # The mean is 1/3 and the deviation sqrt(1/3): the rollout without a token has its share.
    deviation = math.sqrt(1 / 3)
    assert update.advantages.tolist() == pytest.approx(
        [-1 / 3 / deviation, -1 / 3 / deviation, 2 / 3 / deviation]
    )
    # Eq. 4 over the three tokens that there are: -1/3 (1 * A_2 + 2 * A_3), on-policy.
    assert update.loss == pytest.approx(-(-1 / 3 + 2 * 2 / 3) / deviation / 3)
    expected, entropy = naive(tiny_model(dtype=torch.float64), batch, ObjectiveSettings())
    assert all(relative_error(found[key], expected[key]) < 1e-5 for key in expected)
    # Eq. 11 over the two rollouts that have an entropy.
    assert update.entropy == pytest.approx(float((entropy[0] + entropy[1:].mean()) / 2))


def test_a_batch_of_nothing_but_empty_completions_learns_nothing() -> None:
    model = tiny_model()
    before = model.lm_head.weight.clone()
    batch = build_batch([rollout("a", i, float(i), ([7, 8], [])) for i in (1, 2)])
    update = learner(model).update(batch, Objective(ObjectiveSettings()), step=0)
    assert (update.loss, update.gradient_norm) == (0.0, 0.0)
    assert math.isnan(update.entropy)
    assert torch.equal(before, model.lm_head.weight)


def test_learning_rate_rises_linearly_and_stays() -> None:
    optimizer = OptimizerSettings(learning_rate=1.0, warmup_steps=4)
    trainee = Learner(tiny_model(), optimizer, 1.0)
    rates = [trainee.settings.rate_of(step) for step in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_an_update_raises_the_probability_of_the_rewarded_answer() -> None:
    model = tiny_model()
    trainee = learner(model)
    batch = example()

    def probability() -> float:
        logits = model(input_ids=torch.tensor([[7, 8, 9, 10]])).logits[0, -1] / TEMPERATURE
        return float(logits.softmax(-1)[20].detach())

    before = probability()
    for step in range(5):
        trainee.update(batch, Objective(ObjectiveSettings()), step)
    assert probability() > before


def test_a_long_item_is_split_by_branches_with_its_whole_prefix() -> None:
    sampled = [[20 + i, 21, 22, 5] for i in range(6)]
    batch = build_batch(
        [rollout("a", i, float(i), ([7] * 5, ids)) for i, ids in enumerate(sampled)]
    )
    (item,) = batch.items
    assert item.num_tokens == 5 + 6 * 4
    for limit, sizes in ((29, [6]), (28, [5, 1]), (13, [2, 2, 2]), (1, [1] * 6)):
        parts = list(item.parts(limit))
        assert [len(one.branches) for one in parts] == sizes
        assert sum((one.branches for one in parts), ()) == item.branches
        assert [one.start for one in parts] == [4 * sum(sizes[:k]) for k in range(len(sizes))]
        assert all(one.prefix == item.prefix and one.group == item.group for one in parts)
    # A limit below the prefix does not make it be computed for every branch.
    long = replace(item, prefix=(7,) * 8)
    assert [len(one.branches) for one in long.parts(1)] == [2, 2, 2]


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 60))
def test_micro_batches_hold_every_item_once_within_the_limit(sizes: list[int], limit: int) -> None:
    batch = build_batch(
        [rollout(f"{i:02}", 1, 1.0, ([1] * size, [2])) for i, size in enumerate(sizes)]
    )
    pieces = micro_batches(batch.items, limit)
    assert sorted(item.start for piece in pieces for item in piece) == list(range(len(sizes)))
    for piece in pieces:
        assert len(piece) == 1 or len(piece) * max(i.num_tokens for i in piece) <= limit
