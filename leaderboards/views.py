"""The board as numbers: rows, paired differences and their breakdowns, ready to be written as JSON.

`numbers` depends on nothing but what the logs say about samples (no time, no path, no order of
files), so that a run that was killed and resumed has the numbers of one that was not. What it cost
stands in `cost`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longspan.leaderboards.attempts import pass_at_k
from longspan.leaderboards.breakdowns import breakdowns, retention, truncation_shares
from longspan.leaderboards.data_card import read_data_cards
from longspan.leaderboards.declared import DeclaredBoard
from longspan.leaderboards.differences import checkpoint_differences, solver_differences
from longspan.leaderboards.entries import Entry, make_entries
from longspan.leaderboards.lengths import by_length, heat_maps
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.rows import Run
from longspan.leaderboards.statistics import estimate_mean
from longspan.leaderboards.suite_table import suite_table
from longspan.leaderboards.training import read_training

FORMAT = 1
DIGITS = 6
DEFAULT_TITLE = "Leaderboard"


def build_board(
    logs: Logs,
    *,
    title: str | None = None,
    baseline: str | None = None,
    training: Path | None = None,
    tasksets: Sequence[Path] = (),
    declared: DeclaredBoard | None = None,
) -> dict[str, Any]:
    """Returns the board: title, baseline, numbers, cost, data, what was left out, and sources.

    Raises:
        BoardError: there is no run, or the baseline is none of the checkpoints.
    """
    curves = read_training(training)
    baseline = baseline or (declared.spec.baseline if declared else None)
    entries = make_entries(logs, baseline)
    rows = [_row(entry) for entry in entries]
    numbers = {
        "baseline": baseline,
        "checkpoints": _checkpoints(entries),
        "rows": rows,
        "suite": suite_table(declared, entries, baseline) if declared else None,
        "differences": checkpoint_differences(entries, baseline) if baseline else [],
        "solver_differences": solver_differences(entries),
        "breakdowns": {
            column: [item for entry in entries for item in breakdowns(entry, column)]
            for column in ("task_type", "kind", "hops")
        }
        | {"input_length": [item for entry in entries for item in by_length(entry)]},
        "heat_maps": heat_maps(entries),
        "retention": [item for entry in entries for item in retention(entry)],
        "training": list(curves.stages),
    }
    return {
        "format": FORMAT,
        "title": title or (declared.spec.title if declared else DEFAULT_TITLE),
        "baseline": baseline,
        "inputs": [*(declared.inputs if declared else ()), *curves.inputs],
        "numbers": rounded(numbers),
        "cost": rounded(_cost(entries)),
        "data": read_data_cards(tasksets),
        "skipped": [
            {"place": one.place, "reason": one.reason} for one in (*logs.skipped, *curves.problems)
        ],
        "sources": [_source(entry) for entry in entries],
    }


def _row(entry: Entry) -> dict[str, Any]:
    scores, rows = entry.scores, entry.rows
    estimate = estimate_mean(list(scores.values()), [entry.groups[key] for key in scores])
    endings = rows["validity"].value_counts()
    return {
        **entry.label.as_dict(),
        "accuracy": estimate.mean,
        "interval": [estimate.low, estimate.high],
        "pass_at_k": _pass_at_k(entry),
        **_facts(entry.run),
        "num_samples": estimate.num_samples,
        "num_clusters": estimate.num_clusters,
        "epochs": entry.run.epochs,
        "coverage": float(rows["value"].notna().sum()) / max(1, entry.run.num_samples),
        "endings": {name: int(endings[name]) for name in sorted(endings.index)},
        **truncation_shares(rows),
    }


def _facts(run: Run) -> dict[str, Any]:
    """Returns what a row of the board is of, beside its name."""
    asked = json.dumps([run.settings, run.solver_args, run.task_args], sort_keys=True, default=str)
    return {
        "harness": run.harness,
        "metric": run.metric,
        "task_version": run.task_version,
        "step": run.step,
        "settings_hash": hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:16],
    }


def _pass_at_k(entry: Entry) -> dict[str, Any] | None:
    """Returns pass@k of a run with k attempts; None for one, or without samples with all k."""
    if entry.run.epochs < 2:
        return None
    estimate = pass_at_k(entry.rows, entry.run.epochs).estimate
    if estimate is None:
        return None
    interval = [estimate.low, estimate.high]
    return {"k": entry.run.epochs, "mean": estimate.mean, "interval": interval}


def _checkpoints(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        run, name = entry.run, entry.label.checkpoint
        facts = {"hash": run.checkpoint_hash, "step": run.step, "recipe_hash": run.recipe_hash}
        known = found.setdefault(name, {"checkpoint": name, **dict.fromkeys(facts)})
        # Not every harness knows all of them.
        known |= {key: value for key, value in facts.items() if value is not None}
    return [found[name] for name in sorted(found)]


def _cost(entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns what the evaluations cost: tokens and calls per attempt, and wall seconds per run."""
    counts = ("input_tokens", "output_tokens", "calls")
    rows = [
        {
            **entry.label.as_dict(),
            "seconds": entry.run.seconds,
            **{name: float(entry.rows[name].mean()) for name in counts},
        }
        for entry in entries
    ]
    totals: dict[str, Any] = {
        name: sum(int(e.rows[name].sum()) for e in entries) for name in counts
    }
    totals["seconds"] = float(np.nansum([entry.run.seconds for entry in entries]))
    totals["num_uncounted"] = sum(bool(e.rows["input_tokens"].isna().all()) for e in entries)
    return {"rows": rows, "totals": totals}


def _source(entry: Entry) -> dict[str, Any]:
    run = entry.run
    return {
        "log": run.log,
        "sha256": run.log_hash,
        "task": entry.label.task,
        "task_version": run.task_version,
        "checkpoint": entry.label.checkpoint,
        "checkpoint_hash": run.checkpoint_hash,
        "solver": entry.label.solver,
        "settings": {
            **run.settings,
            **run.solver_args,
            **({"judge": run.judge} if run.judge else {}),
        },
        "generates": run.generates,
        "metric": run.metric,
        "suite": run.suite,
    }


def rounded(value: Any) -> Any:
    """Returns a JSON value with floats rounded, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if abs(value) < float("inf") else None
    return value
