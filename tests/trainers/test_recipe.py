"""Recipes: what is accepted, and the line that says what is wrong."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import longspan.trainers.recipe as module
from longspan.harness.errors import DataError, RecipeError
from longspan.trainers.aepo import AepoSettings
from longspan.trainers.recipe import Recipe, TaskSource, load_recipe, recipe_hash

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


def load(tmp_path: Path, content: object) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_recipe(path)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_under_its_own_name(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_nested_settings_become_the_algorithms_own(tmp_path: Path) -> None:
    recipe = load(tmp_path, minimal(objective={"aepo": {"low": 0.1, "high": 0.3}}))
    assert recipe.stages[0].objective.aepo == AepoSettings(0.1, 0.3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (minimal(learning_rte=1), "unknown key stages.0.learning_rte"),
        (
            minimal(objective={"aepo": {"low": 0.1, "high": 0.3, "hi": 1}}),
            "unknown key stages.0.objective.aepo.hi",
        ),
        (minimal(num_steps=0), "stages.0.num_steps: .* got 0"),
        (minimal(objective={"aepo": {"low": 0.4, "high": 0.3}}), "got low=0.4, high=0.3"),
        (minimal(start_from="two"), "starts from 'two', which is no earlier stage"),
        (minimal(name="../x"), "stages.0.name: .*got '../x'"),
        ({"name": "r", "checkpoint": "nano"}, "stages is missing"),
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
    assert recipe.with_tasks(source).stages[0].tasks == (source,)
    assert recipe.stages[0].tasks == (TaskSource(task="longspan/taskset"),)


@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_hash_tells_recipes_apart_and_survives_a_round_trip(first: int, second: int) -> None:
    one, other = (Recipe.model_validate({**minimal(), "seed": seed}) for seed in (first, second))
    assert (recipe_hash(one) == recipe_hash(other)) == (first == second)
    assert recipe_hash(Recipe.model_validate_json(one.model_dump_json())) == recipe_hash(one)
