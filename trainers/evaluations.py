"""What a recipe needs besides training: its task sets, its evaluations and their board.

All of it is done by the commands that users call themselves.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
import yaml

from longspan.harness.cli import load_command
from longspan.harness.workers import Job, run_job, worker_pool
from longspan.trainers.recipe import Recipe
from longspan.trainers.settings import RoleModel
from longspan.trainers.stages import START, Evaluation

BOARD, LOGS, TASKSETS = "board", "logs", "tasksets"


def build_tasksets(recipe: Recipe, out: Path, quiet: bool) -> dict[str, Path]:
    """Returns the folders of the recipe's task sets; those that it plans are built now.

    Raises:
        SynthesisError: a plan is wrong or cannot be fulfilled.
    """
    places = {}
    for name, plan in recipe.tasksets.items():
        if isinstance(plan, str):
            places[name] = Path(plan).expanduser()
            continue
        places[name] = out / TASKSETS / name
        path = out / TASKSETS / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"name": name, **plan}, sort_keys=False), "utf-8")
        load_command("synth")(plan=path, out=places[name], quiet=quiet)
    return places


class Evaluations:
    """The evaluations of a run under way; finished logs are kept. Use as a context manager.

    With workers they run beside the training; leaving the context waits for them.
    """

    def __init__(
        self,
        out: Path,
        recipe: Recipe,
        tasksets: dict[str, Path],
        identity: str,
        lock: Path,
        quiet: bool,
    ) -> None:
        self._out, self._recipe, self._tasksets = out, recipe, tasksets
        self._identity, self._lock, self._quiet = identity, lock, quiet
        self._stack = ExitStack()
        self._submit: Any = None
        self._pending: dict[Future[float], Job] = {}

    def __enter__(self) -> Evaluations:
        if self._recipe.evaluations and self._recipe.evaluation_workers:
            pool = worker_pool(self._recipe.evaluation_workers, self._lock)
            self._submit = self._stack.enter_context(pool)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._collect(wait=True)
            except BaseException as failed:
                self._stack.__exit__(type(failed), failed, failed.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def start(self, stage: str, checkpoint: str, num_steps: int = 0) -> None:
        """Evaluates the checkpoint of a stage (or of the start), now or beside what follows.

        Raises:
            JobError: this evaluation, or one before it, failed.
        """
        for evaluation in self._recipe.evaluations:
            if stage not in evaluation.skip:
                self._run(self._job(evaluation, stage, checkpoint, num_steps))
        self._collect(wait=False)

    def build_board(self) -> None:
        """Builds the board of all evaluations.

        Raises:
            BoardError: the declared board is missing or malformed.
        """
        evaluations, board = self._recipe.evaluations, self._recipe.board
        if not evaluations or board is False:
            return
        if isinstance(board, dict):
            path = self._out / f"{BOARD}.yaml"
            path.write_text(yaml.safe_dump({"name": BOARD, **board}, sort_keys=False), "utf-8")
            board = str(path)
        has_start = any(START not in one.skip for one in evaluations)
        load_command("board")(
            logs=[str(self._out / LOGS)],
            out=self._out / BOARD,
            title=self._recipe.name,
            baseline=self._label(START) if has_start else None,
            training=self._out,
            taskset=list(self._tasksets.values()),
            declared=board if isinstance(board, str) else None,
        )

    def _job(self, one: Evaluation, stage: str, checkpoint: str, num_steps: int) -> Job:
        label = self._label(stage)
        grader = self._recipe.model_roles.get("grader")
        if isinstance(grader, RoleModel):
            grader = grader.model
        task = one.task if one.taskset is None else str(self._tasksets[one.taskset])
        arguments: dict[str, Any] = {
            "task": task,
            "model": f"longspan-local/{checkpoint}",
            "model_args": self._recipe.model.provider_arguments(),
            "task_args": one.args,
            "solver": one.solver,
            "solver_args": one.solver_args,
            "log_dir": self._out / LOGS / label / one.name,
            "temperature": one.temperature,
            "top_p": one.top_p,
            "max_tokens": one.max_output_tokens,
            "seed": self._recipe.seed,
            "epochs": one.epochs,
            "limit": one.limit,
            "grader": grader,
            "checkpoint": label,
            "input_over_window": one.input_over_window,
            "step": num_steps,
            "recipe_hash": self._identity,
            "quiet": True,
        }
        return Job(f"evaluate {label}: {one.name}", "eval", arguments)

    def _run(self, job: Job) -> None:
        if self._submit is None:
            self._say(job, run_job(job))
        else:
            self._pending[self._submit(job)] = job

    def _collect(self, wait: bool) -> None:
        """Raises what a finished evaluation stopped with; `wait` waits for all."""
        for future in [one for one in self._pending if wait or one.done()]:
            self._say(self._pending.pop(future), future.result())

    def _say(self, job: Job, seconds: float) -> None:
        if not self._quiet:
            typer.echo(f"{job.label}: done in {seconds:.0f} s")

    def _label(self, stage: str) -> str:
        return Path(self._recipe.checkpoint).name if stage == START else stage
