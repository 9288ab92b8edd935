"""Reading real logs: what enters, what is left out and why."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from longspan.harness.errors import BoardError
from longspan.leaderboards.logs import _age, _Found, read_logs
from longspan.leaderboards.rows import SCHEMA
from longspan.leaderboards.views import build_board
from tests.harness.scripted import Request
from tests.leaderboards.test_notes import RUN

COUNT = 6


def answers(call: Request) -> str:
    """Fails on sample 0, is cut off on 1, gives no answer on 2, and is right or wrong after."""
    number = int(call.identity["sample"].removeprefix("s"))
    if number < 3:
        return ("!the engine broke", "I would say that...", "I do not know.")[number]
    return f"Therefore, the answer is {'Dresex' if number == 3 else 'Nowhere'}."


@pytest.fixture(scope="module")
def folder(run_log, tmp_path_factory) -> Path:
    """Returns a folder with a finished full-context log and a memory log, in subfolders."""
    path = tmp_path_factory.mktemp("logs")
    run_log(path / "full", "nano", answers, count=COUNT, seed=7)
    run_log(path / "memory", "nano", 1.0, count=2, solver="memory_agent", windows=4)
    return path


def the_log(folder: Path) -> Path:
    (path,) = folder.glob("*.eval")
    return path


def test_rows_hold_what_the_log_says(folder):
    read = read_logs([folder])
    assert [(run.solver, run.task) for run in read.runs] == [
        ("full_context", "world-1x"),
        ("memory_agent", "world-4x"),
    ]
    run = read.runs[0]
    assert (run.checkpoint, run.input_over_window, run.task_version) == ("nano", 1.0, "v1")
    assert run.settings == {"temperature": 1.0, "max_tokens": 60, "seed": 7}
    assert run.checkpoint_hash and len(run.log_hash) == 64 and run.num_samples == COUNT
    assert read.skipped == () and len(read.samples) == COUNT + 2
    row = read.samples[read.samples["sample"] == "s003"].iloc[0]
    assert (row["value"], row["validity"], row["answer"]) == (1.0, "answered", "Dresex")
    assert (row["target"], row["kind"], row["hops"]) == ("Dresex", "kind-3", 1)
    assert (row["document_group"], row["task_type"]) == ("world-0", "multi_hop")
    assert row["calls"] == 1 and row["input_tokens"] > 0 and row["output_tokens"] > 0
    assert row["truncation"]["tokens_dropped"] == 0 and row["memory"] is None
    assert row["question"] == "What is the capital of Land 3?"


def test_endings_are_told_apart_and_a_failure_has_no_score(folder):
    rows = read_logs([folder / "full"]).samples.set_index("sample")
    assert math.isnan(rows.loc["s000", "value"]) and "engine broke" in rows.loc["s000", "error"]
    assert list(rows["validity"]) == ["engine_failed", "cut_off", "no_answer"] + ["answered"] * 3
    assert list(rows["value"])[1:] == [0.0, 0.0, 1.0, 0.0, 0.0]
    (row,) = build_board(read_logs([folder / "full"]))["numbers"]["rows"]
    assert row["coverage"] == pytest.approx(5 / 6, abs=1e-6) and row["accuracy"] == 0.2


def test_a_memory_run_brings_its_record_and_all_its_calls(folder):
    rows = read_logs([folder / "memory"]).samples
    record = rows.iloc[0]["memory"]
    assert record["num_chunks"] > 1
    assert rows.iloc[0]["calls"] == record["num_calls"] + 1


def test_of_two_logs_of_one_evaluation_the_later_counts(folder, run_log, tmp_path):
    shutil.copytree(folder / "full", tmp_path / "first")
    time.sleep(1.1)  # logs say when they were made in whole seconds
    run_log(tmp_path / "second", "nano", 1.0, count=COUNT, seed=7)
    run_log(tmp_path / "third", "nano", 1.0, count=COUNT, seed=8)
    read = read_logs([tmp_path])
    assert [run.settings["seed"] for run in read.runs] == [7, 8]
    assert read.samples["value"].notna().all()
    (left_out,) = read.skipped
    assert left_out.place.startswith("first/")
    assert "another log of the same evaluation is newer: second/" in left_out.reason


def test_the_later_of_two_times_is_so_in_any_time_zone():
    table = SCHEMA.empty_table()
    times = ("2026-01-01T23:00:00-05:00", "2026-01-02T00:30:00+00:00", "2026-01-02T00:45:00+01:00")
    ages = [_age(_Found(replace(RUN, created=time), table, "")) for time in times]
    assert sorted(ages, reverse=True) == [ages[0], ages[1], ages[2]]
    assert _age(_Found(replace(RUN, created="yesterday"), table, "")) < min(ages)


def test_a_log_that_is_given_twice_counts_once(folder, tmp_path):
    path = the_log(folder / "full")
    assert len(read_logs([folder / "full", path]).skipped) == 0
    shutil.copy(path, tmp_path / "copy.eval")
    (left_out,) = read_logs([folder / "full", tmp_path]).skipped
    assert "the same log as" in left_out.reason


def test_what_is_not_a_finished_scored_log_is_listed_with_its_reason(folder, run_log, tmp_path):
    whole = the_log(folder / "full").read_bytes()
    (tmp_path / "cut.eval").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.eval").write_bytes(b"")
    (tmp_path / "foreign.eval").write_text("print('no log')", "utf-8")
    (tmp_path / "old.eval.damaged").write_bytes(whole)
    (tmp_path / "notes.txt").write_text("not a log at all", "utf-8")
    run_log(
        tmp_path / "stopped", "nano", lambda _: "!the engine broke", count=2, fail_on_error=True
    )
    read = read_logs([tmp_path])
    reasons = {problem.place: problem.reason for problem in read.skipped}
    assert len(reasons) == 5 and read.runs == () and read.samples.empty
    for name in ("cut.eval", "empty.eval", "foreign.eval"):
        assert "cannot be read" in reasons[name]
    assert "set aside" in reasons["old.eval.damaged"]
    (stopped,) = (reason for place, reason in reasons.items() if place.startswith("stopped/"))
    assert stopped.startswith("not finished: status error")


def test_a_log_whose_samples_all_failed_is_listed(run_log, tmp_path):
    run_log(tmp_path, "nano", lambda _: "!the engine broke", count=2)
    (problem,) = read_logs([tmp_path]).skipped
    assert "score" in problem.reason


def test_a_log_without_our_labels_goes_by_model_and_solver(run_log, tmp_path):
    run_log(tmp_path, "plain", 1.0, count=2, metadata={"other": 1})
    (run,) = read_logs([tmp_path]).runs
    assert (run.checkpoint, run.solver) == ("scripted/plain", "full_context")
    assert run.checkpoint_hash is None and run.input_over_window is None


def test_a_path_as_a_checkpoint_name_is_not_published(run_log, tmp_path):
    labels = {"longspan_checkpoint": "/home/somebody/out/final", "longspan_input_over_window": "?"}
    run_log(tmp_path, "path", 1.0, count=2, metadata=labels)
    (run,) = read_logs([tmp_path]).runs
    assert (run.checkpoint, run.input_over_window) == ("final", None)


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(BoardError, match="no such log or folder"):
        read_logs([tmp_path / "nowhere"])
