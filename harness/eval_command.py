"""`longspan eval`: one task, or a suite of tasks with its settings; finished logs are kept."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from inspect_ai.log import EvalLog

from longspan.harness import registry
from longspan.harness.errors import DataError, ModelError, SpecError
from longspan.harness.evaluate import EvaluationSettings, evaluate
from longspan.harness.generation import GenerationSettings
from longspan.harness.resolve import (
    named_task,
    parse_arguments,
    resolve_model,
    resolve_solver,
)
from longspan.harness.suites import Suite, SuiteTask, find_suite, merged
from longspan.harness.tokens import counting_for
from longspan.harness.unit import num_scored

Display = Literal["none", "plain", "rich"]


def eval_command(
    task: Annotated[
        str, typer.Argument(help="Registered task, folder of a task set, or suite of tasks.")
    ],
    model: Annotated[
        str, typer.Option(help="Inspect model, packaged checkpoint, or checkpoint folder.")
    ],
    model_args: Annotated[
        list[str] | None,
        typer.Option("--model-arg", "-M", help="Argument of the model's provider: name=value."),
    ] = None,
    solver: Annotated[str | None, typer.Option(help="Solver in place of the task's own.")] = None,
    solver_args: Annotated[
        list[str] | None, typer.Option("--solver-arg", "-S", help="Solver argument: name=value.")
    ] = None,
    task_args: Annotated[
        list[str] | None, typer.Option("--task-arg", "-T", help="Task argument: name=value.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a task set [test].")] = None,
    log_dir: Annotated[Path, typer.Option(help="Folder of logs.")] = Path("logs"),
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="Sampling temperature [the suite's, or 0.7].")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Nucleus, in (0, 1] [the suite's, or 0.95].")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Output limit per call.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of sampling [0].")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Attempts per sample [the suite's, or 1].")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first samples.")] = None,
    available: Annotated[
        bool, typer.Option("--available", help="Of a suite, only the tasks whose data are here.")
    ] = False,
    grader: Annotated[str | None, typer.Option(help="Model of the judge.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Label of the checkpoint.")] = None,
    input_over_window: Annotated[
        float | None, typer.Option(help="Label: length of the inputs in windows.")
    ] = None,
    step: Annotated[int | None, typer.Option(help="Label: training step.")] = None,
    recipe_hash: Annotated[str | None, typer.Option(help="Label: hash of the recipe.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Evaluate a model on a task or suite; a finished log of the same evaluation is kept.

    From Python, model_args, solver_args and task_args may be mappings.
    """
    if top_p is not None and not 0 < top_p <= 1:
        raise SpecError(f"top_p must lie in (0, 1]: got {top_p}; the paper uses 0.95")
    chosen = parse_arguments(solver_args)
    if chosen and solver is None:
        raise SpecError(f"solver arguments without a solver: {chosen}; name one with --solver")
    given = _given(
        temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed, epochs=epochs
    )
    suite = find_suite(task)
    if suite is not None and task in {*registry.SPECS, *registry.EXTERNALS}:
        raise SpecError(
            f"{task} is a task and a suite; rename the suite, or name the task longspan/{task}"
        )
    if suite is not None and (task_args or split):
        raise SpecError(f"{task} is a suite, whose tasks have their own arguments; evaluate a task")
    labels = _given(
        longspan_suite=suite and suite.name,
        longspan_checkpoint=checkpoint,
        longspan_input_over_window=input_over_window,
        longspan_step=step,
        longspan_recipe_hash=recipe_hash,
    )
    if suite is None:  # one task is a suite of one, with the default settings
        only = SuiteTask(task=task, args=parse_arguments(task_args))
        suite = Suite(name="task", description="", generation=GenerationSettings(), tasks=(only,))
    display: Display = "none" if quiet else "rich" if sys.stdout.isatty() else "plain"
    options = parse_arguments(model_args)
    resolved = functools.cache(lambda: resolve_model(model, **options))
    with counting_for(resolved):
        units = _units(suite, model, split, available)
    failures: list[str] = []
    for one, made in units:
        generation, num_epochs = merged(suite, one, given)
        name = solver or one.solver or suite.solver
        arguments = chosen if solver else dict(one.solver_args if one.solver else suite.solver_args)
        if one.grader and grader is None:
            print(f"{one.label}: no --grader, so only its rule scores", file=sys.stderr)
        settings = EvaluationSettings(
            generation=generation, epochs=num_epochs, limit=limit or one.limit, display=display
        )
        loaded = resolved()
        try:
            log = evaluate(
                made,
                loaded,
                log_dir,
                settings,
                solver=resolve_solver(name, arguments) if name else None,
                model_roles={"grader": grader} if grader else None,
                metadata=labels,
            )
        except ModelError as error:
            if len(units) == 1:
                raise
            failures.append(f"{one.label}: {error}")
            print(f"failed: {failures[-1]}", file=sys.stderr)
            continue
        if not quiet:
            print(summary_line(log))
    if failures:
        raise ModelError(
            f"{len(failures)} of {len(units)} tasks of suite {suite.name} failed, the first: "
            f"{failures[0]}; mend that and run the suite again, which keeps the finished ones"
        )


def _units(
    suite: Suite, model: str, split: str | None, available: bool
) -> list[tuple[SuiteTask, Any]]:
    """Returns the tasks of a suite, made; all of them before the first one runs.

    Raises:
        DataError: data are missing, unless only available tasks are asked for; all are named.
    """
    made, missing = [], []
    for one in suite.tasks:
        try:
            made.append((one, named_task(one.task, split, one.arguments(model))))
        except DataError as error:
            if len(suite.tasks) == 1:
                raise
            missing.append(f"{one.label}: {error}")
    if missing and not available:
        more = f" (and {len(missing) - 1} more tasks)" if len(missing) > 1 else ""
        raise DataError(
            f"suite {suite.name} lacks data: {missing[0]}{more}; or pass --available to run the "
            f"{len(made)} tasks whose data are here"
        )
    for line in missing:
        print(f"left out: {line}", file=sys.stderr)
    if not made:
        raise DataError(f"suite {suite.name} has no task whose data are here; {missing[0]}")
    return made


def summary_line(log: EvalLog) -> str:
    """Returns the result of an evaluation in one line: its metrics, its coverage, where it is."""
    if log.results is None:
        raise ModelError(f"log without results: {log.location}; run the evaluation again")
    labels = log.eval.metadata or {}
    metrics = ", ".join(
        f"{score.name} {name} {metric.value:.3f}"
        for score in log.results.scores
        for name, metric in score.metrics.items()
    )
    num_samples = max(log.results.total_samples // (log.eval.config.epochs or 1), 1)
    return (
        f"{log.eval.task} | {labels.get('longspan_checkpoint')} | {labels.get('longspan_solver')}: "
        f"{metrics} | {num_scored(log)} of {num_samples} samples scored | {log.location}"
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
