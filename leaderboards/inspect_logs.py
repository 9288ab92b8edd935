"""Inspect's logs (`.eval` or `.json`) to a run and its rows, or to the reason why one is left out.

Only finished logs with scores enter. A sample whose judge, scorer or engine failed has no value: it
enters no mean and lowers the coverage.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.scorer import Score, value_to_float

from longspan.harness.errors import describe, one_line
from longspan.harness.files import file_hash
from longspan.harness.scoring.judge import ROLE
from longspan.harness.scoring.rules import RULES
from longspan.harness.scoring.validity import is_scored
from longspan.harness.tokens import TRUNCATION_KEY
from longspan.leaderboards.lm_eval import Outcome
from longspan.leaderboards.rows import Row, Run, finite, sample_set, short_name

SETTINGS = ("temperature", "top_p", "top_k", "max_tokens", "seed")
PLACES = {"state_dir"}
"""Arguments of solvers that say where, not how."""
UNREAD_FIELDS = {"events", "events_data", "messages", "attachments", "timelines"}
"""Fields of a sample that the board does not need, which are nearly all of a log."""
MEMORY_KEY = "longspan:memory"
UNJUDGED = frozenset(name for name, rule in RULES.items() if rule.judge == "no")
"""Scorers in which a judge has no say, even if the run has one."""
_SAMPLE = re.compile(r"samples/[^/]+\.json")
DEFAULT_SCORING: Mapping[str, Any] = {
    "scoring": "strict",
    "judge": "fallback",
    "require_phrase": True,
}


def read_inspect(path: Path) -> Outcome:
    """Returns a log's run and the rows of its samples, or why it is left out."""
    try:
        if not path.stat().st_size:
            return "cannot be read as an Inspect log (it is empty)"
        header = read_eval_log(str(path), header_only=True)
    except Exception as error:  # a damaged zip or JSON raises what its reader pleases
        return f"cannot be read as an Inspect log ({_brief(error)})"
    reason = _unfinished(header)
    if reason is not None:
        return reason
    judging = _Judging()
    rows = []
    try:
        for sample in _samples(path):
            judging.see(sample)
            rows.append(_row(sample))
    except Exception as error:  # the header was whole, the samples are not
        return f"its samples cannot be read ({_brief(error)})"
    if all(row["value"] is None for row in rows):
        return "not one of its samples has a score that is a number"
    return _run(path, header, rows, judging), rows


def _samples(path: Path) -> Iterator[EvalSample]:
    """Yields the samples of a log, without the fields that the board does not need.

    A log is a zip file with a JSON file for each sample. They are taken from it one by one, which
    is four times as fast as `read_eval_log` and holds one sample at a time. Where a log is of
    another form (.json, or samples in several pieces), `read_eval_log` reads it.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # A sample that was run again stands twice under one name; the last one counts.
            names = [one for one in dict.fromkeys(archive.namelist()) if one.startswith("samples/")]
            if names and all(_SAMPLE.fullmatch(name) for name in names):
                for name in names:
                    fields = json.loads(archive.read(name))
                    yield EvalSample.model_validate(
                        {key: fields[key] for key in fields.keys() - UNREAD_FIELDS}
                    )
                return
    yield from read_eval_log(str(path), exclude_fields=UNREAD_FIELDS).samples or []


class _Judging:
    """Who judged the samples seen so far, and with which prompts."""

    def __init__(self) -> None:
        self.models: set[str] = set()
        self.prompts: dict[str, str] = {}
        self.possible = False
        """Whether a judge has a say in the score of any sample."""

    def see(self, sample: EvalSample) -> None:
        score = _score(sample)
        details = (score.metadata or {}) if score else {}
        self.possible |= score is not None and details.get("scorer") not in UNJUDGED
        record = details.get("judge")
        if isinstance(record, Mapping) and record.get("model"):
            self.models.add(str(record["model"]))
            self.prompts[str(record.get("form"))] = str(record.get("prompt_hash"))

    def judge(self, log: EvalLog) -> str | None:
        """Returns the models that judged; the run's grader where all samples passed the rule."""
        if self.possible and not self.models:
            given = (log.eval.model_roles or {}).get(ROLE) or []
            configs = given if isinstance(given, list) else [given]
            return str(configs[0].model) if configs else None
        return " + ".join(sorted(self.models)) or None


def _brief(error: Exception) -> str:
    return one_line(describe(error) or str(error) or type(error).__name__, 120)


def _unfinished(log: EvalLog) -> str | None:
    if log.status == "started":
        return "not finished: status started (it still runs, or was killed)"
    if log.status != "success":
        reason = f" ({one_line(log.error.message, 120)})" if log.error else ""
        return f"not finished: status {log.status}{reason}"
    if log.results is None or not log.results.scores:
        return "has no scores"
    if log.invalidated:
        return "was invalidated"
    return None


