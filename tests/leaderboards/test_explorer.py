"""The samples of the page: what is shown side by side, and how it is kept text."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.leaderboards import explorer
from longspan.leaderboards.explorer import as_script, explorer_data, shorten
from longspan.leaderboards.logs import Logs
from longspan.leaderboards.rows import COLUMNS, Run


def run(checkpoint: str, solver: str = "full_context", windows: int = 1) -> Run:
    return Run(
        log=f"{checkpoint}.eval",
        log_hash="0",
        eval_id="e",
        created="2026-01-01",
        task=f"world-{windows}x",
        task_version="1",
        checkpoint=checkpoint,
        checkpoint_hash=checkpoint,
        solver=solver,
        solver_args={},
        input_over_window=windows,
        step=None,
        recipe_hash=None,
        settings={},
        epochs=1,
        num_samples=2,
        seconds=1.0,
    )


def logs(runs: list[Run], scores: list[list[float]]) -> Logs:
    rows = []
    for index, values in enumerate(scores):
        for number, value in enumerate(values):
            row = dict.fromkeys(COLUMNS, "") | {"run": index, "sample": f"s{number:02d}"}
            row |= {"epoch": 1, "value": value, "validity": "answered", "hops": None}
            row |= {"task_type": None, "kind": float("nan"), "completion": "x" * 5000}
            rows.append(row)
    return Logs(tuple(runs), pd.DataFrame(rows, columns=COLUMNS), ())


def test_the_baseline_and_the_checkpoint_with_most_runs_come_first():
    runs = [run("ceiling"), run("nano"), run("trained"), run("trained", "memory_agent")]
    (task,) = explorer_data(logs(runs, [[1.0, 1.0]] * 4), baseline="nano")
    labels = [one["label"] for one in task["runs"]]
    assert labels[task["a"]] == "nano, full context"
    assert labels[task["b"]] == "trained, full context"


def test_each_length_is_a_task_of_its_own():
    runs = [run("nano"), run("nano", windows=16), run("nano", windows=4)]
    tasks = explorer_data(logs(runs, [[1.0]] * 3), baseline=None)
    assert [task["label"] for task in tasks] == ["world-1x", "world-4x", "world-16x"]


def test_a_missing_score_is_null_and_not_zero():
    (task,) = explorer_data(logs([run("nano")], [[math.nan]]), baseline=None)
    assert task["runs"][0]["results"]["s00"][0]["value"] is None
    assert task["samples"][0] | {"question": "", "target": ""} == {
        "id": "s00",
        "question": "",
        "target": "",
        "task_type": None,
        "kind": None,
        "hops": None,
    }


def test_of_too_many_samples_those_on_which_runs_differ_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(explorer, "MAX_ATTEMPTS", 4)
    scores = [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    (task,) = explorer_data(logs([run("a"), run("b")], scores), baseline="a")
    assert [sample["id"] for sample in task["samples"]] == ["s01", "s03"]
    assert task["num_samples"] == 4


def test_a_long_text_keeps_its_beginning_and_end():
    text = shorten("A" * 900 + "B" * 900, 200)
    assert text.startswith("A" * 100) and text.endswith("B" * 100)
    assert "1600 characters left out" in text


@given(st.text())
def test_the_script_gives_back_every_text_and_holds_no_markup(text):
    script = as_script([{"text": text}])
    assert script.isascii()
    assert not set("<>&`") & set(script)
    literal = script.split(" = ", 1)[1].rstrip().removesuffix(";")
    assert json.loads(json.loads(literal)) == [{"text": text}]
