"""Specs: refused in one line that names file, key and value; versions follow the content."""

import os

import pytest
import yaml
from pydantic import ValidationError

from longspan.harness.errors import DataError, SpecError
from longspan.harness.spec import (
    DatasetSpec,
    HubFiles,
    Limits,
    TaskSpec,
    read_spec,
    read_specs,
    user_folders,
)

MINIMAL = {
    "name": "towns",
    "description": "Questions on towns",
    "dataset": {"files": ["towns.jsonl"]},
    "scorer": "cover_exact_match",
}


def write(folder, file="towns.yaml", **changes):
    path = folder / file
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


def test_a_minimal_spec_has_the_defaults_of_the_protocol(tmp_path):
    spec = read_spec(write(tmp_path)).spec
    assert (spec.solver, spec.truncation, spec.task_type) == (
        "longspan/full_context",
        "middle",
        None,
    )
    with pytest.raises(ValidationError):
        spec.name = "other"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scorrer": "letter"}, "unknown key 'scorrer'"),
        ({"name": "towns.v2"}, r"name: .*\(got 'towns.v2'\)"),
        ({"task_type": "riddle"}, r"task_type: .*\(got 'riddle'\)"),
        ({"truncation": "top"}, "truncation"),
        ({"question": "{{ question "}, "question: .*template cannot be filled"),
        ({"question": "{% macro f() %}{% endmacro %}"}, "Macro is not offered"),
        ({"dataset": {"hub": {"repository": "../..", "revision": None, "files": ["f"]}}}, "repos"),
        ({"dataset": {"hub": {"repository": "a/b", "files": ["f"]}}}, "hub.revision' is missing"),
        (
            {"dataset": {"hub": {"repository": "a/b", "revision": None, "files": ["a|../b"]}}},
            "a path within the repository is expected, not '../b'",
        ),
        ({"size": 0}, r"size: .*\(got 0\)"),
        ({"limits": {"seconds": 0}}, r"limits.seconds: .*\(got 0\)"),
        (
            {"dataset": {"hub": {"repository": "a/b", "revision": "main", "files": ["f"]}}},
            "revision",
        ),
    ],
)
def test_a_wrong_spec_is_one_line_with_file_key_and_value(tmp_path, changes, message):
    with pytest.raises(SpecError, match=message) as caught:
        read_spec(write(tmp_path, **changes))
    assert str(caught.value).startswith("towns.yaml: ")


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: towns\n")
    with pytest.raises(SpecError, match="key 'description' is missing; add it"):
        read_spec(path)


@pytest.mark.parametrize("content", ["", "- a\n", "a: [1\n", "\t", "!!python/object:os.system {}"])
def test_what_is_no_spec_at_all_is_one_line(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match="a.yaml (is empty|is not YAML|must be a mapping)"):
        read_spec(path)


def test_a_broken_file_leaves_the_others_usable(tmp_path):
    write(tmp_path, "b.yaml")
    (tmp_path / "a.yaml").write_text("name: [")
    (tmp_path / "c.yaml").write_bytes(b"\x00\x01")
    specs, problems = read_specs(tmp_path)
    assert [file.spec.name for file in specs] == ["towns"]
    assert [problem.place for problem in problems] == [
        str(tmp_path / "a.yaml"),
        str(tmp_path / "c.yaml"),
    ]


def test_a_missing_folder_is_reported(tmp_path):
    specs, problems = read_specs(tmp_path / "none")
    assert specs == [] and "no such folder" in problems[0].reason


def test_user_folders_are_separated_like_path(monkeypatch, tmp_path):
    monkeypatch.setenv("LONGSPAN_TASKS", f"{tmp_path}{os.pathsep}{os.pathsep}~/tasks")
    first, second = user_folders()
    assert first == tmp_path and second.is_absolute()
    monkeypatch.delenv("LONGSPAN_TASKS")
    assert user_folders() == []


def test_the_version_is_that_of_spec_prompt_and_data():
    spec = TaskSpec.model_validate(MINIMAL)
    same = TaskSpec.model_validate(MINIMAL)
    assert spec.version("data") == same.version("data")
    changed = TaskSpec.model_validate({**MINIMAL, "question": "Now: {{ question }}"})
    versions = {spec.version("data"), spec.version("other"), changed.version("data")}
    assert len(versions) == 3


def test_every_field_is_documented():
    for model in (TaskSpec, DatasetSpec, HubFiles, Limits):
        for name, field in model.model_fields.items():
            assert field.description, name
