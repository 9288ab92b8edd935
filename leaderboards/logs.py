"""Logs to tidy rows: one row per sample and epoch, with the run that it belongs to.

Reads Inspect's logs; lm-eval's files are read by `leaderboards.lm_eval`. Only finished logs with
scores enter; every other log is listed with the reason. A sample whose judge, scorer or engine
failed has no value: it enters no mean and lowers the coverage. This module computes no statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.scorer import Score, value_to_float

from longspan.harness.errors import BoardError, one_line
from longspan.harness.files import Problem, file_hash
from longspan.harness.scoring.validity import is_scored
from longspan.leaderboards.lm_eval import Outcome, find_lm_eval, is_results_file, read_lm_eval
from longspan.leaderboards.rows import COLUMNS, SET_ASIDE, Row, Run, short_name

SETTINGS = ("temperature", "top_p", "top_k", "max_tokens", "seed")
PLACES = {"state_dir"}
"""Arguments of solvers that say where, not how."""
UNREAD_FIELDS = {"events", "events_data", "messages", "attachments", "timelines"}
"""Fields of a sample that the board does not need, which are nearly all of a log."""


@dataclass(frozen=True)
class Logs:
    """What was read: runs, sample rows (`run` is an index into `runs`), and what was left out."""

    runs: tuple[Run, ...]
    samples: pd.DataFrame
    skipped: tuple[Problem, ...]


def read_logs(paths: Sequence[Path]) -> Logs:
    """Returns the runs and samples of logs: files, or folders with everything below them.

    Raises:
        BoardError: a path does not exist.
    """
    skipped: list[Problem] = []
    found: dict[str, tuple[Run, list[Row], str]] = {}
    outcomes = [one for path, place in _find(paths, skipped) for one in _read(path, place)]
    for place, outcome in outcomes:
        if isinstance(outcome, str):
            skipped.append(Problem(place, outcome))
            continue
        run, rows = outcome
        other = found.get(run.identity)
        if other is not None:
            older, newer = sorted([other, (run, rows, place)], key=lambda one: _age(one[0]))
            reason = f"another log of the same evaluation is newer: {newer[2]}"
            if older[0].log_hash == newer[0].log_hash:
                reason = f"the same log as {newer[2]}"
            skipped.append(Problem(older[2], reason))
            found[run.identity] = newer
        else:
            found[run.identity] = (run, rows, place)
    kept = [found[key] for key in sorted(found)]
    table = [(index, *row) for index, one in enumerate(kept) for row in one[1]]
    samples = pd.DataFrame(table, columns=COLUMNS).sort_values(
        ["run", "sample", "epoch"], kind="stable", ignore_index=True
    )
    runs = tuple(one[0] for one in kept)
    return Logs(runs, samples, tuple(sorted(skipped, key=str)))


def _age(run: Run) -> tuple[str, str]:
    return run.created, run.eval_id


def _find(paths: Sequence[Path], skipped: list[Problem]) -> list[tuple[Path, str]]:
    """Returns log files with how the page names them: by their path below the given folder."""
    found: dict[Path, str] = {}
    for given in paths:
        if not given.exists():
            raise BoardError(
                f"no such log or folder: {given}; give .eval files, results of lm-eval, or folders"
            )
        if given.is_file():
            found.setdefault(given.resolve(), given.name)
            continue
        for path in sorted(given.rglob("*.eval*")):
            place = path.relative_to(given).as_posix()
            if path.suffix in SET_ASIDE:
                skipped.append(Problem(place, f"set aside by `longspan eval` ({path.suffix[1:]})"))
            elif path.suffix == ".eval" and path.is_file():
                found.setdefault(path.resolve(), place)
        for path, reason in find_lm_eval(given):
            place = path.relative_to(given).as_posix()
            if reason is not None:
                skipped.append(Problem(place, reason))
            else:
                found.setdefault(path.resolve(), place)
    return list(found.items())


def _read(path: Path, place: str) -> list[tuple[str, Outcome]]:
    """Returns the runs of a file, each with how the page names where it stands."""
    if not is_results_file(path):
        return [(place, _read_inspect(path))]
    folder = PurePosixPath(place).parent
    return [(str(folder / name), outcome) for name, outcome in read_lm_eval(path)]


def _read_inspect(path: Path) -> Outcome:
    """Returns a log's run and the rows of its samples, or why it is left out."""
    try:
        header = read_eval_log(str(path), header_only=True)
    except Exception as error:  # a damaged zip or JSON raises what its reader pleases
        return f"cannot be read as an Inspect log ({_brief(error)})"
    reason = _unfinished(header)
    if reason is not None:
        return reason
    try:
        log = read_eval_log(str(path), exclude_fields=UNREAD_FIELDS)
    except Exception as error:  # the header was whole, the samples are not
        return f"its samples cannot be read ({_brief(error)})"
    samples = log.samples or []
    if not any(_value(sample)[0] is not None for sample in samples):
        return "not one of its samples has a score that is a number"
    return _run(path, log), [_row(sample) for sample in samples]


