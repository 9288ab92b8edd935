"""The registry of tasks: specs -> Inspect tasks named `longspan/<name>`.

One broken spec costs one warning line and no other task. Data are read when a task is made, never
when it is registered, so the registry stays light.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.solver import Solver
from inspect_ai.util import registry_create

from longspan.harness.data import DATA_VARIABLE, find_data, find_locally
from longspan.harness.errors import DataError, LongspanError, SpecError, one_line
from longspan.harness.files import Problem
from longspan.harness.generators import GENERATORS, check_parameters, generate
from longspan.harness.readers import READERS, make_reader
from longspan.harness.records import document_groups, read_samples, to_sample
from longspan.harness.scorers import SCORERS, find_scorer
from longspan.harness.spec import SpecFile, TaskSpec, named_in, read_specs, user_folders
from longspan.harness.taskset import TaskSet

PACKAGE = "longspan"
TASKSET_READER = "taskset"
TASKSET_PARAMETERS = {
    **{"path": None, "split": "test", "target_tokens": None},
    **{"task_types": None, "kinds": None, "limit": None},
}
"""What a task over a task set takes; a spec may give other defaults."""
DATA = "data"
"""Parameter: the data file of a task that reads one."""
SCORER_PARAMETERS: dict[str, Any] = {
    "require_phrase": True,
    "scoring": "strict",
    "judge": "fallback",
}
"""What `-T` hands to the scorer: whether an answer needs the phrase "the answer is" (some models
never say it), which form of the rule is the score, and when a run's judge is asked."""
DEFAULT_SOLVER = f"{PACKAGE}/full_context"

SPECS: dict[str, SpecFile] = {}
"""Registered specs by name."""
TASKS: dict[str, Callable[..., Task]] = {}
"""Registered tasks by name, without the package."""
PROBLEMS: list[Problem] = []
"""Specs that could not be registered."""
LEFT_OUT: dict[str, Problem] = {}
"""Those of them whose task has no other spec, by the task's name."""

logger = logging.getLogger(__name__)


def register_folders(*folders: Path) -> None:
    """Registers the specs of folders, then those of LONGSPAN_TASKS; the first of a name stays."""
    for folder in [*folders, *user_folders()]:
        files, problems = read_specs(folder)
        for file in files:
            try:
                register(file)
            except LongspanError as error:
                problems.append(Problem(str(file.path), str(error)))
        for problem in problems:
            logger.warning("task spec left out: %s", problem)
            _leave_out(problem)
        PROBLEMS.extend(problems)


def register(file: SpecFile) -> Callable[..., Task]:
    """Registers a spec with Inspect and returns its task.

    Raises:
        SpecError: the name is taken, or the spec names a reader, option or scorer that does not
            exist.
    """
    spec = file.spec
    if spec.name in SPECS:
        raise SpecError(
            f"task {spec.name} is already defined in {SPECS[spec.name].path}; rename it"
        )
    _check(file)
    parameters = task_parameters(spec)

    def factory(**arguments: Any) -> Task:
        return make_task(file, {**parameters, **arguments})

    factory.__name__ = factory.__qualname__ = spec.name
    factory.__doc__ = spec.description
    factory.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in parameters.items()
        ],
        return_annotation=Task,
    )
    registered: Callable[..., Task] = task(name=spec.name)(factory)
    SPECS[spec.name], TASKS[spec.name] = file, registered
    return registered


def task_parameters(spec: TaskSpec) -> dict[str, Any]:
    """Returns what `-T` may set, with defaults: the reader's options, data file, scoring."""
    has_file = spec.dataset.reader != TASKSET_READER and spec.dataset.reader not in GENERATORS
    own: dict[str, Any] = {DATA: None} if has_file else {}
    takes = inspect.signature(find_scorer(spec.scorer)).parameters
    for name, default in SCORER_PARAMETERS.items():
        if name in takes:
            own[name] = spec.scorer_options.get(name, default)
    defaults = TASKSET_PARAMETERS if spec.dataset.reader == TASKSET_READER else {}
    if spec.dataset.reader in GENERATORS:
        fields = GENERATORS[spec.dataset.reader].parameters.model_fields
        defaults = {name: field.default for name, field in fields.items()}
    return {**defaults, **spec.parameters, **own}


