"""A board that follows a run: what makes it build, what makes it write, how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from longspan.leaderboards import watch
from longspan.leaderboards.site import board_command
from tests.full_disk import full_disk


@pytest.fixture(scope="module")
def logs(run_log: Callable, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("logs")
    for name in ("first", "second"):
        run_log(folder / name, name, 0.5, count=4)
    return sorted(folder.rglob("*.eval"), key=lambda path: path.parent.name)


def follow(steps: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch, logs: Path, out: Path):
    """Watches a folder; instead of waiting it takes the next step, after the last Ctrl-C."""
    waiting = iter(steps)

    def wait(_: float) -> None:
        step = next(waiting, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(watch.time, "sleep", wait)
    board_command(logs=[logs], out=out, watch=True, every=2)


def test_it_builds_when_a_log_comes_and_writes_nothing_otherwise(
    logs, tmp_path, monkeypatch, capsys
):
    folder, out = tmp_path / "logs", tmp_path / "site"
    folder.mkdir()
    written: list[int] = []

    def note() -> None:
        written.append((out / "index.html").stat().st_mtime_ns)  # inodes are used again

    whole = logs[1].read_bytes()
    follow(
        [
            lambda: (folder / "a.eval").write_bytes(logs[0].read_bytes()[:500]) and None,
            lambda: shutil.copy(logs[0], folder / "a.eval") and None,
            note,
            note,
            lambda: (folder / "b.eval").write_bytes(whole[: len(whole) // 2]) and None,
            lambda: (folder / "b.eval").write_bytes(whole) and None,
            note,
        ],
        monkeypatch,
        folder,
        out,
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["waiting", "waiting"]
    assert ["1 logs" in line for line in lines[2:4]] == [True, True], "alone, then with half of b"
    assert "2 logs" in lines[4] and lines[5:] == ["stopped watching"]
    assert written[0] == written[1] != written[2]
    board = json.loads((out / "board.json").read_text("utf-8"))
    assert board["refresh_seconds"] == 2 and board["skipped"] == []


def test_a_log_that_is_only_touched_rewrites_nothing(logs, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "logs"
    folder.mkdir()
    shutil.copy(logs[0], folder / "a.eval")
    follow([lambda: (folder / "a.eval").touch()], monkeypatch, folder, tmp_path / "site")
    assert capsys.readouterr().out.count("board:") == 1


def test_it_goes_on_when_a_full_disk_has_room_again(logs, tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "logs", tmp_path / "site"
    folder.mkdir()
    shutil.copy(logs[0], folder / "a.eval")
    with ExitStack() as disk:

        def fill() -> None:
            shutil.copy(logs[1], folder / "b.eval")
            disk.enter_context(full_disk(8_000))

        follow([fill, lambda: None, disk.close], monkeypatch, folder, out)
    lines = capsys.readouterr().out.splitlines()
    assert "1 logs" in lines[0] and "2 logs" in lines[2]
    assert lines[1].startswith("waiting: File too large") and str(out) in lines[1]
    assert lines[3:] == ["stopped watching"]


def test_a_board_that_is_not_watched_does_not_refresh(logs, tmp_path):
    board_command(logs=logs, out=tmp_path / "site")
    assert "refresh_seconds" not in json.loads((tmp_path / "site/board.json").read_text("utf-8"))
