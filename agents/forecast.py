"""`longspan forecast eval`: what an evaluation will cost, before anything is spent.

The agent itself is run with a model that is not there (`dry_model`), so calls, prompts and what
waits for what are the agent's own, whatever agent it is. What the model will say is not known: with
a log of the same agent and model its outputs are drawn from there (of the same turn, or the last
one of a shorter reading), otherwise the forecast is a range between the shortest and the longest
outputs that the agent carries on.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from inspect_ai import Task, eval, task_with
from inspect_ai.model import GenerateConfig, Model, ModelAPI
from inspect_ai.solver import SolverSpec

from longspan.agents.dry_model import DryCall, DryModelAPI, Reply, dry_model
from longspan.agents.memory_format import MemoryState, render_state
from longspan.agents.recorded_calls import (
    Rates,
    RecordedCall,
    check_recording,
    measured_rates,
    recorded_runs,
)
from longspan.harness.environment import identify, rare_garbage_collection, solvers_of
from longspan.harness.errors import ModelError, SpecError
from longspan.harness.resolve import named_task, parse_arguments, resolve_model, resolve_solver
from longspan.harness.tokens import (
    TokenCounter,
    counter_for,
    counting_for,
    load_tokenizer,
    window_of,
)

MAX_FILLER_WORDS = 20_000
"""Longer than any memory; the agent cuts it to its budget."""


@dataclass(frozen=True)
class ModelFacts:
    """What a forecast needs of a model."""

    counter: TokenCounter
    window: int | None
    config: GenerateConfig
    api: ModelAPI | None = None
    name: str | None = None
    """With its provider; None where only a tokenizer is known."""


@dataclass(frozen=True)
class Forecast:
    """What a run will cost; seconds are None where no rates are known."""

    num_samples: int
    num_calls: int
    input_tokens: int
    output_tokens: int
    sequential_calls: int
    """Of the longest sample."""
    longest_seconds: float | None
    """Of the slowest sample, by itself."""
    total_seconds: float | None
    """Of all samples, so many at once as asked for."""


def forecast_command(
    task: Annotated[str, typer.Argument(help="Registered task, or folder of a task set.")],
    model: Annotated[
        str | None,
        typer.Option(help="Inspect model, packaged checkpoint, or checkpoint folder."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Instead of a model: its tokenizer (folder or Hub id) ...")
    ] = None,
    window: Annotated[int | None, typer.Option(min=1, help="... and its window.")] = None,
    solver: Annotated[str | None, typer.Option(help="Solver in place of the task's own.")] = None,
    solver_args: Annotated[
        list[str] | None, typer.Option("--solver-arg", "-S", help="Solver argument: name=value.")
    ] = None,
    task_args: Annotated[
        list[str] | None, typer.Option("--task-arg", "-T", help="Task argument: name=value.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a task set [test].")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first samples.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Attempts per sample.")] = 1,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Output limit per call.")] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="A few samples read by the same agent and model: outputs and rates."),
    ] = None,
    prefill_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Prompt tokens per second [of the log].")
    ] = None,
    decode_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Sampled tokens per second [of the log].")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Samples at the same time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say what an evaluation will cost: calls, tokens, sequential depth, time; nothing is spent."""
    _check_rates(prefill_rate, decode_rate, log)
    config = GenerateConfig(max_tokens=max_tokens)
    facts = _model_facts(model, tokenizer, window, config)
    with counting_for(lambda: _dry(facts, lambda *_: "")):
        made = named_task(task, split, parse_arguments(task_args))
    chosen = parse_arguments(solver_args)
    if chosen and solver is None:
        raise SpecError(f"solver arguments without a solver: {chosen}; name one with --solver")
    spec = resolve_solver(solver, chosen) if solver else None
    if log is not None:
        weights = getattr(facts.api, "checkpoint_hash", None)
        check_recording(log, made, spec, facts.name, weights)
    runs = recorded_runs(log) if log else {}
    rates = _rates(prefill_rate, decode_rate, runs)
    low, high = forecast(made, facts, spec, runs=runs, limit=limit)
    found = [_summary(calls, epochs, rates, at_once) for calls in ((low,) if runs else (low, high))]
    if as_json:
        print(json.dumps({"forecast": [asdict(one) for one in found]}, indent=1))
    else:
        print(_table(found, at_once))


def forecast(
    task: Task,
    facts: ModelFacts,
    solver: SolverSpec | None = None,
    *,
    runs: Mapping[str, Sequence[RecordedCall]] | None = None,
    limit: int | None = None,
) -> tuple[list[DryCall], list[DryCall]]:
    """Returns the calls of an evaluation with the shortest and with the longest outputs.

    With recorded runs the two are one and the same.

    Args:
        task: The task.
        facts: Of the model.
        solver: Takes the place of the task's own.
        runs: Calls of the same agent and model by sample id, from which outputs are drawn.
        limit: Only the first samples.

    Raises:
        ModelError: the agent refuses the task, window or options.
    """
    low = _dry_run(task, facts, solver, _shortest, limit)
    if not runs:
        return low, _dry_run(task, facts, solver, _longest(facts.counter), limit)
    num_calls: dict[str, int] = {}
    for call in low:
        name = call.sample.rpartition("/")[0]
        num_calls[name] = num_calls.get(name, 0) + 1
    drawn = _dry_run(task, facts, solver, _drawn_from(runs, num_calls), limit)
    return drawn, drawn


def _model_facts(
    model: str | None, tokenizer: str | None, window: int | None, config: GenerateConfig
) -> ModelFacts:
    if (model is None) == (tokenizer is None):
        raise SpecError("name either --model or --tokenizer (with --window where it is known)")
    if model is None:
        return ModelFacts(load_tokenizer(str(tokenizer)), window, config)
    loaded = resolve_model(model)
    return ModelFacts(
        counter_for(loaded),
        window or window_of(loaded),
        loaded.config.merge(config),
        loaded.api,
        str(loaded),
    )


