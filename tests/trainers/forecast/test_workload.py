"""What a stage asks of a model, with numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest

from longspan.agents.memory_budget import MemoryOptions, memory_budget
from longspan.agents.memory_format import recipe_protocol
from longspan.agents.query import Query
from longspan.harness.errors import RecipeError, SpecError
from longspan.harness.tokens import EstimatedTokens
from longspan.trainers.forecast.architecture import find_architecture
from longspan.trainers.forecast.workload import (
    Workload,
    longest_input,
    num_samples,
    stage_workload,
)
from longspan.trainers.pipeline import resolve_recipe
from longspan.trainers.recipe import Recipe, parse_recipe
from longspan.trainers.stages import FilterStage, TrainStage

WINDOW = 262_144


def stage_of(recipe: Recipe, name: str) -> Any:
    (stage,) = (one for one in recipe.stages if one.name == name)
    assert isinstance(stage, TrainStage | FilterStage)
    return stage


def workload(recipe: str, stage: str, *means: int) -> Workload:
    resolved = resolve_recipe(recipe)
    return stage_workload(resolved, stage_of(resolved, stage), WINDOW, *means)


def test_a_stage_of_the_paper_has_1024_sequences_of_its_limits() -> None:
    work = workload("qwenlong_l1_5_30b", "full_context_1")
    assert work == Workload(128, 8, 1, 32_000, 0, 12_000)
    assert (work.num_sequences, work.sequence_tokens) == (1024, 44_000)
    assert work.prefill_tokens == 128 * 32_000  # a group's prompt once
    assert work.decode_tokens == 1024 * 12_000


def test_mean_lengths_take_the_place_of_the_limits() -> None:
    work = workload("qwenlong_l1_5_30b", "full_context_1", 20_000, 3000)
    assert work == Workload(128, 8, 1, 20_000, 0, 3000)
    assert workload("qwenlong_l1_5_30b", "full_context_1", 99_000, 99_000).sequence_tokens == 44_000


def test_the_papers_memory_agent_reads_four_chunks_and_answers() -> None:
    # 128,000 tokens in chunks of 32,768; memory 15,360 and a plan of a quarter of it
    work = workload("qwenlong_l1_5_30b", "memory_rl")
    assert work == Workload(128, 8, 5, 32_768, 19_200, 20_000)


def test_chunks_are_shared_only_where_they_come_first() -> None:
    content = {
        "name": "x",
        "checkpoint": "c",
        "tasks": [{"task": "t"}],
        "stages": [
            {
                "name": "s",
                "solver": "longspan/memory_agent",
                "solver_args": {"chunk_tokens": 100, "memory_tokens": 40},
                "num_steps": 1,
                "sampling": {"batch_size": 2, "max_output_tokens": 64, "max_input_tokens": 250},
                "optimizer": {"learning_rate": 1e-5},
            }
        ],
    }
    recipe = parse_recipe(content, "test")
    work = stage_workload(recipe, stage_of(recipe, "s"), 1024)
    assert work == Workload(2, 8, 4, 0, 150, 64)


def test_a_plan_says_how_long_its_samples_are_and_how_many() -> None:
    recipe = resolve_recipe("single_gpu")
    select, train = stage_of(recipe, "select_2"), stage_of(recipe, "stage_2")
    assert longest_input(recipe, select) == longest_input(recipe, train) == 32_000
    assert num_samples(recipe, select) == 1200
    assert longest_input(recipe, stage_of(recipe, "memory_rl")) == 120_000


def test_an_input_of_unknown_length_fills_the_window() -> None:
    recipe = resolve_recipe("quickstart")
    stage = stage_of(recipe, "full_context")
    assert longest_input(recipe, stage) is None and num_samples(recipe, stage) is None
    assert stage_workload(recipe, stage, 256).prompt_tokens == 256 - 48


@pytest.mark.parametrize("window", [4096, WINDOW])
def test_sizes_that_a_recipe_leaves_out_are_the_memory_agents_own(window: int) -> None:
    query = Query("who?", "", "a text", (), (), True)
    budget = memory_budget(
        query, MemoryOptions(), recipe_protocol("question_first"), window, 512, EstimatedTokens()
    )
    recipe = resolve_recipe("single_gpu")
    stage = stage_of(recipe, "memory_rl").model_copy(update={"solver_args": {}})
    work = stage_workload(recipe, stage, window)
    assert work.prompt_tokens == budget.chunk_tokens + budget.memory_tokens + budget.plan_tokens


def recipe_of(
    task: dict[str, Any] | None = None, plan: Any = None, **stage: Any
) -> tuple[Recipe, Any]:
    """A recipe of one stage, and the stage: of a planned task set, or of a task's arguments."""
    source: dict[str, Any] = {"task": "longspan/ruler", "args": task or {}}
    content = {
        "name": "one",
        "tasks": [source if plan is None else {"taskset": "planned"}],
        "solver": "longspan/memory_agent",
        "num_steps": 1,
        "sampling": {"batch_size": 2, "group_size": 2, "max_output_tokens": 64},
        "optimizer": {"learning_rate": 1e-4},
        **stage,
    }
    tasksets = {} if plan is None else {"planned": {"splits": plan}}
    whole = {"name": "r", "checkpoint": "nano", "stages": [content], "tasksets": tasksets}
    recipe = parse_recipe(whole, "r.yaml")
    return recipe, stage_of(recipe, "one")


