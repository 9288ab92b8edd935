"""The registry: specs become Inspect tasks, and one broken spec costs one line."""

import json
import logging

import pytest
import yaml
from inspect_ai import eval

from longspan.harness import registry
from longspan.harness.cli import main
from longspan.harness.errors import DataError, SpecError
from longspan.harness.registry import (
    find_spec,
    find_task,
    load_registry,
    make_task,
    register_folders,
    task_parameters,
)
from longspan.harness.spec import read_spec
from tests.harness.scripted import scripted_model

SPEC = {
    "name": "towns",
    "description": "Questions on towns",
    "dataset": {
        "files": ["towns.jsonl"],
        "fields": {"question": "q", "target": "a", "context": "c", "id": "id"},
    },
    "scorer": "cover_exact_match",
    "limits": {"seconds": 60},
    "groupings": ["hops"],
}
ROWS = [
    {"id": "1", "q": "Where is Karo?", "a": "Bel", "c": "Karo is in Bel."},
    {"id": "2", "q": "Where is Tomi?", "a": "Kur", "c": "Tomi is in Kur."},
]


@pytest.fixture
def empty(monkeypatch):
    """An empty registry, so that tests register what they like."""
    load_registry()
    for name in ("SPECS", "EXTERNALS", "TASKS", "LEFT_OUT"):
        monkeypatch.setattr(registry, name, {})
    monkeypatch.setattr(registry, "PROBLEMS", [])
    monkeypatch.delenv("LONGSPAN_TASKS", raising=False)
    monkeypatch.delenv("LONGSPAN_DATA", raising=False)


@pytest.fixture
def folder(tmp_path, empty):
    """A folder of one spec and its data."""
    (tmp_path / "towns.yaml").write_text(yaml.safe_dump(SPEC))
    (tmp_path / "towns.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path


def test_a_spec_becomes_a_task(folder):
    register_folders(folder)
    task = find_task("longspan/towns")
    assert [sample.id for sample in task.dataset] == ["1", "2"]
    assert (task.time_limit, task.metadata["groupings"]) == (60, ("hops",))
    assert task.metadata["num_rows_left_out"] == 0
    assert registry.PROBLEMS == []


def test_the_version_follows_spec_and_data(folder):
    file = read_spec(folder / "towns.yaml")
    version = make_task(file, task_parameters(file.spec)).version
    assert make_task(file, task_parameters(file.spec)).version == version
    (folder / "towns.jsonl").write_text(json.dumps(ROWS[0]))
    after = make_task(file, task_parameters(file.spec)).version
    assert after != version


@pytest.mark.parametrize(
    ("answer", "score"), [("Therefore, the answer is Bel.", 0.5), ("Bel", 0.0), ("", 0.0)]
)
def test_a_task_runs_with_its_solver_and_scorer(folder, tmp_path, answer, score):
    register_folders(folder)
    arguments = {"log_dir": str(tmp_path / "logs"), "display": "none", "log_realtime": False}
    log = eval(find_task("towns"), model=scripted_model(answer), **arguments)[0]
    assert log.status == "success", log.error
    metrics = log.results.scores[0].metrics
    assert metrics["mean"].value == score
    assert set(metrics) == {"mean", "stderr", "compat", "compat_n"}
    assert log.eval.task_registry_name == "longspan/towns"
    validity = log.samples[0].scores["cover_exact_match"].metadata["validity"]
    assert validity == ("answered" if score else "no_answer")


def test_a_model_that_never_says_the_phrase_can_be_scored_all_the_same(folder, tmp_path):
    register_folders(folder)
    arguments = {"log_dir": str(tmp_path / "logs"), "display": "none", "log_realtime": False}
    task = find_task("towns", require_phrase=False)
    log = eval(task, model=scripted_model("Bel"), **arguments)[0]
    assert log.results.scores[0].metrics["mean"].value == 0.5


def test_a_broken_spec_costs_one_warning_and_no_other_task(folder, caplog, capsys):
    (folder / "a_broken.yaml").write_text("name: [")
    (folder / "b_unknown.yaml").write_text(yaml.safe_dump({**SPEC, "name": "x", "scorer": "bleu"}))
    (folder / "z_twice.yaml").write_text(yaml.safe_dump(SPEC))
    with caplog.at_level(logging.WARNING):
        register_folders(folder)
    assert list(registry.SPECS) == ["towns"]
    assert len(caplog.messages) == len(registry.PROBLEMS) == 3
    assert all("\n" not in message for message in caplog.messages)
    capsys.readouterr()  # Inspect's log handler, where an earlier evaluation has set it up
    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    assert "towns  -" in printed and printed.count("left out: ") == 3
    assert "already defined" in printed and "unknown scorer: bleu" in printed


def test_a_task_whose_spec_was_left_out_says_so_and_why(folder):
    (folder / "rivers.yaml").write_text("name: [")
    (folder / "b.yaml").write_text(yaml.safe_dump({**SPEC, "name": "my-lakes"}))
    (folder / "z_twice.yaml").write_text(yaml.safe_dump(SPEC))
    (folder / "hills.yml").symlink_to("nowhere")
    register_folders(folder)
    for name, why in (
        ("rivers", "rivers.yaml is not YAML"),
        ("longspan/my-lakes", "b.yaml: .*my-lakes"),
        ("hills", "cannot read .*hills.yml"),
    ):
        with pytest.raises(SpecError, match=f"was left out, since its spec is broken: .*{why}"):
            find_task(name)
    assert find_task("towns").name == "longspan/towns", "another spec of the name is whole"


def test_a_broken_spec_does_not_hide_a_whole_one_of_its_name(folder):
    (folder / "towns.yaml").rename(folder / "other.yaml")
    (folder / "a.yaml").write_text("name: towns")
    register_folders(folder)
    assert find_task("towns").name == "longspan/towns"


def test_folders_of_the_user_are_picked_up(folder, monkeypatch):
    monkeypatch.setenv("LONGSPAN_TASKS", str(folder))
    register_folders()
    assert find_spec("towns").path == folder / "towns.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {"reader": "csv"}}, "unknown reader 'csv'"),
        ({"parameters": {"bogus": 1}}, "bogus"),
        ({"scorer_options": {"tolerance": 1}}, "scorer of towns: .*has no option"),
        ({"scorer_options": {"max_extra_words": "12"}}, "must be a whole number"),
        ({"official": {"form": "chat", "scorer": "bleu"}}, "unknown scorer: bleu"),
        ({"dataset": {"reader": "taskset"}, "parameters": {"bogus": 1}}, "unknown key"),
        ({"dataset": {"fields": {"question": "q"}}}, "dataset.fields lacks target, context"),
    ],
)
def test_what_a_spec_names_must_exist(folder, change, message):
    (folder / "towns.yaml").write_text(yaml.safe_dump({**SPEC, **change}))
    with pytest.raises(SpecError, match=message):
        registry.register(read_spec(folder / "towns.yaml"))


