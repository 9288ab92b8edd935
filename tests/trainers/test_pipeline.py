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
from longspan.trainers.metrics import MetricsFile
from longspan.trainers.pipeline import resolve_recipe, train, train_command
from longspan.trainers.recipe import load_recipe
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


def test_a_recipe_from_python_is_the_same_run(two_stages: tuple[Path, Path]) -> None:
    path, out = two_stages
    assert train(load_recipe(path), out, quiet=True) == out / "final"
    other = load_recipe(path).model_copy(update={"seed": 1})
    with pytest.raises(RecipeError, match="another recipe"):
        train(other, out, quiet=True)


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
        train_command("quickstart", tmp_path / "out", quiet=True)


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
    recipe = resolve_recipe(
        "quickstart", checkpoint="elsewhere", tasks=[Path("a"), Path("b")], seed=3
    )
    assert (recipe.name, recipe.checkpoint, recipe.seed) == ("quickstart", "elsewhere", 3)
    assert [source.args for source in recipe.sources(recipe.stages[0])] == [
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe with every kind of stage, its task set and evaluations; run once."""
    folder = tmp_path_factory.mktemp("whole")
    words = [{"task": "toy/words"}]
    sampling = {"batch_size": 4, "group_size": 2, "temperature": 1.0, "max_output_tokens": 6}
    measure = {"kind": "filter", "name": "some", "tasks": words, "sampling": sampling}
    content = yaml.safe_load(recipe_file(folder, {"name": "one", "num_steps": 1}).read_text())
    [one] = content["stages"]
    content["stages"] = [
        {**measure, "num_samples": 5},
        {**one, "tasks": [], "samples_of": "some"},
        {**one, "name": "two", "start_from": "start"},
        {"kind": "merge", "name": "both", "models": ["one", "two"], "weight_floor": 0},
    ]
    content["board"] = {"title": "Toy", "columns": [{"name": "Words", "tasks": ["toy_words"]}]}
    content["evaluations"] = [
        {"name": "words", "task": "toy/words", "temperature": 0.0, "max_output_tokens": 6},
    ]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    train_command(str(path), folder / "out", quiet=True)
    return path, folder / "out"


def test_a_stage_trains_on_what_its_filter_kept_alone(whole: tuple[Path, Path]) -> None:
    _, out = whole
    selection = json.loads((out / "stages" / "some" / "kept.json").read_text())
    assert len(selection["kept"]) == 5 and selection["num_measured"] == 8
    [row] = MetricsFile(out / "stages" / "one" / "metrics.jsonl").rows()
    assert row["num_groups"] == 4


def test_the_merge_is_made_of_the_stages_it_names(whole: tuple[Path, Path]) -> None:
    _, out = whole
    record = json.loads((out / "final" / "longspan_merge.json").read_text())
    assert [model["name"] for model in record["models"]] == ["one", "two"]
    assert (out / "final").resolve() == (out / "stages" / "both" / "checkpoint").resolve()


def test_start_and_every_checkpoint_are_evaluated_and_stand_on_the_board(
    whole: tuple[Path, Path],
) -> None:
    _, out = whole
    board = json.loads((out / "board" / "board.json").read_text())
    rows = {row["checkpoint"]: row for row in board["numbers"]["rows"]}
    assert set(rows) == {"start", "one", "two", "both"}
    assert {row["num_samples"] for row in rows.values()} == {8}
    assert board["numbers"]["suite"]["title"] == "Toy"


def test_a_whole_run_that_is_done_keeps_every_file(whole: tuple[Path, Path]) -> None:
    recipe, out = whole
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix in (".eval", ".jsonl")}
    train_command(str(recipe), out, quiet=True)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_workers_evaluate_with_the_same_result(whole: tuple[Path, Path], tmp_path: Path) -> None:
    """The toy's task is known to this process alone, so workers evaluate a task set."""
    content = yaml.safe_load(whole[0].read_text())
    plan = {"seed": 1, "splits": {"train": {96: 6}, "test": {96: 6}}, "tokenizer": "nano"}
    content |= {"tasksets": {"world": plan}, "stages": [], "checkpoint": "nano"}
    content["evaluations"] = [{"name": "world", "taskset": "world", "max_output_tokens": 8}]
    found = []
    for workers in (0, 1):
        path = tmp_path / f"{workers}.yaml"
        path.write_text(yaml.safe_dump({**content, "evaluation_workers": workers}))
        assert train_command(str(path), tmp_path / str(workers), quiet=True) is None
        board = json.loads((tmp_path / str(workers) / "board" / "board.json").read_text())
        found.append(board["numbers"]["rows"])
    assert found[0] == found[1] and found[0][0]["num_samples"] == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failed_evaluation_stops_the_run_in_one_line(tmp_path: Path, workers: int) -> None:
    evaluation = {"name": "gone", "task": "longspan/no_such_task"}
    path = recipe_file(tmp_path, evaluations=[evaluation], evaluation_workers=workers)
    with pytest.raises(LongspanError, match="evaluate start: gone: .*no_such_task"):
        train_command(str(path), tmp_path / "out", quiet=True)
