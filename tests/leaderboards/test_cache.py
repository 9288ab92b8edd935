"""Rows that are kept: the same board, whole entries only, and nothing that is no longer true."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from longspan.leaderboards import cache as cache_module
from longspan.leaderboards import readers as readers_module
from longspan.leaderboards.cache import RowCache
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.site import board_command
from longspan.leaderboards.sources import Source


@pytest.fixture(scope="module")
def made(run_log: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    for checkpoint, accuracy in (("nano", 0.3), ("trained", 0.8)):
        run_log(folder / checkpoint, checkpoint, accuracy, count=12)
    run_log(folder / "agent", "nano", 0.5, count=6, windows=2, solver="memory_agent")
    shutil.copytree(Path(__file__).parent / "lm_eval", folder / "lm_eval")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "logs"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the list of files that were really read, which grows."""
    names: list[str] = []
    really = readers_module.read_source

    def note(source: Source):
        names.append(source.place)
        return really(source)

    monkeypatch.setattr(readers_module, "read_source", note)
    return names


def entries(cache: RowCache) -> list[Path]:
    return sorted(cache.folder.rglob("*.parquet"))


def test_the_board_is_the_same_to_the_byte_with_a_full_an_empty_and_no_cache(folder, tmp_path):
    sites = [tmp_path / name for name in ("none", "empty", "full")]
    for site, no_cache in zip(sites, (True, False, False), strict=True):
        board_command(logs=[folder], out=site, baseline="trained", no_cache=no_cache)
    files = [path.relative_to(sites[0]) for path in sites[0].rglob("*") if path.is_file()]
    assert len(files) > 6
    for name in files:
        assert len({(site / name).read_bytes() for site in sites}) == 1, name


def test_a_board_that_a_log_is_added_to_is_that_of_all_logs(folder, tmp_path, run_log):
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    shutil.rmtree(folder / "lm_eval")
    board_command(logs=[folder], out=grown, baseline="trained")
    before = {path.name: path.read_bytes() for path in (grown / "plots").iterdir()}
    run_log(folder / "new", "nano", 0.5, count=12, windows=3)
    board_command(logs=[folder], out=grown, baseline="trained")
    board_command(logs=[folder], out=whole, baseline="trained", no_cache=True)
    files = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}
    assert files == {path.relative_to(grown) for path in grown.rglob("*") if path.is_file()}
    for name in files:
        assert (grown / name).read_bytes() == (whole / name).read_bytes(), name
    after = {path.name: path.read_bytes() for path in (grown / "plots").iterdir()}
    assert before["length.svg"] != after["length.svg"]
    assert before["kind.svg"] == after["kind.svg"]


def test_only_new_logs_are_read(folder, tmp_path, read, run_log):
    cache = RowCache(tmp_path / "cache")
    first = read_logs([folder], cache)
    assert len(read) == 7 and first.skipped == ()
    read.clear()
    assert read_logs([folder], cache).runs == first.runs and read == []
    run_log(folder / "new", "third", 0.5, count=4)
    assert len(read_logs([folder], cache).runs) == len(first.runs) + 1
    assert [Path(place).parent.name for place in read] == ["new"]


def test_a_log_that_changed_is_read_again_and_its_old_entry_is_gone(folder, tmp_path, read):
    cache = RowCache(tmp_path / "cache")
    (log,) = (folder / "nano").glob("*.eval")
    read_logs([log], cache)
    (before,) = entries(cache)
    os.utime(log, ns=(1, 1))
    read_logs([log], cache)
    (after,) = entries(cache)
    assert before != after and len(read) == 2


def test_other_readers_do_not_use_what_these_kept(folder, tmp_path, read, monkeypatch):
    cache = RowCache(tmp_path / "cache")
    (log,) = (folder / "nano").glob("*.eval")
    read_logs([log], cache)
    monkeypatch.setattr(cache_module, "reader_version", lambda: "another")
    read_logs([log], cache)
    assert len(read) == 2 and len(entries(cache)) == 1


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_built_again_in_silence(made, tmp_path, read, capsys, place, how):
    cache = RowCache(tmp_path / "cache")
    (log,) = (made / "nano").glob("*.eval")
    whole = read_logs([log], cache)
    (entry,) = entries(cache)
    data = bytearray(entry.read_bytes())
    at = min(int(place * len(data)), len(data) - 1)
    if how == "flip":
        data[at] ^= 0xFF
    entry.write_bytes({"cut": data[:at], "flip": data, "empty": b""}[how])
    again = read_logs([log], cache)
    assert again.runs == whole.runs and again.samples.equals(whole.samples)
    assert capsys.readouterr() == ("", "")
    if how != "flip":  # a flipped bit may lie where nothing is read
        assert len(read) == 2


def test_a_build_that_was_killed_while_keeping_leaves_no_entry(made, tmp_path, monkeypatch):
    cache = RowCache(tmp_path / "cache")
    (log,) = (made / "nano").glob("*.eval")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            read_logs([log], cache)
    assert entries(cache) == []
    assert len(read_logs([log], cache).runs) == 1 and len(entries(cache)) == 1


def test_several_builders_at_once_keep_whole_entries(made, tmp_path):
    cache = RowCache(tmp_path / "cache")
    results = []

    def build() -> None:
        results.extend(read_logs([made / "lm_eval"], cache).runs for _ in range(5))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20 and all(runs == results[0] for runs in results)
    assert not list(cache.folder.rglob("*.partial"))


def test_a_cache_that_cannot_be_written_costs_one_line_and_no_board(made, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    cache = RowCache(tmp_path / "file" / "below")
    assert len(read_logs([made], cache).runs) == 7
    assert capsys.readouterr().err.count("rows are not kept") == 1


def test_samples_that_come_after_their_results_are_seen(made, tmp_path):
    cache = RowCache(tmp_path / "cache")
    (run,) = (made / "lm_eval").glob("nano/world_answer-*")
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (samples,) = copy.glob("samples_*")
    samples.rename(tmp_path / "aside")
    assert read_logs([copy], cache).runs == ()
    (tmp_path / "aside").rename(samples)
    assert len(read_logs([copy], cache).runs) == 1
