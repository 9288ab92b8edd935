"""`longspan train`: stages in order, one run per folder, done is done, wrong is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from longspan.harness.cli import load_command
from longspan.harness.errors import DataError, LongspanError, ModelError, RecipeError, describe
from longspan.trainers.local import state
from longspan.trainers.pipeline import resolve_recipe, train_command
from tests.full_disk import full_disk
from tests.trainers.tiny import save_tiny
from tests.trainers.toy import toy_stage


def recipe_file(folder: Path, *stages: dict[str, object], **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    defaults = [{"name": "one", "num_steps": 2}]
    content = {
        "name": "toy",
        "checkpoint": str(save_tiny(folder / "start")),
        "stages": [
            toy_stage(**stage).model_dump(mode="json", exclude_none=True)
            for stage in stages or defaults
        ],
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("two")
    stages = ({"name": "one", "num_steps": 1}, {"name": "two", "num_steps": 1})
    recipe = recipe_file(folder, *stages)
    load_command("train")(recipe=str(recipe), out=folder / "out", quiet=True)
    return recipe, folder / "out"


def test_stages_follow_each_other_and_final_is_the_last(two_stages: tuple[Path, Path]) -> None:
    _, out = two_stages
    one, two = (
        out / "stages" / name / "checkpoint" / "model.safetensors" for name in ("one", "two")
    )
    final = (out / "final" / "model.safetensors").read_bytes()
    assert final == two.read_bytes() != one.read_bytes()
    assert json.loads((out / "run.json").read_text())["recipe"]["name"] == "toy"


def test_a_finished_run_returns_at_once(two_stages: tuple[Path, Path]) -> None:
    recipe, out = two_stages
    before = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert train_command(str(recipe), out, quiet=True) == out / "final"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == before


def test_a_full_disk_is_named_and_the_run_goes_on_from_its_last_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_file(tmp_path, {"name": "one", "num_steps": 3})
    out, save, calls = tmp_path / "out", state.save_file, []

    def save_until_full(tensors: object, path: Path) -> None:
        calls.append(path)
        with full_disk(2**30 if len(calls) < 4 else 1000):
            save(tensors, path)

    monkeypatch.setattr(state, "save_file", save_until_full)
    with pytest.raises(OSError) as caught:
        load_command("train")(recipe=str(recipe), out=out, quiet=True)
    assert (describe(caught.value) or "").startswith(f"File too large: {out}; ")
    assert [path.name for path in (out / "stages/one/states").glob("step-*")] == ["step-000001"]
    monkeypatch.undo()
    for folder in (out, tmp_path / "straight"):
        load_command("train")(recipe=str(recipe), out=folder, quiet=True)
    finals = [tmp_path / name / "final/model.safetensors" for name in ("out", "straight")]
    assert finals[0].read_bytes() == finals[1].read_bytes()


def test_another_recipe_does_not_continue_the_run(two_stages: tuple[Path, Path]) -> None:
    recipe, out = two_stages
    with pytest.raises(RecipeError, match="holds a run of another recipe or with other options"):
        train_command(str(recipe), out, seed=7, quiet=True)


def test_a_damaged_record_of_the_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").touch()
    with pytest.raises(RecipeError, match="damaged: .*run.json.*--no-resume"):
        train_command("laptop", tmp_path / "out", quiet=True)


def test_no_resume_starts_over_and_removes_nothing_else(tmp_path: Path) -> None:
    recipe, out = recipe_file(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "stages").mkdir()
    (out / "run.json").write_text(json.dumps({"recipe_hash": "other"}))
    with pytest.raises(RecipeError, match="--no-resume"):
        train_command(str(recipe), out, quiet=True)
    train_command(str(recipe), out, resume=False, quiet=True)
    assert (out / "final" / "config.json").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_a_shipped_recipe_is_found_by_name_and_overridden() -> None:
    recipe = resolve_recipe("laptop", checkpoint="elsewhere", tasks=[Path("a"), Path("b")], seed=3)
    assert (recipe.name, recipe.checkpoint, recipe.seed) == ("laptop", "elsewhere", 3)
    assert [source.args for source in recipe.stages[0].tasks] == [
        {"path": "a", "split": "train"},
        {"path": "b", "split": "train"},
    ]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"recipe": "laptp"}, RecipeError, "no recipe 'laptp'; give a YAML file or one of: laptop"),
        ({"engine": "verl"}, RecipeError, "unknown engine: verl"),
        ({"checkpoint": "/no/such"}, ModelError, "/no/such"),
        ({"tasks": [Path("/no/such")]}, DataError, "/no/such"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, changes: dict[str, object], error: type[LongspanError], message: str
) -> None:
    arguments = {"recipe": str(recipe_file(tmp_path)), "out": tmp_path / "out", "quiet": True}
    with pytest.raises(error, match=re.escape(message)):
        load_command("train")(**{**arguments, **changes})
    assert not (tmp_path / "out" / "final").exists()
