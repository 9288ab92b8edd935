"""Samples of one id that ask different things are different samples, and the board says so."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from longspan.leaderboards.contents import Conflict
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.notes import content_notes
from longspan.leaderboards.views import build_board
from tests.leaderboards.conftest import samples

COUNT = 6


@pytest.fixture(scope="module")
def folder(run_log, tmp_path_factory) -> Path:
    """Returns logs of two checkpoints, of which the second has answered another sample 0 and 1."""
    path = tmp_path_factory.mktemp("logs")
    run_log(path / "base", "base", 1.0, count=COUNT)
    changed = samples(COUNT)
    changed[0].target = "Nowhere"
    changed[1].metadata = (changed[1].metadata or {}) | {"question": "What is it called now?"}
    run_log(path / "trained", "trained", 1.0, dataset=changed)
    return path


def test_only_samples_that_ask_the_same_are_paired(folder):
    read = read_logs([folder])
    assert read.conflicts == (Conflict("world-1x", "v1", 2),)
    numbers = build_board(read, baseline="base")["numbers"]
    assert [row["num_samples"] for row in numbers["rows"]] == [COUNT, COUNT]
    assert [row["accuracy"] for row in numbers["rows"]] == [1.0, pytest.approx(5 / 6, abs=1e-6)]
    (difference,) = numbers["differences"]
    assert difference["num_samples"] == COUNT - 2 and difference["mean"] == 0.0
    ids = set(read.samples["sample"])
    assert {name[:4] for name in ids if "(" in name} == {"s000", "s001"} and len(ids) == COUNT + 2


def test_the_board_says_how_many_and_of_which_task(folder):
    (note,) = content_notes(read_logs([folder]).conflicts)
    assert note.startswith("world-1x, version v1: 2 samples ask or expect other things")


def test_equal_samples_keep_their_ids(folder):
    read = read_logs([folder / "base"])
    assert read.conflicts == () and set(read.samples["sample"]) == {f"s00{n}" for n in range(COUNT)}


def test_of_two_logs_of_one_evaluation_with_other_contents_the_reason_says_it(
    folder, run_log, tmp_path
):
    shutil.copytree(folder / "base", tmp_path / "first")
    time.sleep(1.1)  # logs say when they were made in whole seconds
    changed = samples(COUNT)
    changed[0].target = "Nowhere"
    run_log(tmp_path / "second", "base", 1.0, dataset=changed)
    (left_out,) = read_logs([tmp_path]).skipped
    assert left_out.place.startswith("first/")
    assert "a newer log of the same evaluation asks or expects other things" in left_out.reason
