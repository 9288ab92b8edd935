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

from longspan.harness.errors import describe, one_line
from longspan.harness.files import file_hash
from longspan.harness.scoring.judge import ROLE
from longspan.harness.scoring.rules import RULES
from longspan.leaderboards.inspect_samples import first_score, sample_row
from longspan.leaderboards.lm_eval import Outcome
from longspan.leaderboards.rows import (
    Row,
    Run,
    bounded,
    finite,
    sample_set,
    short_name,
)

NO_SETTINGS = frozenset(
    {
        *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections"),
        *("adaptive_connections", "batch", "cache", "cache_prompt", "extra_headers"),
        *("logprobs", "top_logprobs", "prompt_logprobs"),
    }
)
"""What a request is sent with, not what is asked of the model."""
MODEL_SETTINGS = ("dtype", "quantization", "window", "max_model_len", "hf_overrides", "revision")
"""Arguments of providers that change what a model answers, not where or how fast."""
PLACES = {"state_dir"}
"""Arguments of solvers that say where, not how."""
DATA_PLACES = {"data", "path"}
"""Arguments of tasks that say where the data are, not what is asked."""
MAX_SETTING_CHARS = 60
UNREAD_FIELDS = {"events", "events_data", "messages", "attachments", "timelines"}
"""Fields of a sample that the board does not need, which are nearly all of a log."""
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
            rows.append(sample_row(sample))
    except Exception as error:  # the header was whole, the samples are not
        return f"its samples cannot be read ({_brief(error)})"
    if all(row["value"] is None for row in rows):
        return "not one of its samples has a score that is a number"
    outside = next((row for row in rows if not 0 <= (row["value"] or 0.0) <= 1), None)
    if outside is not None:
        return (
            f"its scores are not between 0 and 1 (sample {bounded(outside['sample'], 40)}: "
            f"{outside['value']:g}); choose another scorer"
        )
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
        self.scorer = ""
        """The first scorer, whose values count."""
        self.possible = False
        """Whether a judge has a say in the score of any sample."""

    def see(self, sample: EvalSample) -> None:
        score = first_score(sample)
        details = (score.metadata or {}) if score else {}
        if score is not None:
            self.scorer = self.scorer or bounded(next(iter(sample.scores or {})))
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
    asked = {name: value for name, value in generation.items() if name not in NO_SETTINGS}
    asked |= {name: spec.model_args[name] for name in MODEL_SETTINGS if name in spec.model_args}
    steps = log.plan.steps
    solver = labels.get("longspan_solver") or (steps[-1].solver if steps else spec.solver)
    solver_args = {name: value for step in steps for name, value in step.params_passed.items()}
    total = log.results.total_samples if log.results else 0
    return Run(
        log=path.name,
        log_hash=file_hash(path),
        eval_id=spec.eval_id,
        created=str(spec.created),
        task=bounded(_task_name(spec.task, labels.get("taskset"))),
        task_version=str(spec.task_version),
        checkpoint=short_name(str(labels.get("longspan_checkpoint") or spec.model)),
        checkpoint_hash=labels.get("longspan_checkpoint_hash"),
        solver=bounded(str(solver).removeprefix("longspan/").removeprefix("inspect_ai/")),
        solver_args={k: v for k, v in solver_args.items() if k not in PLACES},
        input_over_window=finite(labels.get("longspan_input_over_window")),
        step=_whole(labels.get("longspan_step")),
        recipe_hash=labels.get("longspan_recipe_hash"),
        settings={name: _setting(value) for name, value in asked.items()},
        epochs=spec.config.epochs or 1,
        num_samples=max(total, len(rows)),
        seconds=_seconds(log),
        metric=judging.scorer or "score",
        task_args={k: v for k, v in (spec.task_args or {}).items() if k not in DATA_PLACES},
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


def _setting(value: Any) -> Any:
    """Returns a number as it is; a text, or what is nested, so that it fits into a table."""
    if isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return bounded(one_line(text, len(text) + 1), MAX_SETTING_CHARS)


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


def _whole(value: Any) -> int | None:
    number = finite(value)
    return None if number is None else int(number)
