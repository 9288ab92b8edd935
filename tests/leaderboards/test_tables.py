"""CSV: the same numbers as the board, and harmless whoever opens it."""

from __future__ import annotations

import csv
import io
from typing import Any

from longspan.leaderboards.tables import by_key, key_of, to_csv

KEY = {
    "checkpoint": "trained",
    "solver": "full_context",
    "task": "world-1x",
    "input_over_window": 1,
}
ROW = KEY | {
    "accuracy": 0.61,
    "interval": [0.57, 0.65],
    "num_samples": 600,
    "coverage": 0.99,
    "pass_at_k": {"k": 4, "mean": 0.8, "interval": [0.75, 0.85]},
    "endings": {"answered": 590, "judge_failed": 10},
    "truncated_share": 0.25,
    "evidence_kept": None,
    "harness": "inspect",
    "metric": "by_sample",
    "task_version": "v1",
    "step": 60,
    "settings_hash": "0123",
}
COST = {"input_tokens": 1200.0, "output_tokens": None, "calls": 1.0, "seconds": 61.5}
CARD = {
    "name": "worlds",
    "hash": "ab",
    "num_samples": 30,
    "splits": ["train", "test"],
    "kinds": [{"kind": "lookup", "counts": [20, 10]}],
    "yields": [
        {
            "step": "verify",
            "wanted": 40,
            "drawn": 50,
            "accepted": 30,
            "rejected": [{"reason": "ambiguous", "number": 20}],
        }
    ],
}
DIFFERENCE = KEY | {
    "baseline": "nano",
    "mean": 0.177,
    "interval": [0.113, 0.24],
    "p_value": 0.0001,
    "p_adjusted": 0.0002,
    "num_samples": 600,
    "verdict": "better",
}


RETENTION = KEY | {
    "read": 1.0,
    "noted": 0.5,
    "kept": None,
    "used": 0.25,
    "lost_never_read": 0.0,
    "lost_not_noted": 0.5,
    "lost_overwritten": None,
    "lost_not_used": None,
    "malformed_share": 0.1,
    "cut_off_share": 0.0,
    "memory_cut_share": 0.0,
    "num_chunks": 4.0,
    "memory_tokens": 120.0,
    "num_samples": 600,
}


def board(**changes: Any) -> dict[str, Any]:
    numbers = {
        "baseline": "nano",
        "rows": [ROW | changes],
        "differences": [DIFFERENCE | changes],
        "solver_differences": [],
        "breakdowns": {"hops": [ROW | changes | {"group": "2"}]},
        "suite": None,
        "retention": [RETENTION | changes],
        "heat_maps": [
            KEY
            | changes
            | {
                "depths": ["0-50%", "50-100%"],
                "lengths": ["1K-2K"],
                "cells": [[{"accuracy": 0.75, "num_samples": 8}], [None]],
            }
        ],
        "training": [
            {"stage": "rl", "steps": [{"step": 1, "reward_mean": 0.5, "aepo_masking": True}]}
        ],
    }
    cost = {"rows": [KEY | changes | COST], "totals": COST | {"output_tokens": 5}}
    whole = {"title": "T", "baseline": "nano", "numbers": numbers, "notes": [], "skipped": []}
    return whole | {"cost": cost, "data": [CARD]}


def test_csv_has_every_figure_as_a_fraction():
    rows = list(csv.DictReader(io.StringIO(to_csv(board()))))
    figures = {row["figure"]: row for row in rows}
    assert figures["accuracy"]["value"] == "0.61" and figures["accuracy"]["high"] == "0.65"
    assert figures["difference"]["against"] == "nano"
    assert figures["difference"]["verdict"] == "better"
    assert figures["accuracy by hops"]["group"] == "2"
    assert figures["evidence noted"]["value"] == "0.5"
    assert "evidence kept" not in figures
    assert figures["pass@4"]["value"] == "0.8" and figures["pass@4"]["low"] == "0.75"
    assert figures["samples judge failed"]["value"] == "10"
    assert figures["samples cut"]["value"] == "0.25"
    heat = figures["accuracy by depth and input length"]
    assert (heat["group"], heat["value"], heat["num_samples"]) == ("0-50%, 1K-2K", "0.75", "8")
    assert figures["input tokens per attempt"]["value"] == "1200.0"
    assert "output tokens per attempt" not in figures
    assert figures["training: reward mean"]["group"] == "1"
    assert figures["synthesis: rejected"]["group"] == "verify: ambiguous"
    assert {row["value"] for row in rows if row["figure"] == "samples of the task set"} == {
        "20",
        "10",
    }


def test_csv_says_what_an_accuracy_is_of():
    row = next(csv.DictReader(io.StringIO(to_csv(board()))))
    facts = ("harness", "metric", "task_version", "step", "settings_hash")
    assert [row[name] for name in facts] == ["inspect", "by_sample", "v1", "60", "0123"]


def test_csv_runs_no_formula():
    text = to_csv(board(checkpoint='=HYPERLINK("http://example.com")'))
    names = {row["checkpoint"] for row in csv.DictReader(io.StringIO(text))}
    assert names - {""} == {'\'=HYPERLINK("http://example.com")'}
    assert ",-0.1," in to_csv(board(mean=-0.1))  # a number stays one


def test_a_difference_belongs_to_the_row_of_its_checkpoint():
    differences = by_key([DIFFERENCE])
    assert key_of(ROW | {"checkpoint": "nano"}) not in differences
    assert differences[key_of(ROW)] == DIFFERENCE
