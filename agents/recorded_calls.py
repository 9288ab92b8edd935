"""The calls in a log: what a model was asked by an agent, what it said, and how long it took."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from inspect_ai import Task
from inspect_ai.event import InfoEvent, ModelEvent
from inspect_ai.log import (
    EvalLog,
    EvalSample,
    read_eval_log,
    read_eval_log_samples,
    resolve_sample_attachments,
)
from inspect_ai.solver import SolverSpec
from inspect_ai.util import registry_info

from longspan.agents.run import REPLAY_SOURCE
from longspan.harness.errors import DataError, SpecError
from longspan.harness.prompts import IDENTITY_KEY
from longspan.harness.registry import PACKAGE

OPERATIONAL = ("state_dir", "tokenizer", "max_calls")
"""Arguments of agents that change no output."""


@dataclass(frozen=True)
class RecordedCall:
    """One call of an agent's run."""

    turn: int
    completion: str
    input_tokens: int = 0
    """0 for a call that an earlier process made."""
    output_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Rates:
    """How fast a model reads and writes, one call by itself."""

    prefill: float
    """Prompt tokens per second."""
    decode: float
    """Sampled tokens per second."""
    overhead: float = 0.0
    """Seconds of a call beside its tokens."""

    def seconds(self, input_tokens: int, output_tokens: int) -> float:
        """Returns the seconds of one call."""
        return self.overhead + input_tokens / self.prefill + output_tokens / self.decode


def recorded_runs(path: Path) -> dict[str, list[RecordedCall]]:
    """Returns the calls of each sample of a log (its first epoch), by the sample's id.

    Raises:
        DataError: the log cannot be read or holds no calls of an agent.
    """
    header = _header(path)
    try:
        samples = list(read_eval_log_samples(str(path), all_samples_required=False))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"cannot read log {path} ({error}); give an .eval file") from error
    runs = {str(one.id): calls_of(one) for one in samples if one.epoch == 1}
    found = {name: calls for name, calls in runs.items() if calls}
    if not found:
        raise DataError(
            f"log {path} of {header.eval.task} holds no calls; give one whose samples were logged"
        )
    return found


def check_recording(
    path: Path,
    task: Task,
    solver: SolverSpec | None,
    model: str | None = None,
    checkpoint_hash: str | None = None,
) -> None:
    """Makes sure that a log is of this task (and task set, in any length), solver and model.

    Args:
        path: The log.
        task: The task.
        solver: Takes the place of the task's own.
        model: Name with its provider; None is not compared.
        checkpoint_hash: Of the model's weights, which tell more than a name where both are known.

    Raises:
        DataError: the log cannot be read.
        SpecError: it is of another one.
    """
    header = _header(path)
    if _plain(header.eval.task) != _plain(task.name):
        _refuse(path, "task", header.eval.task, task.name)
    one, other = ((m or {}).get("taskset_hash") for m in (header.eval.metadata, task.metadata))
    if one and other and one != other:
        _refuse(path, "task set", f"one of hash {one}", f"one of hash {other}")
    _check_solver(path, header, task, solver)
    logged = (header.eval.metadata or {}).get("longspan_checkpoint_hash")
    if model is None:
        return
    if logged and checkpoint_hash:
        if logged != checkpoint_hash:
            one, other = f"{header.eval.model} of weights {logged}", f"weights {checkpoint_hash}"
            _refuse(path, "model", one, f"{model} of {other}")
    elif header.eval.model != model:
        _refuse(path, "model", header.eval.model, model)


def _check_solver(path: Path, header: EvalLog, task: Task, solver: SolverSpec | None) -> None:
    logged = header.eval.solver
    if logged is None and solver is None:
        return  # the task's own in both
    if logged is None:
        found = [_plain(step.solver) for step in header.plan.steps]
    else:
        found = [_plain(logged)]
    asked = _plain(solver.solver if solver else registry_info(task.solver).name)
    if asked not in found:
        _refuse(path, "solver", found[-1] if found else "none", asked)
    one = _arguments(header.eval.solver_args_passed or header.eval.solver_args)
    other = _arguments(solver.args if solver else None)
    if one != other:
        _refuse(path, "solver", f"{asked} with {one}", f"{asked} with {other}")


def _arguments(given: Mapping[str, Any] | None) -> str:
    kept = {k: v for k, v in (given or {}).items() if k not in OPERATIONAL and v is not None}
    return json.dumps(kept, sort_keys=True, default=str)


def _plain(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}/")


def _refuse(path: Path, what: str, logged: str, asked: str) -> NoReturn:
    raise SpecError(
        f"log {path} is of another {what}: got {logged}, the forecast is of {asked}; "
        "give a log of the same evaluation, or leave --log out"
    )


def _header(path: Path) -> EvalLog:
    try:
        return read_eval_log(str(path), header_only=True)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"cannot read log {path} ({error}); give an .eval file") from error


def calls_of(sample: EvalSample) -> list[RecordedCall]:
    """Returns the calls of a sample's run in order of their turns, those before a kill included."""
    found: dict[int, RecordedCall] = {}
    # Logs keep long texts apart.
    for event in resolve_sample_attachments(sample).events:
        if isinstance(event, ModelEvent) and event.role is None and event.input:
            identity = (event.input[-1].metadata or {}).get(IDENTITY_KEY)
            if isinstance(identity, dict) and event.output.choices:
                call = _call(int(identity.get("turn", 0)), event)
                found[call.turn] = call
        elif isinstance(event, InfoEvent) and event.source == REPLAY_SOURCE:
            data = event.data if isinstance(event.data, dict) else {}
            turn, completion = data.get("turn"), data.get("completion")
            if isinstance(turn, int) and isinstance(completion, str):
                found[turn] = RecordedCall(turn, completion)
    return [found[turn] for turn in sorted(found)]


def measured_rates(runs: Iterable[Sequence[RecordedCall]]) -> Rates | None:
    """Returns the rates that explain the calls' seconds best; None without measured calls.

    Least squares with factors that are not negative; prompts of one length tell reading from
    overhead only together with others.
    """
    from scipy.optimize import nnls  # heavy; importing the registry must not need it

    by_kind: dict[str, list[list[float]]] = defaultdict(list)
    for calls in runs:
        for call in calls:
            if call.seconds > 0 and call.input_tokens:
                by_kind["tokens"].append([call.input_tokens, call.output_tokens, 1.0])
                by_kind["seconds"].append([call.seconds])
    if len(by_kind["tokens"]) < 2:
        return None
    tokens = np.array(by_kind["tokens"])
    scale = tokens.max(axis=0)
    factors, _ = nnls(tokens / scale, np.array(by_kind["seconds"])[:, 0])
    read, write, overhead = (float(f) / float(s) for f, s in zip(factors, scale, strict=True))
    return Rates(1 / max(read, 1e-12), 1 / max(write, 1e-12), overhead)


def _call(turn: int, event: ModelEvent) -> RecordedCall:
    usage = event.output.usage
    return RecordedCall(
        turn,
        event.output.completion,
        usage.input_tokens if usage else 0,
        usage.output_tokens if usage else 0,
        event.output.time or event.working_time or 0.0,
    )
