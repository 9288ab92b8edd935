"""Recipes: what is accepted, and the line that says what is wrong."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import longspan.trainers.recipe as module
from longspan.harness import registry
from longspan.harness.errors import DataError, RecipeError
from longspan.harness.suites import find_suite
from longspan.leaderboards.declared import BoardSpec, find_board
from longspan.trainers.aepo import AepoSettings
from longspan.trainers.recipe import Recipe, load_recipe, recipe_hash
from longspan.trainers.stages import TaskSource

RECIPES = Path(module.__file__).parent / "recipes"


def minimal(**stage: object) -> dict[str, object]:
    defaults = {
        "name": "one",
        "tasks": [{"task": "longspan/taskset"}],
        "num_steps": 2,
        "sampling": {"batch_size": 4, "max_output_tokens": 8},
        "optimizer": {"learning_rate": 1e-4},
    }
    return {"name": "r", "checkpoint": "nano", "stages": [{**defaults, **stage}]}


FILTER = {
    "kind": "filter",
    "name": "easy",
    "tasks": [{"task": "longspan/taskset"}],
    "sampling": {"batch_size": 4, "max_output_tokens": 8},
    "lowest": 0.5,
}
EVALUATION = {"name": "full", "task": "longspan/taskset"}


def with_stages(*before: dict[str, object], **stage: object) -> dict[str, object]:
    """Returns a recipe whose stage of training follows others."""
    content = minimal(**stage)
    return {**content, "stages": [*before, *content["stages"]]}  # type: ignore[misc]


def load(tmp_path: Path, content: object) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_recipe(path)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_under_its_own_name(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_shipped_recipe_names_is_there(path: Path) -> None:
    recipe = load_recipe(path)
    sources = [source for stage in recipe.stages for source in recipe.sources(stage)]
    for name in {source.task for source in sources if source.task}:
        assert name.removeprefix("longspan/") in registry.SPECS
    for evaluation in recipe.evaluations:
        task = evaluation.task
        assert task is None or find_suite(task) or task.removeprefix("longspan/") in registry.SPECS
    if isinstance(recipe.board, dict):
        BoardSpec.model_validate({"name": "board", **recipe.board})
    else:
        assert isinstance(recipe.board, bool) or find_board(recipe.board)


def test_nested_settings_become_the_algorithms_own(tmp_path: Path) -> None:
    recipe = load(tmp_path, minimal(objective={"aepo": {"low": 0.1, "high": 0.3}}))
    assert recipe.stages[0].objective.aepo == AepoSettings(0.1, 0.3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (minimal(learning_rte=1), "unknown key 'stages.0.train.learning_rte'"),
        (
            minimal(objective={"aepo": {"low": 0.1, "high": 0.3, "hi": 1}}),
            "unknown key 'stages.0.train.objective.aepo.hi'",
        ),
        (minimal(num_steps=0), r"stages.0.train.num_steps: .*\(got 0\)"),
        (minimal(objective={"aepo": {"low": 0.4, "high": 0.3}}), "got low=0.4, high=0.3"),
        (
            minimal(start_from="two"),
            "start_from .* 'two', which is no earlier stage",
        ),
        (minimal(name="../x"), "stages.0.train.name: .*got '../x'"),
        ({"name": "r", "checkpoint": "nano"}, "key 'stages' is missing"),
        (with_stages(FILTER, tasks=[], samples_of="one"), "samples_of .* 'one', .* name one of"),
        (with_stages(FILTER, start_from="easy"), "start_from .* 'easy', which is no earlier stage"),
        (minimal(name="start"), "two stages have the name 'start'"),
        (with_stages({**FILTER, "lowest": 0}), "keeps every sample"),
        (with_stages({**FILTER, "highest": 0.1}), "lowest must not exceed highest"),
        (with_stages({"kind": "merge", "name": "m", "models": ["one"]}), "models .* 'one'"),
        (with_stages({"kind": "sleep", "name": "m"}), "whose kind is train, filter or merge"),
        (with_stages(None), "must be a mapping whose kind is train, filter or merge"),
        (minimal(tasks=[]), "stage 'one' has no tasks"),
        (minimal(tasks=[{"taskset": "world"}]), "unknown taskset 'world'"),
        (minimal(tasks=[{}]), "names neither a task nor a taskset"),
        ({**minimal(), "evaluations": [EVALUATION, EVALUATION]}, "two evaluations have the name"),
        ({**minimal(), "evaluations": [{**EVALUATION, "skip": ["x"]}]}, "skips 'x'"),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_the_key(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load(tmp_path, content)


def test_two_stages_of_one_name_are_refused(tmp_path: Path) -> None:
    content = minimal()
    content["stages"] = content["stages"] * 2  # type: ignore[operator]
    with pytest.raises(RecipeError, match="two stages have the name 'one'"):
        load(tmp_path, content)


def test_a_file_that_holds_no_recipe_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    with pytest.raises(DataError, match="cannot read .*recipe.yaml"):
        load_recipe(path)
    for content, message in ((b"a: [1", "is not YAML"), (b"", "is empty"), (b"\0", "binary data")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_recipe(path)


def test_tasks_are_replaced_in_every_stage_of_a_copy() -> None:
    recipe = Recipe.model_validate(minimal())
    source = TaskSource(task="longspan/taskset", args={"path": "elsewhere"})
    changed = recipe.with_tasks(source)
    assert changed.sources(changed.stages[0]) == (source,)
    assert recipe.sources(recipe.stages[0]) == (TaskSource(task="longspan/taskset"),)


def test_samples_come_from_the_stage_its_filter_or_the_recipe() -> None:
    own, common = [{"task": "longspan/a"}], [{"task": "longspan/b"}]
    content = with_stages({**FILTER, "tasks": own}, tasks=[], samples_of="easy")
    content["stages"] += minimal(name="last", tasks=[])["stages"]  # type: ignore[operator]
    recipe = Recipe.model_validate({**content, "tasks": common})
    names = [recipe.sources(stage)[0].task for stage in recipe.stages]
    assert names == ["longspan/a", "longspan/a", "longspan/b"]


@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_hash_tells_recipes_apart_and_survives_a_round_trip(first: int, second: int) -> None:
    one, other = (Recipe.model_validate({**minimal(), "seed": seed}) for seed in (first, second))
    assert (recipe_hash(one) == recipe_hash(other)) == (first == second)
    assert recipe_hash(Recipe.model_validate_json(one.model_dump_json())) == recipe_hash(one)
