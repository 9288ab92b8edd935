"""Accuracy by the length of the input, and by length and depth of the evidence.

Lengths are those of the context before anything was cut, in tokens of the model that read it; depth
is where the evidence stands, 0 at the beginning and 1 at the end. Samples for which a log does not
tell are in none of these views.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from longspan.leaderboards.entries import Entry
from longspan.leaderboards.statistics import estimate_mean
from longspan.leaderboards.wording import family

NUM_DEPTHS = 5
"""Rows of a heat map: fifths of the context."""
MAX_LENGTHS = 12


def by_length(entry: Entry) -> list[dict[str, Any]]:
    """Returns accuracy by length of the input, in powers of two, the shortest first."""
    lengths = _known(entry, "input_length")
    bins: dict[int, list[str]] = {}
    for sample, tokens in lengths.items():
        if tokens > 0:
            bins.setdefault(length_bin(tokens), []).append(sample)
    if len(bins) < 2:
        return []
    found = []
    for upper in sorted(bins):
        samples = bins[upper]
        estimate = estimate_mean(
            [entry.scores[key] for key in samples], [entry.groups[key] for key in samples]
        )
        found.append(
            {
                **entry.label.as_dict(),
                "group": length_words(upper),
                "accuracy": estimate.mean,
                "interval": [estimate.low, estimate.high],
                "num_samples": estimate.num_samples,
            }
        )
    return found


def heat_maps(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Returns a heat map per checkpoint, solver and task that was read at several lengths.

    Tasks that differ in length only (`world-1x`, `world-4x`) are one.
    """
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        label = entry.label
        groups.setdefault((label.checkpoint, label.solver, family(label.task)), []).append(entry)
    made = []
    for (checkpoint, solver, task), members in groups.items():
        found = _heat_map(members)
        if found is not None:
            made.append({"checkpoint": checkpoint, "solver": solver, "task": task} | found)
    return made


def _heat_map(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Returns mean scores by depth (rows) and length (columns); None without two lengths.

    A cell without samples is None. Depths are in fifths, lengths in powers of two.
    """
    cells: dict[tuple[int, int], list[float]] = {}
    for entry in entries:
        lengths, depths = _known(entry, "input_length"), _known(entry, "depth")
        for sample in lengths.keys() & depths.keys():
            place = (depth_bin(depths[sample]), length_bin(lengths[sample]))
            cells.setdefault(place, []).append(entry.scores[sample])
    columns = sorted({length for _, length in cells})[:MAX_LENGTHS]
    if len(columns) < 2:
        return None
    return {
        "lengths": [length_words(upper) for upper in columns],
        "depths": [depth_words(row) for row in range(NUM_DEPTHS)],
        "cells": [
            [_cell(cells.get((row, column), ())) for column in columns] for row in range(NUM_DEPTHS)
        ],
    }


def length_bin(tokens: float) -> int:
    """Returns the power of two that a length does not exceed: 5000 -> 8192."""
    return 1 << max(0, math.ceil(math.log2(max(1.0, tokens))))


def length_words(upper: int) -> str:
    """Returns a bin's name by its limits: 8192 -> 4K-8K; 512 -> 256-512."""
    return f"{_tokens(upper // 2)}\u2013{_tokens(upper)}"


def depth_bin(depth: float) -> int:
    """Returns the fifth of the context in which a depth lies, counted from 0."""
    return min(NUM_DEPTHS - 1, max(0, int(depth * NUM_DEPTHS)))


def depth_words(row: int) -> str:
    """Returns a fifth in percent of the context: 0 -> 0-20%."""
    step = 100 // NUM_DEPTHS
    return f"{row * step}\u2013{(row + 1) * step}%"


def _known(entry: Entry, column: str) -> dict[str, float]:
    """Returns a column's values by sample, for samples that have one and a score."""
    if column not in entry.rows:
        return {}
    values = pd.to_numeric(entry.rows[column], errors="coerce")
    pairs: Iterable[tuple[str, float]] = zip(entry.rows["sample"], values, strict=True)
    return {
        str(name): float(value)
        for name, value in pairs
        if math.isfinite(value) and str(name) in entry.scores
    }


def _cell(scores: Sequence[float]) -> dict[str, Any] | None:
    if not scores:
        return None
    return {"accuracy": sum(scores) / len(scores), "num_samples": len(scores)}


def _tokens(number: int) -> str:
    if number >= 1 << 20:
        return f"{number >> 20}M"
    return f"{number >> 10}K" if number >= 1 << 10 else str(number)
