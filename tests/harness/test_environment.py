"""The environment: rollouts of tasks through their own solvers and scorers."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, get_model
from inspect_ai.scorer import Score, match, mean, scorer
from inspect_ai.solver import Generate, TaskState, solver

from longspan.harness.environment import Environment, rare_garbage_collection, step_seed
from longspan.harness.errors import DataError, ModelError, RecipeError, SpecError
from longspan.harness.generation import GenerationSettings
from longspan.harness.prompts import identity_of
from longspan.harness.rollout import CALLS
from tests.harness.scripted import Request, scripted_model

SAMPLES = [Sample(id=f"s{i}", input=f"What is {i}?", target=str(i)) for i in range(3)]


@scorer(metrics=[mean()])
def contains(fail_on: str = "", judge: bool = False):
    async def score(state, target):
        if judge:
            await get_model(role="grader").generate("Is it right?")
        if fail_on and fail_on in state.output.completion:
            raise ValueError("scorer is broken")
        right = target.text in state.output.completion
        return Score(value=1.0 if right else 0.25, answer=state.output.completion)

    return score


@solver
def two_turns():
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        question = state.input_text
        for turn in range(2):
            state.messages = [ChatMessageUser(content=f"{question} turn {turn}")]
            state = await generate(state)
        return state

    return solve


def single(name: str = "single", **kwargs) -> Task:
    return Task(dataset=[Sample(input="unused")], scorer=contains(**kwargs), name=name)


def echo(call: Request) -> str:
    return f"answer {call.prompt}"


def test_rollouts_are_complete_sorted_and_carry_the_sampled_ids():
    environment = Environment([single()], scripted_model(echo))
    rollouts = environment.rollouts({"single": list(reversed(SAMPLES))}, group_size=2)
    order = [(one.sample_id, one.epoch) for one in rollouts]
    assert order == [("s0", 1), ("s0", 2), ("s1", 1), ("s1", 2), ("s2", 1), ("s2", 2)]
    for one in rollouts:
        (turn,) = one.turns
        assert one.reward == 1.0 and one.validity == "answered" and one.error is None
        assert bytes(turn.sampled_ids).decode() == f"answer What is {one.sample_id[1]}?"
        assert one.policy_version == 3 and one.sampled_tokens == len(turn.sampled_ids) > 0
        assert one.prompt_tokens == len(turn.prompt_ids) == len("What is 0?")
        assert one.task == "single" and one.advantage_group == "single/contains"
    assert CALLS == {}


def test_a_rollout_of_several_calls_has_its_turns_in_order_and_one_reward():
    memory = Task(dataset=[Sample(input="x")], solver=two_turns(), scorer=contains(), name="memory")
    environment = Environment([memory, single()], scripted_model(echo))
    rollouts = environment.rollouts({"memory": SAMPLES[:2], "single": SAMPLES[:1]}, group_size=3)
    assert [len(one.turns) for one in rollouts] == [2] * 6 + [1] * 3
    texts = [bytes(turn.sampled_ids).decode() for turn in rollouts[0].turns]
    assert texts == ["answer What is 0? turn 0", "answer What is 0? turn 1"]


def test_tasks_of_one_name_are_told_apart():
    environment = Environment([single(), single(fail_on="poison")], scripted_model("poison"))
    assert list(environment.tasks) == ["single", "single#2"]
    rollouts = environment.rollouts({"single": SAMPLES[:1], "single#2": SAMPLES[:1]}, 1)
    assert [one.validity for one in rollouts] == ["answered", "scorer_failed"]


def test_task_type_and_group_come_from_the_sample():
    metadata = {"task_type": "multi_hop", "advantage_group": "multi_hop/letter"}
    sample = Sample(id="a", input="q", target="q", metadata=metadata)
    (rollout,) = Environment([single()], scripted_model(echo)).rollouts({"single": [sample]}, 1)
    assert (rollout.task_type, rollout.advantage_group) == ("multi_hop", "multi_hop/letter")


def test_a_cut_off_rollout_is_scored():
    environment = Environment([single()], scripted_model("no idea..."))
    (rollout,) = environment.rollouts({"single": SAMPLES[:1]}, 1)
    assert (rollout.validity, rollout.reward) == ("cut_off", 0.25)
    assert rollout.turns[0].stop_reason == "max_tokens"


def test_failures_of_engine_and_scorer_have_no_reward_and_leak_no_calls():
    def script(call):
        if "0" in call.prompt:
            return "!engine is broken"
        return "poison" if "1" in call.prompt else "2"

    environment = Environment([single(fail_on="poison")], scripted_model(script))
    rollouts = environment.rollouts({"single": SAMPLES}, 1)
    assert [one.validity for one in rollouts] == ["engine_failed", "scorer_failed", "answered"]
    assert [one.reward for one in rollouts] == [None, None, 1.0]
    assert "engine is broken" in rollouts[0].error and "scorer is broken" in rollouts[1].error
    assert CALLS == {}


def test_the_judge_is_no_turn_and_its_failure_is_the_judges():
    fine = Environment(
        [single(judge=True)], scripted_model("0"), model_roles={"grader": scripted_model("yes")}
    )
    (rollout,) = fine.rollouts({"single": SAMPLES[:1]}, 1)
    assert len(rollout.turns) == 1 and rollout.reward == 1.0 and CALLS == {}
    mixed = Environment(
        [single(), single("judged", judge=True)],
        scripted_model("0"),
        model_roles={"grader": scripted_model("!judge is down")},
    )
    rollouts = mixed.rollouts({"judged": SAMPLES[:1], "single": SAMPLES[:1]}, 1)
    assert [one.validity for one in rollouts] == ["judge_failed", "answered"]


def test_generation_settings_override_the_task_but_not_the_judge():
    policy, judge = scripted_model("0"), scripted_model("yes")
    settings = GenerationSettings(temperature=1.0, top_p=1.0, max_tokens=7, seed=5)
    environment = Environment(
        [single(judge=True)], policy, model_roles={"grader": judge}, generation=settings
    )
    environment.rollouts({"single": SAMPLES[:1]}, 1, step=4)
    config = policy.api.calls[0].config
    assert (config.temperature, config.top_p, config.max_tokens) == (1.0, 1.0, 7)
    assert config.seed == step_seed(5, 4) != step_seed(5, 5)
    grading = judge.api.calls[0].config
    assert grading.temperature is None and grading.seed is None
    assert grading.max_connections is None


def test_messages_of_foreign_solvers_carry_their_identity():
    policy = scripted_model("0")
    Environment([single()], policy).rollouts({"single": SAMPLES[:2]}, 2)
    seen = {
        (call.identity["sample"], call.identity["epoch"], call.identity["turn"])
        for call in policy.api.calls
    }
    assert seen == {("s0", 1, 0), ("s0", 2, 0), ("s1", 1, 0), ("s1", 2, 0)}


def test_calls_of_a_solver_that_writes_its_messages_anew_can_still_be_told_apart():
    seen = []

    def script(call):
        seen.append(tuple(identity_of(call.messages)[key] for key in ("sample", "epoch")))
        return "0"

    foreign = Task(dataset=[Sample(input="x")], solver=two_turns(), scorer=contains(), name="anew")
    Environment([foreign], scripted_model(script)).rollouts({"anew": SAMPLES[:2]}, 2)
    assert sorted(seen) == sorted([(f"s{i}", epoch) for i in (0, 1) for epoch in (1, 2)] * 2)


def test_a_registered_task_of_another_package_works_unchanged():
    @task
    def foreign() -> Task:
        return Task(dataset=[Sample(input="x")], scorer=match())

    environment = Environment([foreign], scripted_model("1"))
    rollouts = environment.rollouts({"foreign": SAMPLES[:2]}, 1)
    assert [one.reward for one in rollouts] == [0.0, 1.0]
    assert [one.advantage_group for one in rollouts] == ["foreign/match"] * 2


def test_the_callers_task_is_left_as_it_was():
    mine = single()
    Environment([mine], scripted_model("0")).rollouts({"single": SAMPLES}, 1)
    assert len(mine.dataset) == 1 and mine.setup is None


def test_several_scores_need_a_reward_key():
    def both():
        scorers = [contains(), match()]
        return Task(dataset=[Sample(input="x")], scorer=scorers, name="both")

    with pytest.raises(RecipeError, match="reward of both.*contains.*match"):
        Environment([both()], scripted_model("0")).rollouts({"both": SAMPLES[:1]}, 1)
    environment = Environment([both()], scripted_model("7"), reward_keys={"both": "contains"})
    (rollout,) = environment.rollouts({"both": SAMPLES[:1]}, 1)
    assert rollout.reward == 0.25


def test_mistakes_are_found_before_anything_runs():
    with pytest.raises(SpecError, match="unknown task: nonsense"):
        Environment(["nonsense"], scripted_model(""))
    with pytest.raises(RecipeError, match="no task"):
        Environment([], scripted_model(""))
    with pytest.raises(RecipeError, match="no scorer"):
        Environment([Task(dataset=[Sample(input="x")], name="bare")], scripted_model(""))
    environment = Environment([single()], scripted_model(""))
    with pytest.raises(DataError, match="no task named 'other'"):
        environment.rollouts({"other": SAMPLES}, 1)
    with pytest.raises(DataError, match="ids of their own"):
        environment.rollouts({"single": [SAMPLES[0], SAMPLES[0]]}, 1)
    assert environment.rollouts({"single": []}, 1) == []


def test_a_step_without_any_reward_is_an_error():
    with pytest.raises(ModelError, match="not one of 2 rollouts.*engine is broken"):
        Environment([single()], scripted_model("!engine is broken")).rollouts(
            {"single": SAMPLES[:1]}, 2
        )


def test_the_collector_of_garbage_is_left_as_it_was():
    before = gc.get_threshold(), gc.isenabled()
    frozen = gc.get_freeze_count()
    Environment([single()], scripted_model("0")).rollouts({"single": SAMPLES}, 1)
    assert (gc.get_threshold(), gc.isenabled()) == before
    assert gc.get_freeze_count() <= frozen


def test_rollouts_can_be_awaited_inside_a_running_loop():
    environment = Environment([single()], scripted_model("0"))
    rollouts = asyncio.run(environment.rollouts_async({"single": SAMPLES[:1]}, 2))
    assert [one.reward for one in rollouts] == [1.0, 1.0]


def test_equal_input_gives_equal_rollouts():
    def runs():
        environment = Environment([single()], scripted_model(echo))
        rollouts = environment.rollouts({"single": SAMPLES}, 2, step=1)
        return [(one.sample_id, one.epoch, one.turns, one.reward) for one in rollouts]

    assert runs() == runs()


def test_what_a_step_leaves_in_cycles_is_gone_when_it_ends() -> None:
    class Node:
        pass

    with rare_garbage_collection():
        node = Node()
        node.itself = node
        left = weakref.ref(node)
        del node
    assert left() is None
    assert gc.get_freeze_count() == 0
