"""The samples behind the numbers: any two runs of a task side by side, for the page's explorer.

Everything here is text from models and data; the page shows it as text only.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from longspan.leaderboards.labels import Label, label_runs
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.rows import MAX_TEXT_CHARS, shorten
from longspan.leaderboards.wording import solver_name

MIN_TEXT_CHARS = 120
"""Longest question, answer or completion on a page with very many attempts; the middle of a longer
one is left out. On a page with fewer it is `MAX_TEXT_CHARS`."""
MAX_TOTAL_CHARS = 8_000_000
MAX_ATTEMPTS = 40_000
"""What a page can hold. Of more attempts, samples on which runs disagree are kept first."""


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
    counts = Counter(label.checkpoint for label in labels)
    ranks = {name: (name != baseline, -counts[name], name) for name in counts}
    share = min(1.0, MAX_ATTEMPTS / max(1, len(logs.samples)))
    chars = MAX_TOTAL_CHARS // max(1, min(MAX_ATTEMPTS, len(logs.samples)))
    chars = min(MAX_TEXT_CHARS, max(MIN_TEXT_CHARS, chars))
    made = []
    for key in sorted(tasks):
        order = sorted(tasks[key], key=lambda i: (labels[i].solver, ranks[labels[i].checkpoint]))
        frame = logs.samples[logs.samples["run"].isin(order)]
        task = _task([labels[index] for index in order], order, frame, share, chars)
        task["a"], task["b"] = first_pair([labels[index] for index in order], baseline)
        made.append(task)
    return made


def _task(
    labels: list[Label], order: list[int], frame: pd.DataFrame, share: float, chars: int
) -> dict[str, Any]:
    samples: dict[str, dict[str, Any]] = {}
    results: dict[int, dict[str, list[dict[str, Any]]]] = {index: {} for index in order}
    kept = _kept(frame, share)
    row: Any
    for row in frame[frame["sample"].isin(kept)].itertuples():
        name = str(row.sample)
        if name not in samples:
            samples[name] = _sample(row, chars)
        results[int(row.run)].setdefault(name, []).append(_attempt(row, chars))
    return {
        "label": labels[0].task,
        "num_samples": int(frame["sample"].nunique()),
        "samples": [samples[key] for key in sorted(samples)],
        "runs": [
            {"label": f"{label.checkpoint}, {solver_name(label.solver)}", "results": results[index]}
            for label, index in zip(labels, order, strict=True)
        ],
    }


def _kept(frame: pd.DataFrame, share: float) -> set[str]:
    """Returns a share of the sample ids, those on which runs differ most first."""
    values = frame.groupby("sample")["value"]
    spread = (values.max() - values.min()).fillna(0)
    ids = sorted(spread.index, key=lambda name: (-spread[name], name))
    return {str(name) for name in ids[: max(1, int(share * len(ids)))]}


def first_pair(runs: list[Label], baseline: str | None) -> tuple[int, int]:
    """Returns which two runs are shown at first: the baseline and another, by the same solver."""
    pairs = [
        (a, b)
        for a, ours in enumerate(runs)
        for b, other in enumerate(runs)
        if a != b and ours.checkpoint == baseline and ours.solver == other.solver
    ]
    return pairs[0] if pairs else (0, min(1, len(runs) - 1))


def _sample(row: Any, chars: int) -> dict[str, Any]:
    return {
        "id": str(row.sample),
        "question": shorten(row.question, chars),
        "target": shorten(row.target, chars),
        "task_type": _text_or_none(row.task_type),
        "kind": _text_or_none(row.kind),
        "hops": None if row.hops is None or pd.isna(row.hops) else int(row.hops),
    }


def _attempt(row: Any, chars: int) -> dict[str, Any]:
    return {
        "epoch": int(row.epoch),
        "value": None if math.isnan(row.value) else round(float(row.value), 6),
        "validity": str(row.validity),
        "answer": shorten(row.answer, chars),
        "completion": shorten(row.completion, chars),
        "error": shorten(row.error, chars),
    }


def _text_or_none(value: Any) -> str | None:
    return None if value is None or pd.isna(value) else str(value)


def as_script(data: Iterable[dict[str, Any]]) -> str:
    """Returns a script that holds the data as one JSON string, for a page opened from disk.

    A page from disk may not fetch a file but may run one. The data is inside a string literal,
    which the page parses: it is never code. Nothing in it can end the literal or the script:
    neither `</script>` nor an unusual line separator.
    """
    text = json.dumps(list(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    literal = json.dumps(text, ensure_ascii=True)
    for character in "<>&'`":
        literal = literal.replace(character, f"\\u{ord(character):04x}")
    return f'"use strict";\nvar longspanSamples = {literal};\n'
