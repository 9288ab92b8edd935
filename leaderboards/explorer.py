"""The samples behind the numbers: any two runs of a task side by side, for the page's explorer.

Everything here is text from models and data; the page shows it as text only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from longspan.leaderboards.labels import Label, label_runs
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.wording import solver_name

MAX_TEXT_CHARS = 1600
"""Longest question, answer or completion on the page; the middle of a longer one is left out."""


def explorer_data(logs: Logs, baseline: str | None) -> list[dict[str, Any]]:
    """Returns the tasks with their samples and, per run, the attempts at each sample.

    Args:
        logs: What was read.
        baseline: Checkpoint that the page compares with; side A at first.
    """
    labels = label_runs(logs.runs)
    tasks: dict[tuple[float, str], list[int]] = {}
    for index, label in enumerate(labels):
        tasks.setdefault((label.input_over_window or 0, label.task), []).append(index)
    frames = {int(index): frame for index, frame in logs.samples.groupby("run", sort=True)}
    return [_task(labels, tasks[key], frames, baseline) for key in sorted(tasks)]


def _task(
    labels: list[Label], indices: list[int], frames: dict[int, pd.DataFrame], baseline: str | None
) -> dict[str, Any]:
    def order(index: int) -> tuple[str, bool, str]:
        label = labels[index]
        return label.solver, label.checkpoint != baseline, label.checkpoint

    indices = sorted(indices, key=order)
    a, b = first_pair([labels[index] for index in indices], baseline)
    samples: dict[str, dict[str, Any]] = {}
    for index in indices:
        for row in frames[index].itertuples():
            samples.setdefault(str(row.sample), _sample(row))
    return {
        "label": labels[indices[0]].task,
        "samples": [samples[key] for key in sorted(samples)],
        "runs": [
            {
                "label": f"{labels[index].checkpoint}, {solver_name(labels[index].solver)}",
                "results": _results(frames[index]),
            }
            for index in indices
        ],
        "a": a,
        "b": b,
    }


def first_pair(runs: list[Label], baseline: str | None) -> tuple[int, int]:
    """Returns which two runs are shown at first: the baseline and another read by the same solver."""
    pairs = [
        (a, b)
        for a, ours in enumerate(runs)
        for b, other in enumerate(runs)
        if a != b and ours.checkpoint == baseline and ours.solver == other.solver
    ]
    return pairs[0] if pairs else (0, min(1, len(runs) - 1))


def _sample(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.sample),
        "question": shorten(row.question),
        "target": shorten(row.target),
        "task_type": _text_or_none(row.task_type),
        "kind": _text_or_none(row.kind),
        "hops": None if row.hops is None or pd.isna(row.hops) else int(row.hops),
    }


def _results(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    results: dict[str, list[dict[str, Any]]] = {}
    for row in frame.itertuples():
        attempt = {
            "epoch": int(row.epoch),
            "value": None if math.isnan(row.value) else round(float(row.value), 6),
            "validity": str(row.validity),
            "answer": shorten(row.answer),
            "completion": shorten(row.completion),
            "error": shorten(row.error),
        }
        results.setdefault(str(row.sample), []).append(attempt)
    return results


def shorten(text: object) -> str:
    """Returns a text of at most about `MAX_TEXT_CHARS` characters: its beginning and its end."""
    whole = str(text)
    if len(whole) <= MAX_TEXT_CHARS:
        return whole
    half = MAX_TEXT_CHARS // 2
    left_out = len(whole) - 2 * half
    return f"{whole[:half]} [... {left_out} characters left out ...] {whole[-half:]}"


def _text_or_none(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)


def as_script(data: Iterable[dict[str, Any]]) -> str:
    """Returns a script that holds the data as one JSON string, for a page opened from disk.

    A page from disk may not fetch a file but may run one. The data is inside a string literal, which the page parses:
    it is never code. Everything but ASCII letters is escaped, so that neither `</script>` nor a line separator of
    another script can end the literal.
    """
    text = json.dumps(list(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    literal = json.dumps(text, ensure_ascii=True)
    for character in "<>&'`":
        literal = literal.replace(character, f"\\u{ord(character):04x}")
    return f'"use strict";\nvar longspanSamples = {literal};\n'
