"""Names and arguments from users."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import modelapi
from inspect_ai.scorer import match

from longspan.harness.errors import DataError, ModelError, SpecError
from longspan.harness.resolve import (
    named_task,
    parse_arguments,
    registered_task,
    resolve_model,
    resolve_solver,
    resolve_task,
)
from tests.harness.scripted import scripted_model


@task
def numbered(count: int = 2) -> Task:
    samples = [Sample(id=str(i), input=f"What is {i}?", target=str(i)) for i in range(count)]
    return Task(dataset=samples, scorer=match(), name="numbered")


def test_a_task_can_be_given_as_itself_or_as_a_function():
    name, made = resolve_task(numbered)
    assert name == "numbered" and len(made.dataset) == 2
    assert resolve_task(made) == ("numbered", made)


def test_values_are_read_as_yaml_and_mappings_are_taken_as_they_are():
    given = ["layout=chunk_first", "chunk_tokens=64", "greedy=true", "name=a=b", "odd=[1"]
    assert parse_arguments(given) == {
        "layout": "chunk_first",
        "chunk_tokens": 64,
        "greedy": True,
        "name": "a=b",
        "odd": "[1",
    }
    assert parse_arguments({"layout": "plain"}) == {"layout": "plain"}
    assert parse_arguments(None) == {}


@pytest.mark.parametrize("text", ["layout", "=x", "a b=1", ""])
def test_arguments_that_are_not_name_and_value_are_refused(text):
    with pytest.raises(SpecError, match="not name=value"):
        parse_arguments([text])


def test_unknown_names_end_in_one_line_each():
    with pytest.raises(SpecError, match="unknown task: nonsense"):
        registered_task("nonsense")
    with pytest.raises(SpecError, match="unknown task: other_package/nonsense"):
        named_task("other_package/nonsense", None, {})
    with pytest.raises(DataError, match="no such folder"):
        named_task("./nonsense", None, {})
    with pytest.raises(SpecError, match="unknown solver: nonsense"):
        resolve_solver("nonsense")
    with pytest.raises(ModelError, match="nonsense/model"):
        resolve_model("nonsense/model")
    with pytest.raises(ModelError, match="no such checkpoint folder: ./nonsense/model"):
        resolve_model("./nonsense/model")


TASK_FILE = """
from __future__ import annotations
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import exact

@task
def sums(first: int = 1):
    return Task(dataset=[Sample(f"{first} + 1", target=str(first + 1))], scorer=exact())

def number():
    return 3


from dataclasses import dataclass
from typing import ClassVar
from beside import FIRST


@dataclass
class Setting:
    first: ClassVar[int] = FIRST


@task
def broken():
    raise KeyError("of the task's own")
"""


def test_a_task_of_a_file_is_named_as_inspect_names_it(tmp_path: Path):
    file = tmp_path / "my tasks.py"
    file.write_text(TASK_FILE)
    (tmp_path / "beside.py").write_text("FIRST = 7")
    task = registered_task(f"{file}@sums", first=4)
    assert [(s.input, s.target) for s in task.dataset] == [("4 + 1", "5")]
    assert task.name == "sums"
    with pytest.raises(SpecError, match="does not take {'second': 1}"):
        registered_task(f"{file}@sums", second=1)
    with pytest.raises(SpecError, match="unknown task: .*@products"):
        registered_task(f"{file}@products")
    with pytest.raises(SpecError, match="not a task but a int"):
        registered_task(f"{file}@number")
    with pytest.raises(KeyError, match="of the task's own"):
        registered_task(f"{file}@broken")
    assert named_task(f"{file}@sums", None, {"first": 2}).dataset[0].target == "3"


@pytest.mark.parametrize(
    ("text", "reason"), [("1 / 0", "ZeroDivisionError"), ("def", "SyntaxError")]
)
def test_a_file_of_tasks_that_cannot_be_run_is_one_line(tmp_path: Path, text: str, reason: str):
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(SpecError, match=f"cannot load tasks of .*broken.py: {reason}.*mend"):
        registered_task(f"{file}@sums")
    with pytest.raises(SpecError, match="cannot load tasks of .*FileNotFoundError"):
        registered_task(f"{tmp_path}/absent.py@sums")


def test_arguments_that_a_solver_or_task_does_not_take_are_named():
    with pytest.raises(SpecError, match="does not take.*bogus"):
        resolve_solver("inspect_ai/system_message", {"bogus": 1})
    with pytest.raises(SpecError, match="no parameter 'bogus'"):
        registered_task("longspan/taskset", path="x", bogus=1)


def test_a_solver_keeps_its_arguments():
    spec = resolve_solver("inspect_ai/system_message", {"template": "Be brief."})
    assert (spec.solver, spec.args) == ("inspect_ai/system_message", {"template": "Be brief."})


def test_a_model_is_taken_as_it_is():
    model = scripted_model("x")
    assert resolve_model(model) is model
    assert str(resolve_model("scripted/model")) == "scripted/model"


def test_a_providers_error_is_shown_without_the_markup_of_a_terminal():
    def missing():
        raise ImportError(
            "[bold]ERROR[/bold]: needs x. Install with:\n\n[bold]pip install x[y][/bold]"
        )

    modelapi(name="missing")(missing)
    with pytest.raises(ModelError) as caught:
        resolve_model("missing/model")
    assert str(caught.value) == (
        "cannot use model missing/model: needs x. Install with: pip install x[y]; set that right, "
        "or check its name or folder"
    )