@pytest.mark.parametrize(
    ("task", "stage", "message"),
    [
        ({"target_tokens": "abc"}, {}, "target_tokens must be a positive whole number: got 'abc'"),
        ({}, {"solver_args": {"chunk_tokens": "64"}}, "chunk_tokens must be a .*: got '64'"),
        ({}, {"solver_args": {"chunk_tokens": -4}}, "chunk_tokens must be a .*: got -4"),
        ({}, {"solver_args": {"memory_tokens": True}}, "memory_tokens must be a .*: got True"),
        ({}, {"solver_args": {"layout": "sideways"}}, "layout must be one of .*: got 'sideways'"),
        ({}, {"solver_args": {"bogus": 1}}, "memory_agent does not take {'bogus': 1}"),
        ({}, {"solver": "longspan/nonsense"}, "unknown solver: longspan/nonsense"),
        (
            {},
            {"solver_args": {"chunk_tokens": 2 * WINDOW}},
            f"chunk_tokens exceeds the room .*: got {2 * WINDOW} > 223744 in a window of {WINDOW}",
        ),
        (
            {},
            {"solver_args": {"memory_tokens": WINDOW}},
            f"memory_tokens leaves no room for a chunk .*: got {WINDOW}; lower",
        ),
    ],
)
def test_what_the_agent_would_refuse_is_one_line(
    task: dict[str, Any], stage: dict[str, Any], message: str
) -> None:
    recipe, one = recipe_of({"target_tokens": 4096, **task}, **stage)
    with pytest.raises((RecipeError, SpecError), match=message) as error:
        stage_workload(recipe, one, WINDOW)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([1], r"splits of the task set planned must be a mapping: got \[1\]; change the recipe"),
        ({"train": [1, 2]}, r"splits.train of the task set planned must be a .*: got \[1, 2\]"),
        ({"train": None}, "splits.train of the task set planned must be a mapping: got None"),
        ({"train": {"abc": 5}}, "a length in splits.train of .* must be a positive .*: got 'abc'"),
        ({"train": {0: 5}}, "a length in splits.train of .* must be a positive .*: got 0"),
        ({"train": {96: None}}, "splits.train.96 of the task set planned must be a .*: got None"),
        ({"train": {96: "many"}}, "splits.train.96 of the task set planned .*: got 'many'"),
        ({"train": {96: -1}}, "splits.train.96 of the task set planned must be a .*: got -1"),
    ],
)
def test_a_plan_of_another_form_is_one_line(splits: Any, message: str) -> None:
    recipe, stage = recipe_of(plan=splits)
    for read in (num_samples, longest_input):
        with pytest.raises(RecipeError, match=message) as error:
            read(recipe, stage)
        assert "\n" not in str(error.value)


def test_lengths_that_a_plan_asks_for_none_of_do_not_count() -> None:
    recipe, stage = recipe_of(plan={"train": {96: 5, "128": 2, 4096: 0}, "test": {9999: 1}})
    assert longest_input(recipe, stage) == 128 and num_samples(recipe, stage) == 7
    assert longest_input(*recipe_of(plan={"test": {96: 1}})) is None


@pytest.mark.parametrize("solver", ["longspan/memory_agent", "memory_agent"])
def test_a_memory_agent_reads_beyond_the_window(solver: str) -> None:
    recipe, stage = recipe_of(solver=solver, solver_args={"chunk_tokens": 100, "memory_tokens": 20})
    assert stage_workload(recipe, stage, 256, 6000).num_turns == 61
    assert stage_workload(recipe, stage, 256).num_turns == 3  # 192 tokens: nothing says more
    recipe, stage = recipe_of({"target_tokens": 1000}, solver_args={"chunk_tokens": 100})
    assert stage_workload(recipe, stage, 256, 6000).num_turns == 11  # the task's longest
    recipe, stage = recipe_of(solver="longspan/full_context")
    assert stage_workload(recipe, stage, 256, 6000).prompt_tokens == 192


def test_rollouts_share_chunks_where_the_checkpoint_declares_the_layout() -> None:
    def shared(layout: str | None, **changes: Any) -> bool:
        args = {"chunk_tokens": 100, "memory_tokens": 20, **changes.pop("solver_args", {})}
        recipe, stage = recipe_of(**changes, solver_args=args)
        return stage_workload(recipe, stage, 256, 6000, layout=layout).prefix_tokens == 100

    assert find_architecture("nano").layout == "chunk_first"
    assert shared("chunk_first") and not shared(None)
    assert not shared("chunk_first", solver_args={"layout": "question_first"})
    assert not shared("chunk_first", solver="longspan/memagent")  # a protocol has its own order


def test_a_limit_of_calls_limits_the_turns() -> None:
    args = {"chunk_tokens": 100, "memory_tokens": 20}
    recipe, stage = recipe_of(solver_args={**args, "max_calls": 5})
    assert stage_workload(recipe, stage, 256, 6000).num_turns == 5
    recipe, stage = recipe_of(solver_args={**args, "max_calls": 500})
    assert stage_workload(recipe, stage, 256, 6000).num_turns == 61


def test_memagent_writes_no_plan() -> None:
    args = {"chunk_tokens": 100, "memory_tokens": 40}
    recipe, stage = recipe_of({"target_tokens": 200}, solver="longspan/memagent", solver_args=args)
    assert stage_workload(recipe, stage, 1024) == Workload(2, 2, 3, 0, 140, 64)