def _brief(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 120)


def _unfinished(log: EvalLog) -> str | None:
    if log.status != "success":
        reason = f" ({one_line(log.error.message, 120)})" if log.error else ""
        return f"not finished: status {log.status}{reason}"
    if log.results is None or not log.results.scores:
        return "has no scores"
    if log.invalidated:
        return "was invalidated"
    return None


def _run(path: Path, log: EvalLog) -> Run:
    spec, labels = log.eval, log.eval.metadata or {}
    generation = spec.model_generate_config.merge(log.plan.config).model_dump(exclude_none=True)
    steps = log.plan.steps
    solver = labels.get("longspan_solver") or (steps[-1].solver if steps else spec.solver)
    solver_args = {name: value for step in steps for name, value in step.params_passed.items()}
    total = log.results.total_samples if log.results else 0
    return Run(
        log=path.name,
        log_hash=file_hash(path),
        eval_id=spec.eval_id,
        created=str(spec.created),
        task=_task_name(spec.task, labels.get("taskset")),
        task_version=str(spec.task_version),
        checkpoint=short_name(str(labels.get("longspan_checkpoint") or spec.model)),
        checkpoint_hash=labels.get("longspan_checkpoint_hash"),
        solver=str(solver).removeprefix("longspan/").removeprefix("inspect_ai/"),
        solver_args={k: v for k, v in solver_args.items() if k not in PLACES},
        input_over_window=_number(labels.get("longspan_input_over_window")),
        step=_number(labels.get("longspan_step"), int),
        recipe_hash=labels.get("longspan_recipe_hash"),
        settings={name: generation[name] for name in SETTINGS if name in generation},
        epochs=spec.config.epochs or 1,
        num_samples=max(total, len(log.samples or [])),
        seconds=_seconds(log),
        task_args=spec.task_args or {},
    )


def _task_name(name: str, taskset: str | None) -> str:
    """Returns the task without our package; the task of task sets goes by the set's name."""
    short = name.removeprefix("longspan/")
    return str(taskset) if short == "taskset" and taskset else short


def _seconds(log: EvalLog) -> float:
    try:
        started, ended = pd.Timestamp(log.stats.started_at), pd.Timestamp(log.stats.completed_at)
        seconds = float((ended - started).total_seconds())
    except (ValueError, TypeError):
        return math.nan
    return seconds


def _row(sample: EvalSample) -> Row:
    """Returns the values of `COLUMNS` behind `run`."""
    metadata, store = sample.metadata or {}, sample.store or {}
    score = _score(sample)
    details = (score.metadata or {}) if score else {}
    value, validity = _value(sample)
    usage = list((sample.model_usage or {}).values())
    target = sample.target if isinstance(sample.target, str) else " | ".join(sample.target)
    return (
        str(sample.id),
        sample.epoch,
        math.nan if value is None else value,
        validity,
        metadata.get("task_type"),
        metadata.get("kind"),
        metadata.get("hops"),
        metadata.get("document_group"),
        details.get("truncation") or store.get("longspan:truncation"),
        details.get("memory") or store.get("longspan:memory"),
        str(metadata.get("question") or ""),
        (score.answer if score else None) or "",
        sample.output.completion if sample.output.choices else "",
        target,
        sum(one.input_tokens for one in usage),
        sum(one.output_tokens for one in usage),
        sample.turn_count or 0,
        sample.working_time or 0.0,
        one_line(sample.error.message, 300) if sample.error else "",
    )


def _value(sample: EvalSample) -> tuple[float | None, str]:
    """Returns a sample's score, None where it has none, and its validity."""
    score = _score(sample)
    if score is None:
        return None, "engine_failed" if sample.error else "scorer_failed"
    validity = str((score.metadata or {}).get("validity") or "unknown")
    if not is_scored(validity):
        return None, validity
    try:
        value = float(value_to_float()(score.value))
    except (TypeError, ValueError):
        return None, "scorer_failed"
    return (value, validity) if math.isfinite(value) else (None, "scorer_failed")


def _score(sample: EvalSample) -> Score | None:
    """Returns the sample's first score; boards show one score per task."""
    if sample.error or not sample.scores:
        return None
    return next(iter(sample.scores.values()))


def _number(value: Any, kind: type = float) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
