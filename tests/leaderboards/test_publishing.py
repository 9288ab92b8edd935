"""A board's folder: files are replaced together or not at all, and files of others stay."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from longspan.harness.errors import BoardError
from longspan.leaderboards import publishing
from longspan.leaderboards.publishing import FILES, published, require_replaceable

FIRST = {"index.html": "1", "board.csv": "1", "plots/a.svg": "1", "plots/only-first.svg": "1"}
SECOND = {"index.html": "2", "board.csv": "2", "plots/a.svg": "2", "only-second.js": "2"}


def publish(out: Path, files: dict[str, str]) -> None:
    with published(out) as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def content(out: Path) -> dict[str, str]:
    """Returns the files of a folder, without the list."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != FILES]
    return {path.relative_to(out).as_posix(): path.read_text() for path in paths}


@contextmanager
def moves(on: int, act) -> Iterator[list[int]]:
    """Acts instead of the so-manieth move; yields the numbers of the moves that were made."""
    made: list[int] = []
    rename, replace = Path.rename, Path.replace

    def count(move):
        def counted(self, target):
            made.append(len(made))
            if len(made) - 1 == on:
                act()
            return move(self, target)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", count(rename))
        patch.setattr(Path, "replace", count(replace))
        yield made


def num_moves(out: Path) -> int:
    publish(out, FIRST)
    with moves(-1, None) as made:
        publish(out, SECOND)
    return len(made)


def test_a_board_replaces_the_one_before_and_leaves_files_of_others(tmp_path: Path):
    out = tmp_path / "site"
    publish(out, FIRST)
    (out / "CNAME").write_text("example.org")
    (out / "plots" / "mine.png").write_text("drawn by hand")
    publish(out, SECOND)
    mine = {"CNAME": "example.org", "plots/mine.png": "drawn by hand"}
    assert content(out) == SECOND | mine
    publish(out, FIRST)
    assert content(out) == FIRST | mine
    assert json.loads((out / FILES).read_text())["files"] == sorted(
        FIRST, key=lambda name: (name == "index.html", name)
    )


def test_a_failure_at_any_move_leaves_the_board_before(tmp_path: Path):
    def fail() -> None:
        raise OSError(28, "No space left on device")

    for number in range(num_moves(tmp_path / "count")):
        out = tmp_path / f"{number}"
        publish(out, FIRST)
        before = (out / FILES).read_bytes()
        with moves(number, fail), pytest.raises(OSError, match="No space"):
            publish(out, SECOND)
        assert content(out) == FIRST and (out / FILES).read_bytes() == before
        publish(out, SECOND)
        assert content(out) == SECOND


def test_the_next_board_mends_what_a_killed_process_left_at_any_move(tmp_path: Path):
    def killed(out: Path, number: int) -> None:
        with moves(number, lambda: os._exit(9)):
            publish(out, SECOND)

    for number in range(num_moves(tmp_path / "count")):
        out = tmp_path / f"{number}"
        publish(out, FIRST)
        (out / "mine.txt").write_text("mine")
        process = multiprocessing.get_context("fork").Process(target=killed, args=(out, number))
        process.start()
        process.join()
        assert process.exitcode == 9
        for path in out.glob(".board-partial-*"):
            os.utime(path, (0, 0))
        publish(out, FIRST)
        assert content(out) == FIRST | {"mine.txt": "mine"}, number


def test_what_another_process_writes_now_is_not_removed(tmp_path: Path):
    with published(tmp_path) as slow:
        (slow / "index.html").write_text("slow")
        publish(tmp_path, FIRST)
    assert content(tmp_path) == {"index.html": "slow"}


def test_boards_that_are_published_at_once_are_whole(tmp_path: Path):
    def often(letter: str) -> None:
        for _ in range(20):
            publish(tmp_path / "site", {f"{number}.txt": letter for number in range(10)})

    threads = [threading.Thread(target=often, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = content(tmp_path / "site")
    assert len(found) == 10 and len(set(found.values())) == 1


def test_a_folder_without_a_board_and_a_file_are_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BoardError, match=r"holds other files than a board \(thesis.tex\)"):
        require_replaceable(tmp_path)
    with pytest.raises(BoardError, match="is a file"):
        require_replaceable(tmp_path / "thesis.tex")


@pytest.mark.parametrize("text", ['{"files": ["../thesis.tex"]}', '{"files": ["/etc/x"]}', "[", ""])
def test_a_list_that_no_board_has_written_is_not_believed(tmp_path: Path, text: str):
    (tmp_path / FILES).write_text(text)
    with pytest.raises(BoardError, match="holds other files"):
        require_replaceable(tmp_path)


def test_a_file_or_folder_of_the_same_name_is_not_overwritten(tmp_path: Path):
    publish(tmp_path, FIRST)
    (tmp_path / "only-second.js").write_text("mine")
    with pytest.raises(BoardError, match="only-second.js was not written by a board"):
        publish(tmp_path, SECOND)
    assert content(tmp_path) == FIRST | {"only-second.js": "mine"}
    (tmp_path / "only-second.js").unlink()
    (tmp_path / "board.csv").unlink()
    (tmp_path / "board.csv").mkdir()
    with pytest.raises(BoardError, match="board.csv was not written by a board"):
        publish(tmp_path, SECOND)


def test_a_folder_that_was_made_for_a_board_that_failed_is_removed(tmp_path: Path):
    with pytest.raises(RuntimeError), published(tmp_path / "a" / "site"):
        raise RuntimeError("it failed")
    assert not (tmp_path / "a" / "site").exists()


def test_a_file_system_without_locks_takes_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(publishing.fcntl, "flock", refuse)
    publish(tmp_path / "site", FIRST)
    assert content(tmp_path / "site") == FIRST
