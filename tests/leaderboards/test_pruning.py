"""Kept rows: what was not used for long goes, what is used stays, whoever else prunes or writes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from longspan.leaderboards import pruning
from longspan.leaderboards.cache import Part, RowCache
from longspan.leaderboards.pruning import DAY, MAX_UNUSED_SECONDS, USE_SECONDS, note_use, prune
from longspan.leaderboards.rows import to_table


def entry(folder: Path, name: str, unused_seconds: float, size: int = 10) -> Path:
    path = folder / name / f"{name}.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * size)
    age(path, unused_seconds)
    return path


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_what_was_not_used_for_long_is_removed_with_its_folder(tmp_path: Path):
    entry(tmp_path, "old", MAX_UNUSED_SECONDS + DAY)
    entry(tmp_path, "used", MAX_UNUSED_SECONDS - DAY)
    (tmp_path / "estimates-1.json").write_text("{}")
    prune(tmp_path)
    assert names(tmp_path) == {"used"}
    assert (tmp_path / "estimates-1.json").exists()


def test_of_too_much_the_longest_unused_goes_first_and_that_of_today_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for days in (1, 2, 3, 4):
        entry(tmp_path, f"{days}-days", days * DAY + 60)
    for number in range(3):
        entry(tmp_path, f"today-{number}", 60)
    monkeypatch.setattr(pruning, "MAX_BYTES", 50)
    prune(tmp_path)
    assert names(tmp_path) == {"today-0", "today-1", "today-2", "1-days", "2-days"}
    monkeypatch.setattr(pruning, "MAX_BYTES", 10)
    age(tmp_path / "pruned", 2 * DAY)
    prune(tmp_path)
    assert names(tmp_path) == {"today-0", "today-1", "today-2"}


def test_it_is_done_once_a_day(tmp_path: Path):
    prune(tmp_path)
    entry(tmp_path, "old", 2 * MAX_UNUSED_SECONDS)
    prune(tmp_path)
    assert names(tmp_path) == {"old"}
    age(tmp_path / "pruned", DAY + 60)
    prune(tmp_path)
    assert names(tmp_path) == set()


def test_what_a_killed_process_has_begun_goes_after_a_day(tmp_path: Path):
    entry(tmp_path, "log", 0)
    for name, seconds in ((".a.partial", 2 * DAY), (".b.partial", 60)):
        (tmp_path / "log" / name).write_bytes(b"half")
        age(tmp_path / "log" / name, seconds)
    prune(tmp_path)
    assert {path.name for path in (tmp_path / "log").iterdir()} == {".b.partial", "log.parquet"}


def test_a_use_makes_an_entry_young_again(tmp_path: Path):
    cache = RowCache(tmp_path)
    cache.put("log", "1", [Part("log", None, to_table([]), "no run")])
    (kept,) = tmp_path.rglob("*.parquet")
    age(kept, MAX_UNUSED_SECONDS + DAY)
    assert cache.get("log", "1") is not None
    prune(tmp_path)
    assert kept.exists()
    age(kept, USE_SECONDS / 2)
    before = kept.stat().st_mtime
    note_use(kept)
    assert kept.stat().st_mtime == before, "not at every look"


def test_entries_can_be_written_and_read_while_others_prune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pruning, "MAX_UNUSED_SECONDS", -1)
    monkeypatch.setattr(pruning, "DAY", -1)
    cache, part = RowCache(tmp_path), Part("log", None, to_table([{"sample": "s"}]), "no run")
    ended = threading.Event()

    def always() -> None:
        while not ended.is_set():
            prune(tmp_path)

    other = threading.Thread(target=always)
    other.start()
    try:
        for number in range(300):
            cache.put("log", "1", [part])
            found = cache.get("log", "1")
            assert found is None or found[0].table == part.table, number
    finally:
        ended.set()
        other.join()


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path):
    prune(tmp_path / "none")
    note_use(tmp_path / "none" / "x.parquet")
    assert not (tmp_path / "none").exists()