def _check_rates(prefill: float | None, decode: float | None, log: Path | None) -> None:
    """Makes sure that stated rates are finite, and both there where no log knows the other one."""
    rates = {"--prefill-rate": prefill, "--decode-rate": decode}
    for name, value in rates.items():
        if value is not None and not math.isfinite(value):
            raise SpecError(f"{name} must be a finite number: got {value}; change it")
    missing = [name for name, value in rates.items() if value is None]
    if len(missing) == 1 and log is None:
        (given,) = set(rates) - set(missing)
        raise SpecError(f"{given} alone tells no time: got no {missing[0]}; give it too, or --log")


def _rates(
    prefill: float | None, decode: float | None, runs: Mapping[str, Sequence[RecordedCall]]
) -> Rates | None:
    if prefill is not None and decode is not None:
        return Rates(prefill, decode)
    found = measured_rates(runs.values())
    if found is None:
        return None
    return Rates(prefill or found.prefill, decode or found.decode, found.overhead)


def _dry(facts: ModelFacts, reply: Reply) -> Model:
    return dry_model(facts.counter, facts.window, facts.config, reply, facts.api)


def _dry_run(
    task: Task, facts: ModelFacts, solver: SolverSpec | None, reply: Reply, limit: int | None
) -> list[DryCall]:
    model = _dry(facts, reply)
    dry = task_with(copy.copy(task), setup=[identify(), *solvers_of(task.setup)])
    with rare_garbage_collection(), tempfile.TemporaryDirectory() as folder:
        (log,) = eval(
            dry,
            model,
            solver=solver,
            limit=limit,
            epochs=1,
            score=False,
            display="none",
            log_dir=folder,
            log_samples=False,
            log_realtime=False,
            log_level="error",
            max_samples=16,
            max_connections=4096,
            adaptive_connections=False,
            ctl_server=False,
            acp_server=False,
        )
    if log.status != "success":
        raise ModelError(log.error.message if log.error else f"dry run ended as {log.status}")
    api = model.api
    return api.calls if isinstance(api, DryModelAPI) else []


def _shortest(sample: str, turn: int, limit: int | None) -> str:
    return render_state(MemoryState())


def _longest(counter: TokenCounter) -> Reply:
    """Returns replies that fill every budget: as long as the output limit allows, well-formed."""

    @functools.cache
    def filled(limit: int | None) -> str:
        words = min(MAX_FILLER_WORDS, limit or MAX_FILLER_WORDS)
        while True:
            memory, plan = "word " * (words * 4 // 5), "word " * (words // 5)
            text = render_state(MemoryState(memory, plan))
            if limit is None or words < 2 or counter.count(text) < limit:
                return text
            words = words * 19 // 20

    # Limits that no filler reaches are one.
    return lambda sample, turn, limit: filled(limit and min(limit, 2 * MAX_FILLER_WORDS))


def _drawn_from(runs: Mapping[str, Sequence[RecordedCall]], num_calls: Mapping[str, int]) -> Reply:
    """Returns replies from recorded runs: of the same sample, else of one after the other."""
    names = sorted(runs)
    others = [name for name in num_calls if name not in runs]
    places = {name: names[i % len(names)] for i, name in enumerate(others)}

    def reply(sample: str, turn: int, limit: int | None) -> str:
        calls = runs[places.get(sample, sample if sample in runs else names[0])]
        reading, last = calls[:-1] or calls, max(1, num_calls.get(sample, 1)) - 1
        if turn >= last:
            return calls[-1].completion
        return reading[min(turn, len(reading) - 1)].completion

    return reply


def _summary(calls: Sequence[DryCall], epochs: int, rates: Rates | None, at_once: int) -> Forecast:
    seconds: dict[str, dict[int, float]] = {}
    for call in calls:
        one = rates.seconds(call.input_tokens, call.output_tokens) if rates else 0.0
        levels = seconds.setdefault(call.sample, {})
        # Calls at the same time wait for the slowest.
        levels[call.depth] = max(levels.get(call.depth, 0.0), one)
    alone = [sum(levels.values()) for levels in seconds.values()]
    total = max([sum(alone) * epochs / at_once, *alone]) if alone else 0.0
    return Forecast(
        num_samples=len(seconds) * epochs,
        num_calls=len(calls) * epochs,
        input_tokens=sum(call.input_tokens for call in calls) * epochs,
        output_tokens=sum(call.output_tokens for call in calls) * epochs,
        sequential_calls=max((call.depth for call in calls), default=0),
        longest_seconds=max(alone, default=0.0) if rates else None,
        total_seconds=total if rates else None,
    )


_ROWS = (
    ("samples", "num_samples"),
    ("calls", "num_calls"),
    ("prefill tokens", "input_tokens"),
    ("decode tokens", "output_tokens"),
    ("calls one after the other (longest sample)", "sequential_calls"),
    ("seconds of the longest sample by itself", "longest_seconds"),
)


def _table(found: Sequence[Forecast], at_once: int) -> str:
    rows = [*_ROWS, (f"seconds of all, {at_once} at once", "total_seconds")]
    lines = []
    for label, name in rows:
        values = [getattr(one, name) for one in found]
        if values[0] is None:
            continue
        shown = list(dict.fromkeys(f"{value:,.0f}" for value in values))
        lines.append(f"{label:44} {' to '.join(shown)}")
    if found[0].total_seconds is None:
        lines.append("time: not known; give --log, or --prefill-rate and --decode-rate")
    if len(found) > 1:
        lines.append("from the shortest to the longest outputs; --log of a few samples narrows it")
    return "\n".join(lines)
