"""Names and arguments from users -> tasks, solvers and models, or one line that says what is wrong.

Everything goes through Inspect's registry, so tasks and solvers of any installed package are found;
a name without a package is one of ours. Tasks can be in a file, too: `my_tasks.py@my_task`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from inspect_ai import Task
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.solver import SolverSpec
from inspect_ai.util import registry_create

from longspan.harness.errors import DataError, LongspanError, ModelError, SpecError
from longspan.harness.registry import PACKAGE, find_task

LOCAL_PROVIDER = "longspan-local"
LOCAL_IN_FLIGHT = 256
"""Samples at once for a model in this process: its engine batches them, nothing is rate limited."""

_PATH_STARTS = (".", "/", "~")
_TASK_FILE = re.compile(r"(?P<file>.+\.py)@(?P<task>\w+)")
_MARKUP = re.compile(r"\[/?(?:bold|italic)\b[^\]]*\]")
"""Rich's tags, with which Inspect words its errors for a terminal."""

TaskLike = str | Task | Callable[[], Task]


def resolve_task(like: TaskLike) -> tuple[str, Task]:
    """Returns a task and the name that batches use for it.

    Raises:
        SpecError: an unknown task.
    """
    if isinstance(like, str):
        return like, registered_task(like)
    task = like if isinstance(like, Task) else like()
    return task.name, task


def registered_task(name: str, **arguments: Any) -> Task:
    """Returns a task of the registry, or of a file; a name without a package is one of ours.

    Args:
        name: `package/task`, or `file.py@task` as Inspect writes it; the file is run.
        arguments: of the task.

    Raises:
        SpecError: an unknown task, a file that cannot be run, or arguments that it does not take.
        DataError: the task's data are missing or cannot be used.
    """
    if in_file := _TASK_FILE.fullmatch(name):
        return _task_of_file(name, Path(in_file["file"]), in_file["task"], arguments)
    if "/" not in name or name.startswith(f"{PACKAGE}/"):
        return find_task(name, **arguments)
    try:
        task = registry_create("task", name, **arguments)
    except LookupError as error:
        raise SpecError(f"unknown task: {name}; check its name and that it is installed") from error
    except TypeError as error:
        if not arguments:
            raise
        raise SpecError(f"task {name} does not take {arguments}: {error}") from error
    return _checked_task(name, task)


def _task_of_file(name: str, file: Path, task: str, arguments: Mapping[str, Any]) -> Task:
    make = getattr(_module(file.resolve()), task, None)
    if not inspect.isfunction(make):
        raise SpecError(f"unknown task: {name}; name a function of the file that returns a task")
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        raise SpecError(f"task {name} does not take {dict(arguments)}: {error}") from error
    return _checked_task(name, make(**arguments))


def _checked_task(name: str, task: object) -> Task:
    if not isinstance(task, Task):
        raise SpecError(f"not a task but a {type(task).__name__}: {name}; name a task")
    return task


@functools.cache
def _module(file: Path) -> ModuleType:
    """Returns a file of tasks as a module, run once; it may import what stands beside it.

    Raises:
        SpecError: it cannot be run.
    """
    name = f"{PACKAGE}_tasks_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(
            f"cannot load tasks of {file}: {type(error).__name__}: {error}; mend the file"
        ) from error
    return module


def named_task(name: str, split: str | None, arguments: Mapping[str, Any]) -> Task:
    """Returns the task of a name or file, or of a task set's folder (its test split by default).

    Raises:
        SpecError: an unknown task, or arguments that it does not take.
        DataError: the folder holds no task set.
    """
    given = dict(arguments)
    if split and given.setdefault("split", split) != split:
        raise SpecError(f"split is given twice: {split} and {given['split']}; leave one out")
    folder = Path(name)
    if folder.is_dir():
        if "path" in given:
            raise SpecError(f"path is given twice: {name} and {given['path']}; leave one out")
        return registered_task(f"{PACKAGE}/taskset", path=str(folder), **{"split": "test", **given})
    if name.startswith(_PATH_STARTS) and not _TASK_FILE.fullmatch(name):
        raise DataError(f"no task set at {name}: there is no such folder; check the path")
    return registered_task(name, **given)


def resolve_solver(name: str, arguments: Mapping[str, Any] | None = None) -> SolverSpec:
    """Returns a registered solver by name; a name without a package is one of ours.

    Raises:
        SpecError: an unknown solver, or arguments that it does not take.
    """
    qualified = name if "/" in name else f"{PACKAGE}/{name}"
    given = dict(arguments or {})
    try:
        registry_create("solver", qualified, **given)
    except LookupError as error:
        raise SpecError(
            f"unknown solver: {name}; use full_context, memory_agent, memagent, retrieval, "
            "map_reduce, or package/solver"
        ) from error
    except TypeError as error:
        raise SpecError(f"solver {name} does not take {given}: {error}") from error
    return SolverSpec(qualified, args=given, args_passed=given)


def model_name(model: str) -> str:
    """Returns a model's name with its provider; a bare name, or a folder, is a local checkpoint."""
    local = "/" not in model or Path(model).is_dir() or model.startswith(_PATH_STARTS)
    return f"{LOCAL_PROVIDER}/{model}" if local else model


def resolve_model(model: Model | str, **arguments: Any) -> Model:
    """Returns a model by name; a name without a provider, or a folder, is a local checkpoint.

    Args:
        model: its name; a model is returned as it is.
        arguments: of its provider.

    Raises:
        ModelError: there is no such model, or it cannot be used.
    """
    if isinstance(model, Model):
        return model
    name = model_name(model)
    in_flight = GenerateConfig(max_connections=LOCAL_IN_FLIGHT, adaptive_connections=False)
    config = in_flight if name.startswith(LOCAL_PROVIDER) else GenerateConfig()
    try:
        return get_model(name, config=config, memoize=False, **arguments)
    except LongspanError:
        raise
    except Exception as error:
        # Each provider has errors of its own for a missing key, package or model.
        reason = _MARKUP.sub("", str(error)).removeprefix("ERROR: ").strip().rstrip(".")
        raise ModelError(
            f"cannot use model {model}: {reason}; set that right, or check its name or folder"
        ) from error


def with_settings(model: Model, settings: GenerateConfig) -> Model:
    """Returns the model with these settings over its own.

    Eval arguments rule every call anyway, but solvers see only the model's own configuration: they
    read the output limit there, to leave room for it in the window.
    """
    return Model(model.api, model.config.merge(settings), model.model_args)


def parse_arguments(given: Sequence[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns arguments by name from "name=value" texts, whose values are read as YAML.

    Raises:
        SpecError: a text is not "name=value".
    """
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    parsed = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise SpecError(f"argument is not name=value: {text!r}; write for example layout=plain")
        try:
            parsed[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed[name] = value
    return parsed
