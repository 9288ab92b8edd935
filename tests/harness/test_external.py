"""Tasks of other packages under our names."""

import sys

import pytest
import yaml
from inspect_ai import Task, eval, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match

from longspan.harness import external, registry
from longspan.harness.errors import DataError, SpecError
from longspan.harness.registry import EXTERNALS, find_spec, find_task, register
from longspan.harness.spec import ExternalSpec, read_spec
from tests.harness.scripted import scripted_model

SPEC = {
    "name": "sums",
    "description": "Sums of two numbers",
    "external": "elsewhere/sums_of_two",
    "arguments": {"largest": 9},
    "groupings": ["kind"],
}


def file_of(tmp_path, **changes):
    path = tmp_path / "sums.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    return read_spec(path)


@pytest.fixture
def sums(tmp_path, monkeypatch):
    """A package with a task, as Inspect would find it, and an alias of it."""
    made = []

    def create(kind, name, **arguments):
        if name != "elsewhere/sums_of_two":
            raise LookupError(name)
        made.append(arguments)
        return sums_of_two(**arguments)

    monkeypatch.setattr(external, "is_installed", lambda spec: True)
    monkeypatch.setattr(external, "registry_create", create)
    monkeypatch.setattr(external.importlib.metadata, "version", lambda name: "1.2")
    for name in ("SPECS", "EXTERNALS", "TASKS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    register(file_of(tmp_path))
    return made


@task
def sums_of_two(largest: int = 5) -> Task:
    return Task(dataset=[Sample("1+1?", target="2")], scorer=match(), metadata={"own": largest})


def test_an_alias_runs_the_other_packages_task_with_our_arguments(sums, tmp_path):
    arguments = {"log_dir": str(tmp_path), "display": "none", "log_realtime": False}
    (log,) = eval(find_task("longspan/sums"), model=scripted_model("2"), **arguments)
    assert log.status == "success" and sums == [{"largest": 9}]
    assert log.eval.task_registry_name == "longspan/sums"
    assert log.eval.metadata == {
        "own": 9,
        "spec": "sums",
        "external": "elsewhere/sums_of_two",
        "external_version": "1.2",
        "groupings": ["kind"],
    }
    assert find_task("sums", largest=3).metadata["own"] == 3


def test_what_the_other_package_lacks_is_one_line(sums, tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="task sums has no parameter 'smallest'; it has: largest"):
        find_task("sums", smallest=1)
    with pytest.raises(SpecError, match="sums is elsewhere/sums_of_two of another package"):
        find_spec("sums")
    spec = ExternalSpec.model_validate({**SPEC, "external": "elsewhere/none"})
    with pytest.raises(SpecError, match="elsewhere 1.2 has no task elsewhere/none"):
        external.make_external(spec, {})

    def raising(error):
        def create(*arguments, **named):
            raise error

        monkeypatch.setattr(external, "registry_create", create)

    raising(ModuleNotFoundError("no faiss", name="faiss"))
    with pytest.raises(DataError, match="elsewhere needs faiss, which is not installed; run: pip"):
        find_task("sums")
    raising(ConnectionError("offline\nreally"))
    with pytest.raises(DataError, match=r"elsewhere cannot make it \(offline really\); its data"):
        find_task("sums")
    retried = RuntimeError("gave up")
    retried.__cause__ = ConnectionError("no route")
    raising(retried)
    with pytest.raises(DataError, match=r"elsewhere cannot make it \(no route\)"):
        find_task("sums")


def test_a_package_that_is_not_installed_is_named_with_our_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_evals", None)
    monkeypatch.setattr(external, "find_spec", lambda name: None)
    for name in ("mmlu_pro", "aime24", "aime25", "gpqa_diamond", "bfcl_memory"):
        with pytest.raises(DataError, match=r"not installed; run: pip install inspect_evals"):
            find_task(name)


def test_the_general_tasks_are_those_that_the_package_has():
    assert {name: file.spec.external for name, file in EXTERNALS.items()} == {
        "mmlu_pro": "inspect_evals/mmlu_pro",
        "aime24": "inspect_evals/aime2024",
        "aime25": "inspect_evals/aime2025",
        "gpqa_diamond": "inspect_evals/gpqa_diamond",
        "bfcl_memory_prereqs": "inspect_evals/bfcl_prereqs",
        "bfcl_memory": "inspect_evals/bfcl",
    }


def test_a_name_is_taken_once(sums, tmp_path):
    with pytest.raises(SpecError, match="task sums is already defined in"):
        register(file_of(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"external": "sums"}, "external: .*got 'sums'"),
        ({"scorer": "letter"}, "unknown key 'scorer'"),
    ],
)
def test_a_wrong_alias_is_one_line(tmp_path, changes, message):
    with pytest.raises(SpecError, match=f"sums.yaml: {message}"):
        file_of(tmp_path, **changes)


def test_a_task_may_say_what_to_do_where_its_package_cannot_make_it(sums, tmp_path, monkeypatch):
    def fail(kind, name, **arguments):
        raise ValueError("no snapshot run1")

    monkeypatch.setattr(external, "registry_create", fail)
    with pytest.raises(DataError, match="no snapshot run1.; its data are fetched where there is"):
        find_task("sums")
    with pytest.raises(DataError, match="no snapshot run1.; run bfcl_memory_prereqs first"):
        find_task("bfcl_memory", snapshot_id="run1")
