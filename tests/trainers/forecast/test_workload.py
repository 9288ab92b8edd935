"""What a stage asks of a model, with numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest

from longspan.agents.memory_budget import MemoryOptions, memory_budget
from longspan.agents.query import Query
from longspan.harness.errors import RecipeError
from longspan.harness.tokens import EstimatedTokens
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
    budget = memory_budget(query, MemoryOptions(), window, 512, EstimatedTokens())
    recipe = resolve_recipe("single_gpu")
    stage = stage_of(recipe, "memory_rl").model_copy(update={"solver_args": {}})
    work = stage_workload(recipe, stage, window)
    assert work.prompt_tokens == budget.chunk_tokens + budget.memory_tokens + budget.plan_tokens


@pytest.mark.parametrize(
    ("task", "solver", "message"),
    [
        ({"target_tokens": "abc"}, {}, "target_tokens must be a positive whole number: got 'abc'"),
        ({}, {"chunk_tokens": "64"}, "chunk_tokens must be a positive whole number: got '64'"),
        ({}, {"chunk_tokens": -4}, "chunk_tokens .* got -4; change the recipe"),
        ({}, {"memory_tokens": True}, "memory_tokens .* got True"),
    ],
)
def test_sizes_that_are_none_are_one_line(
    task: dict[str, Any], solver: dict[str, Any], message: str
) -> None:
    stage = {
        "name": "one",
        "tasks": [{"task": "longspan/ruler", "args": {"target_tokens": 4096, **task}}],
        "solver": "longspan/memory_agent",
        "solver_args": solver,
        "num_steps": 1,
        "sampling": {"batch_size": 2, "group_size": 2, "max_output_tokens": 64},
        "optimizer": {"learning_rate": 1e-4},
    }
    content = {"name": "r", "checkpoint": "nano", "stages": [stage]}
    recipe = parse_recipe(content, "r.yaml")
    with pytest.raises(RecipeError, match=message):
        stage_workload(recipe, stage_of(recipe, "one"), WINDOW)
