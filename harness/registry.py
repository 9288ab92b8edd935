"""The registry of tasks: specs -> Inspect tasks named `longspan/<name>`.

One broken spec costs one warning line and no other task. Data are read when a task is made, never
when it is registered, so the registry stays light.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.solver import Solver
from inspect_ai.util import registry_create
from pydantic import BaseModel

from longspan.harness.datasets.data import find_data
from longspan.harness.datasets.generators import GENERATORS, check_parameters, generate
from longspan.harness.datasets.readers import READERS, make_reader
from longspan.harness.datasets.records import document_groups, read_samples, to_sample
from longspan.harness.errors import LongspanError, SpecError
from longspan.harness.external import make_external
from longspan.harness.files import Problem
from longspan.harness.protocol import (
    check_protocol,
    prompt_facts,
    under_protocol,
    with_protocol,
)
from longspan.harness.scoring.scorers import find_scorer
from longspan.harness.spec import (
    ExternalFile,
    ExternalSpec,
    Protocol,
    SpecFile,
    TaskSpec,
    named_in,
    read_specs,
    user_folders,
)
from longspan.harness.suites import suite_files
from longspan.harness.taskset_task import (
    TASKSET_READER,
    TaskSetOptions,
    check_options,
    read_taskset,
)

PACKAGE = "longspan"
DATA = "data"
"""Parameter: the data file of a task that reads one."""
PROTOCOL = "protocol"
"""Parameter: whose prompt is used, the recipe's or the benchmark's own."""
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
EXTERNALS: dict[str, ExternalFile] = {}
"""Registered specs of other packages' tasks by name."""
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


def register(file: SpecFile | ExternalFile) -> Callable[..., Task]:
    """Registers a spec with Inspect and returns its task.

    Raises:
        SpecError: the name is taken, or the spec names a reader, option or scorer that does not
            exist.
    """
    spec = file.spec
    taken = SPECS.get(spec.name) or EXTERNALS.get(spec.name)
    if taken is not None:
        raise SpecError(f"task {spec.name} is already defined in {taken.path}; rename it")
    if isinstance(file, ExternalFile):
        EXTERNALS[spec.name] = file
        return _register(file.spec, partial(make_external, file.spec), file.spec.arguments)
    _check(file)
    SPECS[spec.name] = file
    return _register(spec, partial(make_task, file), task_parameters(file.spec))


def _register(
    spec: TaskSpec | ExternalSpec,
    make: Callable[[Mapping[str, Any]], Task],
    parameters: Mapping[str, Any],
) -> Callable[..., Task]:
    def factory(**arguments: Any) -> Task:
        return make({**parameters, **arguments})

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
    TASKS[spec.name] = registered
    return registered


def task_parameters(spec: TaskSpec) -> dict[str, Any]:
    """Returns what `-T` may set, with defaults: reader's options, data file, protocol, scoring.

    None stands where an official prompt brings a setting of its own: the protocol says it then.
    """
    options = _options_of(spec)
    own: dict[str, Any] = {} if options else {DATA: None}
    own[PROTOCOL] = spec.protocol  # always, since Inspect drops what a task does not take
    brought = spec.official.scorer_options if spec.official else {}
    takes = inspect.signature(find_scorer(spec.scorer)).parameters
    for name, default in SCORER_PARAMETERS.items():
        if name in takes:
            own[name] = None if name in brought else spec.scorer_options.get(name, default)
    fields = options.model_fields if options else {}
    return {**{name: field.default for name, field in fields.items()}, **spec.parameters, **own}