def _run(path: Path, log: EvalLog, rows: Sequence[Row], judging: _Judging) -> Run:
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
        input_over_window=finite(labels.get("longspan_input_over_window")),
        step=_whole(labels.get("longspan_step")),
        recipe_hash=labels.get("longspan_recipe_hash"),
        settings={name: generation[name] for name in SETTINGS if name in generation},
        epochs=spec.config.epochs or 1,
        num_samples=max(total, len(rows)),
        seconds=_seconds(log),
        task_args=spec.task_args or {},
        judge=judging.judge(log),
        judge_prompts=judging.prompts,
        scoring=_scoring(labels.get("scoring")),
        sample_set=sample_set(row["sample"] for row in rows),
        suite=labels.get("longspan_suite"),
    )


def _task_name(name: str, taskset: str | None) -> str:
    """Returns the task without our package; the task of task sets goes by the set's name."""
    short = name.removeprefix("longspan/")
    return str(taskset) if short == "taskset" and taskset else short


def _scoring(given: Any) -> dict[str, Any]:
    known = given if isinstance(given, Mapping) else {}
    chosen = {name: known.get(name, default) for name, default in DEFAULT_SCORING.items()}
    changed = {name: value for name, value in chosen.items() if value != DEFAULT_SCORING[name]}
    return {"judge_mode" if name == "judge" else name: v for name, v in changed.items()}


def _seconds(log: EvalLog) -> float:
    try:
        started = datetime.fromisoformat(log.stats.started_at)
        return (datetime.fromisoformat(log.stats.completed_at) - started).total_seconds()
    except (ValueError, TypeError):
        return math.nan


def _row(sample: EvalSample) -> Row:
    metadata, store = sample.metadata or {}, sample.store or {}
    score = _score(sample)
    details = (score.metadata or {}) if score else {}
    value, validity = _value(sample)
    usage = list((sample.model_usage or {}).values())
    truncation = details.get("truncation") or store.get(TRUNCATION_KEY)
    memory = details.get("memory") or store.get(MEMORY_KEY)
    return {
        "sample": str(sample.id),
        "epoch": sample.epoch,
        "value": value,
        "compat": finite(details.get("compat")),
        "validity": validity,
        "task_type": metadata.get("task_type"),
        "kind": metadata.get("kind"),
        "hops": metadata.get("hops"),
        "document_group": metadata.get("document_group"),
        "input_length": _input_length(metadata, truncation, memory),
        "depth": _depth(metadata),
        "truncation": truncation,
        "memory": memory,
        "question": metadata.get("question") or "",
        "answer": (score.answer if score else None) or "",
        "completion": sample.output.completion if sample.output.choices else "",
        "target": sample.target if isinstance(sample.target, str) else " | ".join(sample.target),
        "input_tokens": sum(one.input_tokens for one in usage),
        "output_tokens": sum(one.output_tokens for one in usage),
        "calls": sample.turn_count or 0,
        "seconds": sample.working_time or 0.0,
        "error": one_line(sample.error.message, 300) if sample.error else "",
    }


def _input_length(metadata: Mapping[str, Any], truncation: Any, memory: Any) -> float | None:
    """Returns the tokens of the context before any cut, as the solver or the task counted them."""
    places = (
        (truncation, "tokens_before"),
        (memory, "document_tokens"),
        (metadata, "input_tokens"),
        (metadata, "num_tokens"),
    )
    found = (finite(place.get(name)) for place, name in places if isinstance(place, Mapping))
    return next((number for number in found if number), None)


def _depth(metadata: Mapping[str, Any]) -> float | None:
    """Returns where the evidence stands: a fraction in [0, 1] of what is before it.

    The needle's depth (NIAH, RULER), the mean over several needles or over the evidence of a
    passport, or the place of the message that MRCR asks for.
    """
    passport = metadata.get("passport")
    given = [metadata.get("depth")]
    if given == [None]:
        several = metadata.get("depths") or (
            passport.get("depths") if isinstance(passport, Mapping) else None
        )
        given = list(several) if isinstance(several, list | tuple) else []
    if not given and finite(metadata.get("total_messages")):
        index = finite(metadata.get("desired_msg_index"))
        given = [None if index is None else index / float(metadata["total_messages"])]
    depths = [finite(one) for one in given]
    known = [one for one in depths if one is not None and 0 <= one <= 1]
    return sum(known) / len(known) if known and len(known) == len(depths) else None


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


def _whole(value: Any) -> int | None:
    number = finite(value)
    return None if number is None else int(number)