def make_task(file: SpecFile, arguments: Mapping[str, Any]) -> Task:
    """Returns the Inspect task of a spec; reads its data.

    Raises:
        DataError: the data are missing or cannot be used.
        SpecError: an argument is unknown or out of bounds.
    """
    spec = file.spec
    unknown = set(arguments) - set(task_parameters(spec))
    if unknown:
        known = ", ".join(task_parameters(spec)) or "none"
        raise SpecError(
            f"task {spec.name} has no parameter {sorted(unknown)[0]!r}; it has: {known}"
        )
    if spec.dataset.reader == TASKSET_READER:
        samples, data_hash, facts = _from_taskset(spec, arguments)
    elif spec.dataset.reader in GENERATORS:
        made = generate(file, _reader_options(arguments))
        clusters = document_groups(made.records)
        samples = [to_sample(record, spec, clusters[record.id]) for record in made.records]
        data_hash, facts = made.hash, made.facts
    else:
        samples, data_hash, facts = _from_file(file, arguments)
    scoring = {name: arguments[name] for name in SCORER_PARAMETERS if name in arguments}
    return Task(
        dataset=MemoryDataset(samples, name=spec.name),
        solver=_default_solver(spec),
        scorer=find_scorer(spec.scorer)(**spec.scorer_options | scoring),
        time_limit=spec.limits.seconds,
        token_limit=spec.limits.tokens,
        message_limit=spec.limits.messages,
        version=spec.version(data_hash),
        metadata={"spec": spec.name, "data_hash": data_hash, "groupings": spec.groupings} | facts,
    )


