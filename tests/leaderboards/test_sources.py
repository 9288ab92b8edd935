"""Where logs may be, and what is said of files that are none."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from inspect_ai.log import read_eval_log, write_eval_log

from longspan.harness.errors import BoardError
from longspan.leaderboards import inspect_logs
from longspan.leaderboards.cache import RowCache
from longspan.leaderboards.compare import compare_command
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.site import board_command
from longspan.leaderboards.views import build_board

RECORDED = Path(__file__).parent / "lm_eval"


@pytest.fixture(scope="module")
def folder(run_log: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    run_log(path / "a", "nano", 0.3, count=6)
    run_log(path / "b", "trained", 0.8, count=6)
    return path


def log_of(folder: Path) -> Path:
    (path,) = folder.glob("*.eval")
    return path


@pytest.fixture
def bucket(folder: Path):
    """Returns the URL of a folder that holds the logs and files of lm-eval."""
    files = fsspec.filesystem("memory")
    for source in (folder, RECORDED):
        files.put(str(source), f"/bucket/{source.name}", recursive=True)
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def test_a_folder_a_file_a_pattern_and_an_address_give_the_same_rows(folder, bucket):
    expected = read_logs([folder])
    for given in (
        [str(folder)],
        [log_of(folder / "a"), str(log_of(folder / "b"))],
        [f"{folder}/*/*.eval"],
        [f"{folder}/**/*.eval"],
        [f"{folder}/[ab]"],
        [f"file://{folder}"],
        [f"{bucket}/{folder.name}"],
        [f"{bucket}/{folder.name}/*/*.eval"],
    ):
        read = read_logs(given)
        assert (read.runs, read.skipped) == (expected.runs, ()), given
        assert read.samples.equals(expected.samples), given


def test_what_lies_behind_an_address_is_kept_while_it_does_not_change(bucket, tmp_path):
    cache = RowCache(tmp_path)
    first = read_logs([bucket], cache)
    assert len(first.runs) == 6, "two of Inspect, four of lm-eval"
    num_entries = len(list(tmp_path.rglob("*.parquet")))
    again = read_logs([bucket], cache)
    assert num_entries == 6 and again.runs == first.runs and again.samples.equals(first.samples)


def test_a_json_log_is_read_and_other_json_is_left_alone(folder, tmp_path):
    write_eval_log(read_eval_log(str(log_of(folder / "a"))), str(tmp_path / "log.json"))
    # The headers of an eval set, as Inspect lists them beside its logs.
    header = '{"version": 2, "status": "success", "eval": {}}'
    (tmp_path / "logs.json").write_text(f'{{"a.eval": {header}}}')
    read = read_logs([tmp_path])
    expected = read_logs([folder / "a"])
    assert len(read.runs) == 1 and read.skipped == ()
    assert list(read.samples["value"]) == list(expected.samples["value"])


def test_commands_take_patterns(folder, tmp_path, capsys):
    board_command(logs=[f"{folder}/*"], out=tmp_path / "site")
    compare_command(logs=[f"{folder}/*"], a="trained", b="nano")
    assert "trained minus nano" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nowhere", "no such log or folder"),
        ("no*where/*.eval", "no file matches"),
        ("memory://nowhere/at/all", "no such log or folder"),
        ("gs://bucket/logs", "gcsfs"),
        ("spam://bucket/logs", "cannot open spam://bucket/logs"),
    ],
)
def test_what_cannot_be_opened_is_one_line(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BoardError, match=says) as caught:
        read_logs([given])
    assert "\n" not in str(caught.value) and given in str(caught.value)


def test_an_empty_folder_is_no_board_and_says_what_to_do(tmp_path):
    with pytest.raises(BoardError, match="run `longspan eval`"):
        build_board(read_logs([tmp_path]))


def test_every_file_that_is_no_log_has_its_reason_and_the_board_has_the_rest(
    folder, tmp_path, monkeypatch
):
    whole = log_of(folder / "a")
    shutil.copy(whole, tmp_path / "good.eval")
    (tmp_path / "cut.eval").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "empty.eval").write_bytes(b"")
    (tmp_path / "foreign.eval").write_text("not a log")
    (tmp_path / "folder.eval").mkdir()
    (tmp_path / "gone.eval").symlink_to(tmp_path / "nothing")
    shutil.copy(whole, tmp_path / "locked.eval")
    really = inspect_logs.read_eval_log

    def locked(path: str, **options):  # root may read anything, so permissions cannot be tested
        if path.endswith("locked.eval"):
            raise PermissionError(13, "Permission denied", path)
        return really(path, **options)

    monkeypatch.setattr(inspect_logs, "read_eval_log", locked)
    read = read_logs([tmp_path])
    reasons = {problem.place: problem.reason for problem in read.skipped}
    assert {name: reason.split("(")[1][:12] for name, reason in reasons.items()} == {
        "cut.eval": reasons["cut.eval"].split("(")[1][:12],
        "empty.eval": "it is empty)",
        "folder.eval": "it is a fold",
        "foreign.eval": reasons["foreign.eval"].split("(")[1][:12],
        "gone.eval": "a link to no",
        "locked.eval": "Permission d",
    }
    assert all("\n" not in reason for reason in reasons.values())
    assert len(build_board(read)["numbers"]["rows"]) == 1


def test_a_log_that_cannot_be_read_now_is_tried_again(folder, tmp_path, monkeypatch):
    cache = RowCache(tmp_path)

    def locked(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(inspect_logs, "read_eval_log", locked)
        assert read_logs([folder], cache).runs == ()
    assert len(read_logs([folder], cache).runs) == 2


def test_a_log_that_still_runs_is_left_out_with_that_reason(folder, tmp_path):
    log = read_eval_log(str(log_of(folder / "a")))
    log.status = "started"
    write_eval_log(log, str(tmp_path / "now.eval"))
    (problem,) = read_logs([tmp_path]).skipped
    assert problem.reason == "not finished: status started (it still runs, or was killed)"


def test_a_score_that_is_no_number_is_missing_and_not_zero(folder, tmp_path):
    log = read_eval_log(str(log_of(folder / "a")))
    for sample in (log.samples or [])[:2]:
        next(iter((sample.scores or {}).values())).value = math.nan
    write_eval_log(log, str(tmp_path / "nan.eval"))
    read = read_logs([tmp_path])
    assert list(read.samples["value"].isna())[:3] == [True, True, False]
    assert list(read.samples["validity"])[:2] == ["scorer_failed"] * 2
    (row,) = build_board(read)["numbers"]["rows"]
    assert row["num_samples"] == 4 and row["coverage"] == pytest.approx(4 / 6, abs=1e-6)


def test_a_task_with_one_sample_makes_a_board(run_log, tmp_path):
    for checkpoint in ("a", "b"):
        run_log(tmp_path / "logs" / checkpoint, checkpoint, 1.0, count=1)
    board_command(logs=[tmp_path / "logs"], out=tmp_path / "site", baseline="a")
    assert (tmp_path / "site" / "index.html").is_file()


def test_of_a_trial_on_few_samples_and_a_run_on_all_the_latter_counts(run_log, tmp_path):
    run_log(tmp_path / "all", "nano", 0.5, count=12)
    run_log(tmp_path / "trial", "nano", 0.5, count=3)
    read = read_logs([tmp_path])
    (left_out,) = read.skipped
    assert len(read.samples) == 12 and left_out.place.startswith("trial/")
    assert "has other samples, and not fewer: all/" in left_out.reason


def test_a_log_that_is_given_by_two_names_counts_once(folder):
    path = log_of(folder / "a")
    again = os.path.relpath(path)
    read = read_logs([path, again, folder / "a", f"{folder}/a/*.eval"])
    assert len(read.runs) == 1 and read.skipped == ()
