"""Curves of training runs: whole lines count, and what is no step is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longspan.leaderboards.training import Training, read_training


def line(step: Any, **values: Any) -> bytes:
    return json.dumps({"step": step, **values}).encode() + b"\n"


def read(tmp_path: Path, content: bytes) -> tuple[list[int], str]:
    """Returns the numbers of the steps of a file, and what was said about it."""
    (tmp_path / "metrics.jsonl").write_bytes(content)
    found = read_training(tmp_path)
    steps = [step["step"] for stage in found.stages for step in stage["steps"]]
    return steps, "; ".join(map(str, found.problems))


def test_curves_survive_a_killed_trainer_and_missing_keys(tmp_path):
    (tmp_path / "rl").mkdir()
    (tmp_path / "rl" / "metrics.jsonl").write_bytes(
        line(1, reward_mean=0.1, entropy=2.0, aepo_masking=False)
        + line(2, reward_mean=0.5)
        + line(2, reward_mean=None, gradient_norm=float("nan"))
        + b'{"step": 3, "rew'
    )
    found = read_training(tmp_path)
    (stage,) = found.stages
    assert stage["stage"] == "rl" and [step["step"] for step in stage["steps"]] == [1, 2]
    assert stage["steps"][0]["reward_mean"] == 0.1 and stage["steps"][0]["aepo_masking"] is False
    assert stage["steps"][1]["reward_mean"] is None and stage["steps"][1]["gradient_norm"] is None
    (problem,) = found.problems
    assert str(problem).startswith("rl/metrics.jsonl: its last line is not whole")


def test_a_whole_file_and_no_folder_have_nothing_to_say(tmp_path):
    assert read(tmp_path, line(1) + line(2) + b"\n") == ([1, 2], "")
    assert read_training(tmp_path / "none") == read_training(None) == Training()


def test_damaged_lines_are_counted_and_the_others_count(tmp_path):
    steps, said = read(tmp_path, line(1) + b'{"step": 2, "re' + line(3) + b"\0\xff\xfe\n" + line(4))
    assert steps == [1, 4]
    assert said == (
        "metrics.jsonl: 2 lines are no JSON objects with a step (the first: line 2) and left out"
    )


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\0\0", b"[" * 100_000, b'"step"\n', line("1"), line(True), line(-1)],
)
def test_a_file_without_a_step_says_so(tmp_path, content):
    steps, said = read(tmp_path, content)
    assert steps == [] and "metrics.jsonl: holds no step" in said


def test_an_empty_file_says_so(tmp_path):
    assert read(tmp_path, b"") == ([], "metrics.jsonl: holds no step")


def test_numbers_that_cannot_be_drawn_are_missing(tmp_path):
    big = b'{"step": 1, "reward_mean": 1' + b"0" * 400 + b', "entropy": 1e999}\n'
    steps, said = read(tmp_path, big + b'{"step": 1' + b"0" * 400 + b"}\n" + line(2))
    assert steps == [1, 2] and "the first: line 2" in said
    first = read_training(tmp_path).stages[0]["steps"][0]
    assert first["reward_mean"] is None and first["entropy"] is None


def test_a_file_that_cannot_be_opened_says_why(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    (problem,) = read_training(tmp_path).problems
    assert "cannot be read" in problem.reason
