"""The board's numbers from rows: what is paired with what, and what they do not depend on."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pandas as pd
import pytest

from longspan.harness.errors import BoardError
from longspan.harness.files import Problem
from longspan.leaderboards.labels import label_runs
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.rows import COLUMNS, Run
from longspan.leaderboards.views import build_board

RUN = Run(
    log="a.eval",
    log_hash="00",
    eval_id="e",
    created="2026-01-01",
    task="world-1x",
    task_version="v1",
    checkpoint="nano",
    checkpoint_hash="aaaaaaaaaa",
    solver="full_context",
    solver_args={},
    input_over_window=1.0,
    step=None,
    recipe_hash=None,
    settings={"temperature": 1.0, "seed": 0},
    epochs=1,
    num_samples=4,
    seconds=2.0,
)


def rows(run: int, values: list[float | None], **columns: Any) -> list[dict[str, Any]]:
    """Returns one row per value; None is a failure of the judge."""
    made = []
    for number, value in enumerate(values):
        row = dict.fromkeys(COLUMNS)
        row |= {"run": run, "sample": f"s{number}", "epoch": 1, "value": value}
        row |= {"validity": "judge_failed" if value is None else "answered"}
        row |= {
            "document_group": f"w{number // 2}",
            "task_type": "multi_hop",
            "hops": 1 + number % 2,
        }
        row |= {"input_tokens": 100, "output_tokens": 10, "calls": 1, "seconds": 0.5}
        made.append(row | columns)
    return made


def logs(*parts: tuple[Run, list[dict[str, Any]]]) -> Logs:
    """Returns logs of runs with their rows."""
    table = [row | {"run": index} for index, part in enumerate(parts) for row in part[1]]
    frame = pd.DataFrame(table, columns=COLUMNS)
    frame["value"] = frame["value"].astype(float)
    return Logs(tuple(part[0] for part in parts), frame, (Problem("b.eval", "not finished"),))


def run(**changes: Any) -> Run:
    return dataclasses.replace(RUN, **changes)


BASE = (RUN, rows(0, [1.0, 0.0, 0.0, None]))
TRAINED = (run(checkpoint="trained", checkpoint_hash="bb"), rows(1, [1.0, 1.0, 0.0, 1.0]))
MEMORY = (run(solver="memory_agent"), rows(2, [0.0, 0.0, 1.0, 1.0]))


def test_a_sample_without_a_score_is_in_no_mean_and_lowers_the_coverage():
    (row,) = build_board(logs(BASE))["numbers"]["rows"]
    assert row["accuracy"] == pytest.approx(1 / 3, abs=1e-6) and row["num_samples"] == 3
    assert row["coverage"] == 0.75
    assert row["endings"] == {"answered": 3, "judge_failed": 1}


def test_differences_are_paired_over_shared_samples_with_one_solver():
    numbers = build_board(logs(BASE, TRAINED, MEMORY), baseline="nano")["numbers"]
    (difference,) = numbers["differences"]
    assert (difference["checkpoint"], difference["baseline"]) == ("trained", "nano")
    assert difference["mean"] == pytest.approx(1 / 3, abs=1e-6) and difference["num_samples"] == 3
    assert difference["verdict"] == "cannot tell"
    (solvers,) = numbers["solver_differences"]
    assert (solvers["solver"], solvers["baseline_solver"]) == ("memory_agent", "full_context")
    assert solvers["num_samples"] == 3 and solvers["mean"] == 0.0


def test_attempts_at_a_sample_are_averaged_before_they_count():
    twice = rows(0, [1.0, 0.0]) + [row | {"epoch": 2} for row in rows(0, [1.0, 1.0])]
    (row,) = build_board(logs((run(epochs=2), twice)))["numbers"]["rows"]
    assert (row["accuracy"], row["num_samples"], row["coverage"]) == (0.75, 2, 1.0)


def test_verdicts_are_corrected_for_the_comparisons_of_their_checkpoint():
    scores = {"nano": [0.0] * 12, "a": [1.0] * 9 + [0.0] * 3, "b": [1.0] * 9 + [0.0] * 3}
    parts = [
        (run(checkpoint=name, task=f"t{i}"), rows(0, values))
        for name, values in scores.items()
        for i in range(3)
    ]
    differences = build_board(logs(*parts), baseline="nano")["numbers"]["differences"]
    assert len(differences) == 6
    for row in differences:
        assert row["p_adjusted"] == pytest.approx(min(1.0, 3 * row["p_value"]), abs=1e-5)


def test_several_attempts_show_what_one_of_them_achieves():
    attempts = [
        row | {"epoch": epoch}
        for epoch, values in ((1, [1.0, 0.0, 0.0, 0.0]), (2, [0.0, 1.0, 0.0, 0.0]))
        for row in rows(0, values)
    ]
    (row,) = build_board(logs((run(epochs=2), attempts)))["numbers"]["rows"]
    assert row["accuracy"] == 0.25
    assert (row["pass_at_k"]["k"], row["pass_at_k"]["mean"]) == (2, 0.5)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"task_version": "v2"}, {"world-1x (v1)", "world-1x (v2)"}),
        ({"checkpoint_hash": "bbbbbbbbbb"}, {"nano (aaaaaaaa)", "nano (bbbbbbbb)"}),
        ({"checkpoint_hash": None}, {"nano (aaaaaaaa)", "nano (no hash)"}),
        (
            {"settings": {"temperature": 0.0, "seed": 0}},
            {"full_context (temperature=1.0)", "full_context (temperature=0.0)"},
        ),
        (
            {"solver_args": {"truncation": "left"}},
            {"full_context (truncation=None)", "full_context (truncation=left)"},
        ),
        ({"settings": {"temperature": 1.0, "seed": 1}}, {"nano (seed=0)", "nano (seed=1)"}),
        ({"epochs": 8}, {"nano (epochs=1)", "nano (epochs=8)"}),
    ],
)
def test_unlike_runs_get_unlike_names(changes, names):
    labels = label_runs([RUN, run(**changes)])
    assert len(set(labels)) == 2
    found = {value for label in labels for value in label.as_dict().values()}
    assert names <= found


def test_settings_that_all_runs_share_stay_out_of_the_names():
    labels = label_runs([RUN, run(checkpoint="trained", checkpoint_hash="b"), MEMORY[0]])
    assert {label.checkpoint for label in labels} == {"nano", "trained"}
    assert {label.solver for label in labels} == {"full_context", "memory_agent"}


def test_other_versions_of_a_task_are_not_compared():
    other = (run(checkpoint="trained", task_version="v2"), TRAINED[1])
    assert build_board(logs(BASE, other), baseline="nano")["numbers"]["differences"] == []


def test_numbers_depend_neither_on_order_nor_time_nor_place():
    parts = [BASE, TRAINED, MEMORY]
    board = build_board(logs(*parts), baseline="nano")
    again = [
        (dataclasses.replace(one, log="other.eval", log_hash="11", seconds=99.0, eval_id="f"), part)
        for one, part in parts
    ]
    for one in again:
        random.Random(1).shuffle(one[1])
    moved = build_board(logs(*reversed(again)), baseline="nano")
    assert json.dumps(moved["numbers"]) == json.dumps(board["numbers"])
    assert moved["cost"] != board["cost"]


def test_a_board_is_strict_json_and_names_what_it_was_made_from():
    board = build_board(logs(BASE, MEMORY), title="Ours")
    json.dumps(board, allow_nan=False)
    assert board["title"] == "Ours" and board["baseline"] is None
    assert board["skipped"] == [{"place": "b.eval", "reason": "not finished"}]
    assert [source["sha256"] for source in board["sources"]] == ["00", "00"]
    assert board["cost"]["totals"] == {
        "input_tokens": 800,
        "output_tokens": 80,
        "calls": 8,
        "seconds": 4.0,
        "num_uncounted": 0,
    }


def test_breakdowns_add_up_to_the_whole():
    numbers = build_board(logs(TRAINED))["numbers"]
    by_hops = numbers["breakdowns"]["hops"]
    assert [(row["group"], row["num_samples"]) for row in by_hops] == [("1", 2), ("2", 2)]
    right = sum(row["accuracy"] * row["num_samples"] for row in by_hops)
    assert right == numbers["rows"][0]["accuracy"] * 4
    assert numbers["breakdowns"]["kind"] == []


def test_retention_is_the_mean_over_samples_with_evidence():
    record = {"num_calls": 4, "num_malformed": 1, "num_chunks": 4, "memory_tokens": 8}
    part = rows(0, [1.0, 0.0], memory=record)
    shares = {"read": 1.0, "noted": 1.0, "kept": 0.5, "used": 0.25}
    lost = {"lost_never_read": 0.0, "lost_overwritten": 0.5, "lost_not_used": 0.25}
    part[0]["memory"] = record | shares | lost
    (row,) = build_board(logs((MEMORY[0], part)))["numbers"]["retention"]
    assert (row["read"], row["kept"], row["num_samples"]) == (1.0, 0.5, 2)
    assert (row["used"], row["lost_overwritten"], row["lost_not_used"]) == (0.25, 0.5, 0.25)
    assert row["lost_not_noted"] is None, "no record has it"
    assert row["malformed_share"] == 0.25 and row["memory_cut_share"] == 0.0


def test_truncation_is_counted():
    part = rows(0, [1.0, 0.0], truncation={"tokens_dropped": 0, "evidence_kept": 1.0})
    part[1]["truncation"] = {"tokens_dropped": 7, "evidence_kept": 0.0}
    (row,) = build_board(logs((RUN, part)))["numbers"]["rows"]
    assert (row["truncated_share"], row["evidence_kept"]) == (0.5, 0.5)


def test_an_unknown_baseline_is_an_error_that_names_the_known_ones():
    with pytest.raises(BoardError, match="'base'.*nano, trained"):
        build_board(logs(BASE, TRAINED), baseline="base")


def test_no_finished_log_is_an_error_with_the_reason():
    with pytest.raises(BoardError, match="b.eval: not finished"):
        build_board(logs())


def test_versions_that_arguments_make_are_named_by_them():
    parts = [
        (
            run(task_version=f"v{n}", task_args={"target_tokens": n, "split": "test"}),
            rows(0, [1.0]),
        )
        for n in (2000, 8000)
    ]
    labels = [row["task"] for row in build_board(logs(*parts))["numbers"]["rows"]]
    assert labels == ["world-1x (target_tokens=2000)", "world-1x (target_tokens=8000)"]