def test_an_unknown_task_is_one_line_with_the_nearest_names(folder):
    register_folders(folder)
    with pytest.raises(SpecError, match="unknown task: longspan/twons; did you mean towns?"):
        find_spec("longspan/twons")
    with pytest.raises(SpecError, match="unknown task: qqq; see: longspan tasks"):
        find_spec("qqq")


def test_an_unknown_parameter_is_one_line(folder):
    register_folders(folder)
    with pytest.raises(
        SpecError,
        match="no parameter 'bogus'; it has: data, protocol, require_phrase, scoring, judge",
    ):
        make_task(find_spec("towns"), {"bogus": 1, "data": None})


def test_missing_data_are_one_line_when_the_task_is_made_and_not_before(folder, capsys):
    (folder / "towns.jsonl").unlink()
    register_folders(folder)
    assert main(["tasks"]) == 0
    assert "missing: set LONGSPAN_DATA or -T data=FILE" in capsys.readouterr().out
    with pytest.raises(DataError, match="set LONGSPAN_DATA to the folder that holds it"):
        find_task("towns")


def test_a_task_over_a_task_set_needs_its_path(folder):
    spec = {**SPEC, "name": "mine", "dataset": {"reader": "taskset"}, "scorer": "by_sample"}
    (folder / "mine.yaml").write_text(yaml.safe_dump(spec))
    register_folders(folder)
    with pytest.raises(DataError, match="needs a task set; pass -T path=DIR"):
        find_task("mine")
    with pytest.raises(DataError, match="no task set at"):
        find_task("mine", path=str(folder / "none"))


def test_the_table_is_also_json(folder, capsys):
    register_folders(folder)
    assert main(["tasks", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in content["tasks"]] == ["towns"]
    assert content["tasks"][0]["parameters"] == {
        "data": None,
        "protocol": "recipe",
        "require_phrase": True,
        "scoring": "strict",
        "judge": "fallback",
    }
