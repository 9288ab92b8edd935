"""Suites: tasks that are evaluated together under the same generation settings, one YAML each.

Temperature, top-p, output limit and epochs belong to a suite (or to the command line), never to a
task; they are applied as eval arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longspan.harness.errors import LongspanError, SpecError
from longspan.harness.files import parse_mapping, read_text
from longspan.harness.generation import GenerationSettings
from longspan.harness.spec import Parameter, user_folders
from longspan.harness.validation import describe_validation

FOLDER = "suites"
"""Below `tasks/`, and below every folder of LONGSPAN_TASKS."""
MODEL_MARK = "{model}"
"""In a task's argument: the name of the model, for what an earlier task has left under it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SuiteTask(_Frozen):
    """One task of a suite."""

    task: str
    """Registered task, of this or any installed package."""
    args: dict[str, Parameter] = {}
    """Task parameters; `{model}` in a text stands for the name of the model."""
    solver: str | None = None
    """Solver in place of the task's own."""
    solver_args: dict[str, Parameter] = {}
    """Solver arguments."""
    epochs: int | None = Field(default=None, ge=1)
    """Attempts per sample, where they differ from the suite's."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Output limit, where it differs from the suite's."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many samples."""
    grader: bool = False
    """Whether the benchmark's own figures need a judge; without one the command says so."""

    def arguments(self, model: str) -> dict[str, Parameter]:
        """Returns the task parameters for a model."""
        return {
            name: value.replace(MODEL_MARK, model) if isinstance(value, str) else value
            for name, value in self.args.items()
        }

    @property
    def label(self) -> str:
        """What a user reads: the task and what is set."""
        arguments = ", ".join(f"{name}={value}" for name, value in self.args.items())
        return f"{self.task} ({arguments})" if arguments else self.task


class Suite(_Frozen):
    """Tasks and the settings that they share."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)
    """Name for `longspan eval`."""
    description: str
    """One line for `longspan tasks`."""
    generation: GenerationSettings
    """Sampling settings."""
    epochs: int = Field(default=1, ge=1)
    """Attempts per sample."""
    solver: str | None = None
    """Solver of tasks that name none; None: each task's own."""
    solver_args: dict[str, Parameter] = {}
    """Its arguments."""
    tasks: tuple[SuiteTask, ...] = Field(min_length=1)
    """What is evaluated, in order."""
    notes: str = ""
    """Where settings come from, and what the source leaves open."""


def find_suite(name: str) -> Suite | None:
    """Returns the suite of a name, None where there is none.

    Raises:
        SpecError: its file is no suite.
    """
    path = suite_files().get(name)
    return read_suite(path) if path else None


def read_suite(path: Path) -> Suite:
    """Returns the suite of a YAML file.

    Raises:
        DataError: it is not readable or not YAML.
        SpecError: it is no suite; the message names file, key and value.
    """
    try:
        suite = Suite.model_validate(parse_mapping(read_text(path), path.name))
    except ValidationError as error:
        raise SpecError(f"suite {path.name}: {describe_validation(error)}") from error
    if suite.name != path.stem:
        raise SpecError(f"suite {path.name} names itself {suite.name!r}; use the file's name")
    return suite


def suite_files() -> dict[str, Path]:
    """Returns the files of suites by name; the first of a name stays, ours first."""
    found: dict[str, Path] = {}
    for path in _every_file():
        found.setdefault(path.stem, path)
    return found


def _every_file() -> list[Path]:
    folders = [Path(str(files("longspan.tasks"))), *user_folders()]
    return [path for folder in folders for path in sorted((folder / FOLDER).glob("*.yaml"))]


def all_suites() -> tuple[list[Suite], list[str]]:
    """Returns the suites that can be read, and in a line each why the others cannot."""
    found, problems = [], []
    for path in suite_files().values():
        try:
            found.append(read_suite(path))
        except LongspanError as error:
            problems.append(str(error))
    used = set(suite_files().values())
    problems += [
        f"suite {path}: there is another suite of this name; rename the file"
        for path in _every_file()
        if path not in used
    ]
    return found, problems


def suites_of_tasks(suites: Sequence[Suite]) -> dict[str, list[str]]:
    """Returns the suites that hold each task, by the task's name without `longspan/`."""
    found: dict[str, list[str]] = {}
    for suite in suites:
        for one in dict.fromkeys(task.task.removeprefix("longspan/") for task in suite.tasks):
            found.setdefault(one, []).append(suite.name)
    return found


def merged(suite: Suite, task: SuiteTask, given: dict[str, Any]) -> tuple[GenerationSettings, int]:
    """Returns generation settings and epochs of a task: command line over task over suite."""
    settings = suite.generation.model_dump()
    if task.max_tokens is not None:
        settings["max_tokens"] = task.max_tokens
    settings |= {name: value for name, value in given.items() if name in settings}
    epochs = given.get("epochs") or task.epochs or suite.epochs
    return GenerationSettings.model_validate(settings), int(epochs)
