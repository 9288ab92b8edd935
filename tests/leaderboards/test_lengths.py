"""Accuracy by length and depth: bins by hand, and what is unknown is in none of them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from longspan.leaderboards.labels import Label
from longspan.leaderboards.lengths import (
    by_length,
    depth_bin,
    depth_words,
    heat_maps,
    length_bin,
    length_words,
)


class Entry:
    """Samples with a score, a length and a depth each."""

    label = Label("nano", "full_context", "niah", None)

    def __init__(self, *samples: tuple[float | None, float | None, float | None]) -> None:
        names = [f"s{number}" for number in range(len(samples))]
        values, lengths, depths = zip(*samples, strict=True)
        columns: dict[str, Any] = {"sample": names, "value": values}
        self.rows = pd.DataFrame(columns | {"input_length": lengths, "depth": depths})
        self.scores = {k: v for k, v in zip(names, values, strict=True) if v is not None}
        self.groups: dict[str, Any] = dict.fromkeys(names)


@pytest.mark.parametrize(
    ("tokens", "upper", "words"),
    [
        (1, 1, "0\u20131"),
        (512, 512, "256\u2013512"),
        (513, 1024, "512\u20131K"),
        (8192, 8192, "4K\u20138K"),
        (8193, 16384, "8K\u201316K"),
        (4_000_000, 1 << 22, "2M\u20134M"),
    ],
)
def test_lengths_are_in_powers_of_two(tokens, upper, words):
    assert length_bin(tokens) == upper
    assert length_words(upper) == words


def test_depths_are_in_fifths_with_both_ends():
    assert [depth_bin(depth) for depth in (0.0, 0.19, 0.2, 0.99, 1.0)] == [0, 0, 1, 4, 4]
    assert depth_words(4) == "80\u2013100%"


def test_accuracy_by_length_counts_samples_with_score_and_length():
    entry = Entry(
        (1.0, 900, 0.1), (0.0, 1000, 0.5), (1.0, 1500, 0.5), (None, 1500, 0.5), (0.0, None, 0.5)
    )
    short, long = by_length(entry)
    assert (short["group"], short["accuracy"], short["num_samples"]) == ("512\u20131K", 0.5, 2)
    assert (long["group"], long["accuracy"], long["num_samples"]) == ("1K\u20132K", 1.0, 1)
    assert by_length(Entry((1.0, 900, None), (0.0, 1000, None))) == [], "one length is no view"


def test_a_heat_map_has_a_cell_per_depth_and_length():
    entry = Entry((1.0, 900, 0.1), (0.0, 1000, 0.1), (1.0, 1500, 0.9), (1.0, 1500, math.nan))
    (found,) = heat_maps([entry])
    assert found["lengths"] == ["512\u20131K", "1K\u20132K"]
    assert found["cells"][0] == [{"accuracy": 0.5, "num_samples": 2}, None]
    assert found["cells"][4] == [None, {"accuracy": 1.0, "num_samples": 1}]
    assert found["cells"][2] == [None, None]


def test_without_depths_there_is_no_heat_map():
    assert heat_maps([Entry((1.0, 900, None), (1.0, 1800, None))]) == []


def test_tasks_that_differ_in_length_only_share_a_heat_map():
    short, long = Entry((1.0, 900, 0.1)), Entry((0.0, 3000, 0.1))
    short.label = Label("nano", "full_context", "world-1x", 1)
    long.label = Label("nano", "full_context", "world-4x", 4)
    (found,) = heat_maps([short, long])
    assert (found["task"], found["lengths"]) == ("world", ["512\u20131K", "2K\u20134K"])
    assert [cell["accuracy"] for cell in found["cells"][0]] == [1.0, 0.0]
    assert heat_maps([short]) == [], "one length is no map"
