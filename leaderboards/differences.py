"""Paired differences between entries, with what they show: checkpoints, and solvers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from longspan.leaderboards.entries import Entry
from longspan.leaderboards.labels import Label
from longspan.leaderboards.statistics import (
    Estimate,
    estimate_difference,
    holm,
    minimum_detectable_effect,
    num_samples_needed,
    verdict,
)

FULL_CONTEXT = "full_context"


def checkpoint_differences(entries: Sequence[Entry], baseline: str) -> list[dict[str, Any]]:
    """Returns every checkpoint minus the baseline, on shared samples, read the same way."""
    others = {e.label.condition: e for e in entries if e.label.checkpoint == baseline}
    pairs = [
        (entry, others[entry.label.condition], {"baseline": baseline})
        for entry in entries
        if entry.label.checkpoint != baseline and entry.label.condition in others
    ]
    return _differences(pairs)


def solver_differences(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Returns every solver minus the full context, with the same checkpoint on the same samples."""

    def key(label: Label) -> tuple[Any, ...]:
        return label.checkpoint, label.task, label.input_over_window

    full: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        if entry.run.solver == FULL_CONTEXT:
            full.setdefault(key(entry.label), []).append(entry)
    pairs = [
        (entry, other, {"baseline_solver": other.label.solver})
        for entry in entries
        if entry.run.solver != FULL_CONTEXT
        for other in full.get(key(entry.label), [])
    ]
    return _differences(pairs)


def describe_difference(estimate: Estimate, adjusted_p: float) -> dict[str, Any]:
    """Returns a difference with its interval, p-values and verdict."""
    word = verdict(estimate, adjusted_p)
    return {
        "mean": estimate.mean,
        "interval": [estimate.low, estimate.high],
        "p_value": estimate.p_value,
        "p_adjusted": adjusted_p,
        "num_samples": estimate.num_samples,
        "num_clusters": estimate.num_clusters,
        "verdict": word,
        "num_samples_needed": None
        if word != "cannot tell"
        else num_samples_needed(estimate, adjusted_p),
        "minimum_detectable_effect": minimum_detectable_effect(estimate),
    }


def _differences(pairs: Sequence[tuple[Entry, Entry, dict[str, str]]]) -> list[dict[str, Any]]:
    """Returns the differences of pairs; p-values are adjusted for all of them together."""
    found = []
    for ours, other, names in pairs:
        estimate = estimate_difference(ours.scores, other.scores, ours.groups)
        if estimate is not None:
            found.append((ours.label.as_dict() | names, estimate))
    adjusted = holm([estimate.p_value for _, estimate in found])
    return [
        names | describe_difference(estimate, p)
        for (names, estimate), p in zip(found, adjusted, strict=True)
    ]
