"""Evaluation of one unit: task, checkpoint, solver, settings.

A thin layer over Inspect's `eval_set`, which resumes: a finished log of the same unit is returned
as it is, an unfinished one is continued sample by sample, a damaged one is set aside. Labels for
the leaderboard (checkpoint, hash of its weights, solver, ...) go into the log's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from inspect_ai import Task, eval_set
from inspect_ai.log import EvalLog, read_eval_log_sample_summaries
from inspect_ai.model import Model
from inspect_ai.solver import SolverSpec
from inspect_ai.util import registry_info
from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.environment import rare_garbage_collection
from longspan.harness.errors import ModelError, one_line
from longspan.harness.generation import GenerationSettings
from longspan.harness.resolve import registered_task, resolve_model, with_settings
from longspan.harness.resuming import resuming_in
from longspan.harness.unit import (
    CALLS_FOLDER,
    dataset_hash,
    finished_log,
    num_scored,
    remove_leftovers,
    set_damaged_aside,
    set_failed_aside,
    unit_folder,
)


class EvaluationSettings(BaseModel):
    """How a unit is evaluated, beside its task, model and solver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: GenerationSettings = GenerationSettings()
    """Sampling settings."""

    epochs: int = Field(default=1, ge=1)
    """Attempts per sample; their mean is the sample's score."""

    limit: int | None = Field(default=None, ge=1)
    """Only the first so many samples."""

    display: Literal["none", "plain", "rich"] = "none"
    """What is shown while it runs; no part of the unit's identity."""


def evaluate(
    task: Task | str,
    model: Model | str,
    log_dir: Path,
    settings: EvaluationSettings | None = None,
    *,
    solver: SolverSpec | None = None,
    model_roles: Mapping[str, Model | str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> EvalLog:
    """Returns the header of the unit's finished log; `location` says where it is.

    Args:
        task: A task, or the name of a registered one.
        model: A model, or the name of one; see `resolve_model`.
        log_dir: Folder of logs; the unit has a folder of its own in it.
        settings: Generation, epochs, limit, display.
        solver: Takes the place of the task's own solver where given; see `resolve_solver`.
        model_roles: Models by role, for judges ("grader").
        metadata: Labels for the log. Keys that are given win over those found out here:
            longspan_checkpoint, longspan_checkpoint_hash, longspan_solver.

    Raises:
        SpecError: an unknown task.
        ModelError: the model is missing or unusable, or not one sample could be scored.
    """
    settings = settings or EvaluationSettings()
    task = registered_task(task) if isinstance(task, str) else task
    model = with_settings(resolve_model(model), settings.generation.config())
    roles = {role: resolve_model(one) for role, one in (model_roles or {}).items()}
    labels = {**_labels(task, model, solver), **(metadata or {})}
    identity = {**_identity(task, model, roles, settings, solver), "labels": labels}
    folder = unit_folder(log_dir, identity)
    log = finished_log(folder)
    if log is not None:
        _raise_unless_scored(log)
        return log
    set_damaged_aside(folder)
    with resuming_in(folder / CALLS_FOLDER):
        log = _run(task, model, roles, settings, solver, labels, folder)
    _raise_unless_scored(log)
    remove_leftovers(folder, log)
    return log


def _labels(task: Task, model: Model, solver: SolverSpec | None) -> dict[str, Any]:
    name = solver.solver if solver else registry_info(task.solver).name
    return {
        "longspan_checkpoint": model.api.model_name,
        "longspan_checkpoint_hash": getattr(model.api, "checkpoint_hash", None),
        "longspan_solver": name.removeprefix("longspan/").removeprefix("inspect_ai/"),
    }


def _identity(
    task: Task,
    model: Model,
    roles: Mapping[str, Model],
    settings: EvaluationSettings,
    solver: SolverSpec | None,
) -> dict[str, Any]:
    return {
        "task": task.name,
        "task_version": task.version,
        "samples": dataset_hash(task),
        "model": [str(model), model.model_args],
        "weights": getattr(model.api, "checkpoint_hash", None),
        "roles": {role: [str(one), one.model_args] for role, one in roles.items()},
        "solver": None if solver is None else [solver.solver, solver.args],
        "scoring": (task.metadata or {}).get("scoring"),
        "settings": settings.model_dump(exclude={"display"}),
    }


def _run(
    task: Task,
    model: Model,
    roles: Mapping[str, Model],
    settings: EvaluationSettings,
    solver: SolverSpec | None,
    labels: Mapping[str, Any],
    folder: Path,
) -> EvalLog:
    with rare_garbage_collection():
        _, logs = eval_set(
            task,
            log_dir=str(folder),
            model=model,
            model_roles=dict(roles) or None,
            solver=solver,
            epochs=settings.epochs,
            limit=settings.limit,
            metadata=dict(labels),
            display=settings.display,
            max_samples=model.config.max_connections,
            retry_attempts=0,
            retry_immediate=False,
            fail_on_error=False,
            log_realtime=False,
            log_model_api=False,
            log_level="error",
            score_display=settings.display != "none",
            ctl_server=False,
            acp_server=False,
            **settings.generation.eval_arguments(),
        )
    return logs[0]


def _raise_unless_scored(log: EvalLog) -> None:
    if log.status != "success":
        reason = log.error.message if log.error else log.status
        raise ModelError(
            f"evaluation of {log.eval.task} did not finish: {reason}; set that right and run it "
            f"again to go on with {log.location}"
        )
    if num_scored(log) > 0:
        return
    summaries = read_eval_log_sample_summaries(log.location)
    errors = [one.error for one in summaries if one.error]
    scores = [score for one in summaries for score in (one.scores or {}).values()]
    errors += [score.explanation for score in scores if score.explanation]
    first = one_line(next(iter(errors), "no sample has a score"), 300)
    what = f"not one of {len(summaries)} samples of {log.eval.task} was scored; the first failed "
    if any((score.metadata or {}).get("validity") == "judge_failed" for score in scores):
        remedy = f"longspan rejudge {log.location} --grader MODEL asks only the judge again"
        raise ModelError(f"{what}with its judge: {first}; {remedy}")
    set_failed_aside(log)
    raise ModelError(f"{what}with: {first}")
