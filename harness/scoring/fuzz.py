"""`longspan fuzz-scorer`: what adversarial completions earn under a task's scorer.

Every exploit is tried on the task's own samples and goes through a real evaluation, with solver,
scorer and judge as the task has them. The gold answer is the control: if it does not earn full
marks, the others' zeros say nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from inspect_ai import Task
from inspect_ai.log import EvalSample

from longspan.harness.harvest import choose_value, read_value
from longspan.harness.replay import Completion, evaluated_completions
from longspan.harness.resolve import named_task, parse_arguments, resolve_model
from longspan.harness.scoring.exploits import EXPLOITS, cases_of, gold_answer

DEFAULT_SAMPLES = 20
CONTROL = "gold answer (control)"


@dataclass(frozen=True)
class Earning:
    """What an exploit earned over the samples."""

    exploit: str
    mean: float | None
    """Of the scored samples; None if none was scored."""
    highest: float | None
    num_scored: int
    num_samples: int
    validity: dict[str, int]


def fuzz(
    task: Task, num_samples: int = DEFAULT_SAMPLES, grader: str | None = None
) -> list[Earning]:
    """Returns what every exploit earns on the first samples of a task.

    Raises:
        DataError: the task has no samples.
    """
    samples = list(task.dataset)[:num_samples]
    cases = cases_of(samples)
    tried = {CONTROL: gold_answer, **EXPLOITS}
    completions = [
        Completion(str(sample.id), make(case))
        for make in tried.values()
        for sample, case in zip(samples, cases, strict=True)
    ]
    roles = {"grader": resolve_model(grader)} if grader else None
    scored = evaluated_completions(task, completions, model_roles=roles)
    size = len(samples)
    return [
        _earning(name, scored[place * size : (place + 1) * size])
        for place, name in enumerate(tried)
    ]


def fuzz_command(
    task: Annotated[str, typer.Argument(help="Registered task, or folder of a task set.")],
    samples: Annotated[int, typer.Option(min=1, help="How many samples.")] = DEFAULT_SAMPLES,
    task_args: Annotated[
        list[str] | None, typer.Option("--task-arg", "-T", help="Task argument: name=value.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a task set [test].")] = None,
    grader: Annotated[str | None, typer.Option(help="Model of the judge.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print what adversarial completions earn under a task's scorer; exit 1 if the gold fails."""
    earnings = fuzz(named_task(task, split, parse_arguments(task_args)), samples, grader)
    if as_json:
        print(json.dumps([asdict(one) for one in earnings], indent=1))
    else:
        print(_table(earnings))
    if earnings[0].mean != 1.0:
        raise typer.Exit(1)


def _earning(name: str, samples: Sequence[EvalSample]) -> Earning:
    values: list[float] = []
    validity: Counter[str] = Counter()
    for sample in samples:
        value, metadata = _value(sample)
        validity[str(metadata.get("validity", "unknown"))] += 1
        if value is not None:
            values.append(value)
    return Earning(
        exploit=name,
        mean=sum(values) / len(values) if values else None,
        highest=max(values) if values else None,
        num_scored=len(values),
        num_samples=len(samples),
        validity=dict(validity),
    )


def _value(sample: EvalSample) -> tuple[float | None, dict[str, Any]]:
    if sample.error is not None or not sample.scores:
        return None, {"validity": "engine_failed"}
    chosen, _ = choose_value(sample.scores, None)
    metadata = next(iter(sample.scores.values())).metadata or {}
    return read_value(chosen), metadata


def _table(earnings: Sequence[Earning]) -> str:
    width = max(len(one.exploit) for one in earnings)
    lines = [f"{'exploit'.ljust(width)}    mean  highest  scored  endings"]
    for one in earnings:
        mean = "-" if one.mean is None else f"{one.mean:.3f}"
        highest = "-" if one.highest is None else f"{one.highest:.3f}"
        endings = ", ".join(f"{name} {count}" for name, count in sorted(one.validity.items()))
        scored = f"{one.num_scored}/{one.num_samples}"
        lines.append(f"{one.exploit.ljust(width)}  {mean:>6}  {highest:>7}  {scored:>6}  {endings}")
    return "\n".join(lines)
