"""Parity: the same completion gets the same number in evaluation and in training.

Recorded completions are replayed by a model that repeats them: once through Inspect's `eval`, whose
log is written and read back, and once through the RL environment. Any difference is a defect, since
the two are one definition of a task. Whether the number is right is not judged here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from inspect_ai import Task
from inspect_ai.model import Model

from longspan.harness.environment import Environment
from longspan.harness.errors import DataError
from longspan.harness.harvest import sample_outcome
from longspan.harness.replay import Completion, evaluated, read_completions, replay
from longspan.harness.resolve import (
    TaskLike,
    named_task,
    parse_arguments,
    resolve_model,
    resolve_task,
)
from longspan.harness.scoring.exploits import EXPLOITS, VARIANTS, cases_of

DEFAULT_COMPLETIONS_PER_TASK = 50


@dataclass(frozen=True, slots=True)
class Worth:
    """What a completion is worth: its number, if it has one, and how it ended."""

    value: float | None
    validity: str

    def __str__(self) -> str:
        return f"{'no score' if self.value is None else self.value} ({self.validity})"


@dataclass(frozen=True, slots=True)
class Difference:
    """A completion that evaluation and training value differently."""

    completion: Completion
    score: Worth
    reward: Worth

    def __str__(self) -> str:
        return (
            f"sample {self.completion.sample_id}, completion {self.completion.text[:60]!r}: "
            f"evaluation says {self.score}, training says {self.reward}"
        )


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What a replay found."""

    task: str
    num_completions: int
    num_scored: int
    differences: tuple[Difference, ...]


def replay_parity(
    task: TaskLike,
    completions: Sequence[Completion],
    *,
    reward_key: str | None = None,
    model_roles: Mapping[str, Model | str] | None = None,
) -> ParityReport:
    """Returns where evaluation and training disagree about completions of a task's samples.

    They agree where number and validity are equal: a sample that one of them leaves out of the
    statistics, since its judge failed, is a difference even if both hold the same number.

    Raises:
        DataError: a completion of a sample that the task does not have, or none at all.
        ModelError: not one completion was scored.
    """
    name, task = resolve_task(task)
    samples, model = replay(name, task, completions)
    environment = Environment(
        [task],
        model,
        model_roles=model_roles,
        reward_keys={task.name: reward_key, name: reward_key} if reward_key else None,
    )
    (batch_name,) = environment.tasks
    rewards = {one.sample_id: one for one in environment.rollouts({batch_name: samples}, 1)}
    scores = {str(one.id): one for one in evaluated(task, samples, model, model_roles)}
    differences, num_scored = [], 0
    for number, completion in enumerate(completions):
        outcome, rollout = sample_outcome(scores[f"{number}"], reward_key), rewards[f"{number}"]
        score = Worth(outcome.reward, outcome.validity)
        reward = Worth(rollout.reward, rollout.validity)
        num_scored += score.value is not None
        if score != reward:
            differences.append(Difference(completion, score, reward))
    return ParityReport(name, len(completions), num_scored, tuple(differences))


def hostile_completions(task: Task, count: int) -> list[Completion]:
    """Returns completions of a task's samples, from right answers to texts that break parsers."""
    makers = itertools.cycle([*VARIANTS.values(), *EXPLOITS.values()])
    samples = list(task.dataset)[:count]
    pairs = itertools.cycle(zip(samples, cases_of(samples), strict=True))
    found = []
    for number, make, (sample, case) in zip(range(count), makers, pairs, strict=False):
        stop: Literal["stop", "max_tokens"] = "max_tokens" if number % 13 == 12 else "stop"
        found.append(Completion(str(sample.id), make(case), stop))
    return found


def parity_command(
    tasks: Annotated[list[str], typer.Argument(help="Registered tasks or task set folders.")],
    completions: Annotated[
        Path | None, typer.Option(help="Of one task: an eval log, or JSON lines (sample_id, text).")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Made-up completions per task where no file is given.")
    ] = DEFAULT_COMPLETIONS_PER_TASK,
    task_args: Annotated[
        list[str] | None, typer.Option("--task-arg", "-T", help="Task argument: name=value.")
    ] = None,
    grader: Annotated[str | None, typer.Option(help="Model of the judge.")] = None,
) -> None:
    """Check that training rewards equal evaluation scores; the exit code is 1 if any differs."""
    if completions is not None and len(tasks) > 1:
        raise DataError(f"completions belong to one task: got {len(tasks)} tasks; name one")
    roles = {"grader": resolve_model(grader)} if grader else None
    num_differences = 0
    for name in tasks:
        task = named_task(name, None, parse_arguments(task_args))
        replayed = (
            read_completions(completions) if completions else hostile_completions(task, count)
        )
        report = replay_parity(task, replayed, model_roles=roles)
        num_differences += len(report.differences)
        print(
            f"{name}: {report.num_completions} completions, {report.num_scored} scored, "
            f"{len(report.differences)} differences"
        )
        for difference in report.differences[:10]:
            print(f"  {difference}")
    if num_differences:
        raise typer.Exit(1)
