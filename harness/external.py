"""Tasks of other packages under our names: made by their own code, with our default arguments."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from inspect_ai import Task, task_with
from inspect_ai.util import registry_create

from longspan.harness.errors import DataError, SpecError, one_line
from longspan.harness.protocol import EXTRAS
from longspan.harness.spec import ExternalSpec


def make_external(spec: ExternalSpec, arguments: Mapping[str, Any]) -> Task:
    """Returns the other package's task.

    Raises:
        DataError: the package, one of its parts or its data are not on this machine.
        SpecError: it has no such task, or an argument is unknown.
    """
    package = spec.external.partition("/")[0]
    unknown = set(arguments) - set(spec.arguments)
    if unknown:
        known = ", ".join(spec.arguments) or "none"
        raise SpecError(f"task {spec.name} has no parameter {min(unknown)!r}; it has: {known}")
    if not is_installed(spec):
        raise DataError(
            f"task {spec.name} comes from {package}, which is not installed; run: "
            f"{_remedy(package)}"
        )
    version = importlib.metadata.version(package)
    try:
        task = registry_create("task", spec.external, **{**spec.arguments, **arguments})
    except LookupError as error:
        raise SpecError(
            f"task {spec.name}: {package} {version} has no task {spec.external}, or cannot be "
            "loaded; install the version that constraints.txt names"
        ) from error
    except ModuleNotFoundError as error:
        raise DataError(
            f"task {spec.name}: {package} needs {error.name}, which is not installed; run: pip "
            f"install {error.name}"
        ) from error
    except Exception as error:  # no network, a gated data set, a missing first phase: theirs to say
        raise DataError(
            f"task {spec.name}: {package} cannot make it ({one_line(_root_cause(error), 300)}); "
            f"{spec.remedy}"
        ) from error
    if not isinstance(task, Task):
        raise SpecError(f"{spec.external} is no task but a {type(task).__name__}; mend the spec")
    facts = {"spec": spec.name, "external": spec.external, "external_version": version}
    return task_with(task, metadata={**(task.metadata or {}), **facts, "groupings": spec.groupings})


def is_installed(spec: ExternalSpec) -> bool:
    """Returns whether the package of a task is there, without importing it."""
    return find_spec(spec.external.partition("/")[0]) is not None


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _remedy(package: str) -> str:
    extra = EXTRAS.get(package)
    return f"pip install 'longspan[{extra}]'" if extra else f"pip install {package}"