def _options_of(spec: TaskSpec) -> type[BaseModel] | None:
    """Returns what `-T` may set of a task without a data file; None for one that reads a file."""
    if spec.dataset.reader == TASKSET_READER:
        return TaskSetOptions
    generator = GENERATORS.get(spec.dataset.reader)
    return generator.parameters if generator else None


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
    protocol = check_protocol(spec, arguments.get(PROTOCOL, spec.protocol))
    if spec.dataset.reader == TASKSET_READER:
        samples, data_hash, facts = read_taskset(spec, _reader_options(arguments))
    elif spec.dataset.reader in GENERATORS:
        made = generate(file, _reader_options(arguments))
        clusters = document_groups(made.records)
        samples = [to_sample(record, spec, clusters[record.id]) for record in made.records]
        data_hash, facts = made.hash, made.facts
    else:
        samples, data_hash, facts = _from_file(file, protocol, arguments)
    scored = under_protocol(spec, protocol)
    return Task(
        dataset=MemoryDataset(samples, name=spec.name),
        solver=_default_solver(spec),
        scorer=find_scorer(scored.scorer)(**scored.scorer_options | _scoring(arguments)),
        time_limit=spec.limits.seconds,
        token_limit=spec.limits.tokens,
        message_limit=spec.limits.messages,
        version=spec.version(f"{data_hash}{facts.get('prompt_hash', '')}"),
        metadata={
            "spec": spec.name,
            "data_hash": data_hash,
            "groupings": spec.groupings,
            "scoring": _scoring(arguments),
            "protocol": protocol,
        }
        | facts,
    )


def find_spec(name: str) -> SpecFile:
    """Returns the spec of a task, by its name with or without `longspan/`.

    Raises:
        SpecError: no such task; the message names the nearest ones, or why it was left out.
    """
    load_registry()
    short = name.removeprefix(f"{PACKAGE}/")
    if short in EXTERNALS:
        raise SpecError(
            f"task {short} is {EXTERNALS[short].spec.external} of another package, which has its "
            "own data and prompts"
        )
    if short not in SPECS and short in LEFT_OUT:
        raise SpecError(f"task {short} was left out, since its spec is broken: {LEFT_OUT[short]}")
    if short not in SPECS:
        nearest = difflib.get_close_matches(short, {*TASKS, *suite_files()}, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see: longspan tasks"
        raise SpecError(f"unknown task: {name}; {hint}")
    return SPECS[short]


def find_task(name: str, **arguments: Any) -> Task:
    """Returns a task of ours by name, as `inspect eval` would make it.

    Raises:
        SpecError: no such task or parameter.
        DataError: its data are missing or cannot be used.
    """
    load_registry()
    short = name.removeprefix(f"{PACKAGE}/")
    return TASKS[short if short in EXTERNALS else find_spec(name).spec.name](**arguments)


def load_registry() -> None:
    """Imports the entry point, which registers the built-in tasks and the user's.

    By name: `tasks/` stands on the harness, and the harness imports nothing of it.
    """
    importlib.import_module(f"{PACKAGE}.tasks.registry")


def tasks_folder() -> Path:
    """Returns the folder of the shipped specs."""
    return Path(str(importlib.import_module(f"{PACKAGE}.tasks.registry").__file__)).parent


def _leave_out(problem: Problem) -> None:
    """Registers a task that says why it was left out, so that `inspect eval` can say it too."""
    name = named_in(Path(problem.place))
    if name is None or name in TASKS:
        return
    LEFT_OUT[name] = problem

    def factory(**arguments: Any) -> Task:
        return find_task(name, **arguments)

    factory.__name__ = factory.__qualname__ = name
    task(name=name)(factory)


def _check(file: SpecFile) -> None:
    """Raises SpecError if the spec names something that does not exist or cannot be."""
    spec = file.spec
    for protocol in ("recipe", "official"):
        scored = under_protocol(spec, protocol)
        try:
            find_scorer(scored.scorer)(**scored.scorer_options)
        except (TypeError, SpecError) as error:
            raise SpecError(f"scorer of {spec.name}: {error}") from error
    if spec.dataset.reader == TASKSET_READER:
        check_options(spec, spec.parameters)
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


def _scoring(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `-T` says to the scorer; what it leaves to the protocol is not there."""
    return {
        name: arguments[name]
        for name in SCORER_PARAMETERS
        if name in arguments and arguments[name] is not None
    }


def _from_file(
    file: SpecFile, protocol: Protocol, arguments: Mapping[str, Any]
) -> tuple[list[Sample], str, dict[str, Any]]:
    read = make_reader(file, _reader_options(arguments))
    read = with_protocol(file.spec, protocol, read)
    data = find_data(file, arguments.get(DATA))
    reading = read_samples(under_protocol(file.spec, protocol), data, read)
    facts = data.facts() | reading.summary() | prompt_facts(file.spec, protocol)
    return reading.samples, data.hash(), facts


def _reader_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    own = (DATA, PROTOCOL, *SCORER_PARAMETERS)
    return {name: value for name, value in arguments.items() if name not in own}