def find_spec(name: str) -> SpecFile:
    """Returns the spec of a task, by its name with or without `longspan/`.

    Raises:
        SpecError: no such task; the message names the nearest ones, or why it was left out.
    """
    load_registry()
    short = name.removeprefix(f"{PACKAGE}/")
    if short not in SPECS and short in LEFT_OUT:
        raise SpecError(f"task {short} was left out, since its spec is broken: {LEFT_OUT[short]}")
    if short not in SPECS:
        nearest = difflib.get_close_matches(short, SPECS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see: longspan tasks"
        raise SpecError(f"unknown task: {name}; {hint}")
    return SPECS[short]


def find_task(name: str, **arguments: Any) -> Task:
    """Returns a task of ours by name, as `inspect eval` would make it.

    Raises:
        SpecError: no such task or parameter.
        DataError: its data are missing or cannot be used.
    """
    return TASKS[find_spec(name).spec.name](**arguments)


def load_registry() -> None:
    """Imports the entry point, which registers the built-in tasks and the user's.

    By name: `tasks/` stands on the harness, and the harness imports nothing of it.
    """
    importlib.import_module(f"{PACKAGE}.tasks.registry")


def tasks_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the registered tasks, where their data are, and the specs that were left out."""
    load_registry()
    rows = [_describe(file) for _, file in sorted(SPECS.items())]
    if as_json:
        content = {"tasks": rows, "left_out": [str(problem) for problem in PROBLEMS]}
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    print(_table(rows, ("name", "task_type", "scorer", "data", "description")))
    for problem in PROBLEMS:
        print(f"left out: {problem}")
    print("\nRun one: inspect eval longspan/<name> --model <provider>/<model> [-T parameter=value]")


def _leave_out(problem: Problem) -> None:
    """Registers a task that says why it was left out, so that `inspect eval` can say it too."""
    name = named_in(Path(problem.place))
    if name is None or name in SPECS:
        return
    LEFT_OUT[name] = problem

    def factory(**arguments: Any) -> Task:
        return find_task(name, **arguments)

    factory.__name__ = factory.__qualname__ = name
    task(name=name)(factory)


def _check(file: SpecFile) -> None:
    """Raises SpecError if the spec names something that does not exist."""
    spec = file.spec
    if spec.scorer.removeprefix(f"{PACKAGE}/") in SCORERS:
        try:
            find_scorer(spec.scorer)(**spec.scorer_options)
        except TypeError as error:
            raise SpecError(f"scorer_options of {spec.name}: {error}") from error
    else:
        find_scorer(spec.scorer)
    if spec.dataset.reader == TASKSET_READER:
        if unknown := spec.parameters.keys() - TASKSET_PARAMETERS:
            raise SpecError(f"unknown parameter {min(unknown)!r}; known: {[*TASKSET_PARAMETERS]}")
        return
    if spec.dataset.reader in GENERATORS:
        check_parameters(file, spec.parameters)
        return
    if spec.dataset.reader not in READERS:
        known = ", ".join([*READERS, *GENERATORS, TASKSET_READER])
        raise SpecError(f"unknown reader {spec.dataset.reader!r}; choose one of {known}")
    make_reader(file, spec.parameters)


def _default_solver(spec: TaskSpec) -> Solver:
    arguments = {"truncation": spec.truncation} if spec.solver == DEFAULT_SOLVER else {}
    try:
        solver: Solver = registry_create("solver", spec.solver, **arguments)
    except LookupError as error:
        raise SpecError(f"task {spec.name} names an unknown solver: {spec.solver}") from error
    return solver


def _from_taskset(
    spec: TaskSpec, arguments: Mapping[str, Any]
) -> tuple[list[Sample], str, dict[str, Any]]:
    path = arguments["path"]
    if not path:
        raise DataError(
            f"task {spec.name} needs a task set; pass -T path=DIR (build one with `longspan synth`)"
        )
    taskset = TaskSet.open(Path(str(path)).expanduser().absolute())
    samples = taskset.samples(
        arguments["split"],
        target_tokens=arguments["target_tokens"],
        task_types=_names(arguments["task_types"]),
        kinds=_names(arguments["kinds"]),
        limit=arguments["limit"],
    )
    facts = {"taskset": taskset.name, "taskset_hash": taskset.hash, "num_samples": len(samples)}
    return samples, taskset.hash, facts


def _from_file(
    file: SpecFile, arguments: Mapping[str, Any]
) -> tuple[list[Sample], str, dict[str, Any]]:
    read = make_reader(file, _reader_options(arguments))
    data = find_data(file, arguments.get(DATA))
    reading = read_samples(file.spec, data, read)
    return reading.samples, data.hash(), data.facts() | reading.summary()


def _reader_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in arguments.items()
        if name != DATA and name not in SCORER_PARAMETERS
    }


def _names(value: Any) -> list[str] | None:
    if value is None:
        return None
    return (
        [str(item) for item in value] if isinstance(value, list | tuple) else str(value).split(",")
    )


def _describe(file: SpecFile) -> dict[str, Any]:
    spec = file.spec
    return {
        "name": spec.name,
        "task_type": spec.task_type or "-",
        "scorer": spec.scorer,
        "data": _data_state(file),
        "description": spec.description,
        "parameters": task_parameters(spec),
        "licence": spec.licence,
        "spec": str(file.path),
    }


def _data_state(file: SpecFile) -> str:
    if file.spec.dataset.reader == TASKSET_READER:
        return "-T path=DIR"
    if file.spec.dataset.reader in GENERATORS:
        return "generated"
    found = find_locally(file)
    if found is not None:
        return found.names
    if file.spec.dataset.hub is not None:
        return f"missing: longspan data fetch {file.spec.name}"
    return f"missing: set {DATA_VARIABLE} or -T data=FILE"


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    cells = [[one_line(str(row[column]), 100) for column in columns] for row in rows]
    lines = [[column.replace("_", " ") for column in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
