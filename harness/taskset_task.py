"""The task over a task set: what `-T` may choose of it, and its samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from longspan.harness.errors import DataError, SpecError
from longspan.harness.spec import TaskSpec
from longspan.harness.taskset import Split, TaskSet
from longspan.harness.validation import describe_validation

if TYPE_CHECKING:
    from inspect_ai.dataset import Sample

TASKSET_READER = "taskset"


class TaskSetOptions(BaseModel):
    """Which samples of which task set are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: str | Path | None = None
    """Folder of the task set."""
    split: Split | None = "test"
    """Only this split; None: all."""
    target_tokens: int | None = Field(default=None, ge=1)
    """Only contexts built for this length."""
    task_types: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Only these task types."""
    kinds: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Only these question kinds."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many, the first ones."""

    @field_validator("task_types", "kinds", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


def check_options(spec: TaskSpec, arguments: Mapping[str, Any]) -> TaskSetOptions:
    """Returns the options of a task over a task set, checked.

    Raises:
        SpecError: one is unknown or out of bounds.
    """
    try:
        return TaskSetOptions.model_validate(dict(arguments))
    except ValidationError as error:
        raise SpecError(f"task {spec.name}: {describe_validation(error)}") from error


def read_taskset(
    spec: TaskSpec, arguments: Mapping[str, Any]
) -> tuple[list[Sample], str, dict[str, Any]]:
    """Returns the samples that are chosen, the task set's hash, and what the log says about it.

    Raises:
        SpecError: an option is unknown or out of bounds.
        DataError: there is no task set, or nothing of it is chosen.
    """
    options = check_options(spec, arguments)
    if not options.path:
        raise DataError(
            f"task {spec.name} needs a task set; pass -T path=DIR (build one with `longspan synth`)"
        )
    taskset = TaskSet.open(Path(options.path).expanduser().absolute())
    samples = taskset.samples(
        options.split,
        target_tokens=options.target_tokens,
        task_types=options.task_types,
        kinds=options.kinds,
        limit=options.limit,
    )
    facts = {"taskset": taskset.name, "taskset_hash": taskset.hash, "num_samples": len(samples)}
    return samples, taskset.hash, facts
