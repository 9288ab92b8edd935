"""The folder of a board: its files are replaced together, and files of others in it stay.

The files that a board has written stand in a list beside them. Only those are replaced or removed
by the next one. A board is first written into a folder of its own inside, which takes all the room
that it needs; then its files change places with those before. A failure at any time puts the files
before back. A process that is killed between two of these moves leaves a mixture, which the next
board mends: the list names old and new files then.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from longspan.harness.errors import BoardError

FILES = "board-files.json"
"""The list of a board's files."""
PAGE = "index.html"
_STAGING = ".board-partial-"
_NAME = re.compile(r"(plots/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What a board calls its files; a list that names others was not written by one."""
ABANDONED_SECONDS = 86_400
"""Age from which on a folder that a board was to be written into is nobody's any more."""


def require_replaceable(out: Path) -> None:
    """Raises BoardError where a folder holds files and none of them are a board's."""
    if not out.exists():
        return
    if not out.is_dir():
        raise BoardError(f"{out} is a file; choose another --out")
    others = [path for path in out.iterdir() if not path.name.startswith(_STAGING)]
    if others and _listed(out) is None:
        raise BoardError(
            f"{out} holds other files than a board ({min(path.name for path in others)}); choose "
            "another --out or empty it"
        )


@contextmanager
def published(out: Path) -> Iterator[Path]:
    """Gives a folder to write a board's files to, which then replace those of the board before.

    Whatever fails, the board before stays, and nothing else is left. Of boards that are published
    at the same time the last one stays, whole.

    Raises:
        BoardError: the folder holds something else, or a file of the same name.
    """
    require_replaceable(out)
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    staging = out / f"{_STAGING}{uuid.uuid4().hex}"
    new = staging / "new"
    try:
        new.mkdir(parents=True)
        yield new
        with _locked(out):
            _exchange(new, staging / "old", out)
            _remove_abandoned(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            with suppress(OSError):  # it is not empty: the board is there
                out.rmdir()


def _exchange(new: Path, old: Path, out: Path) -> None:
    """Moves the files of a board into its folder, and those of the board before out of it.

    Args:
        new: Where the files are.
        old: Where those of the board before go.
        out: The board's folder.
    """
    written = sorted(
        (path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()),
        key=lambda name: (name == PAGE, name),  # the page last: what it refers to is there then
    )
    replaced = _listed(out) or []
    _require_ours(out, written, replaced)
    # Written before anything moves, since there may be no room later.
    lists = {
        "before": _write_list(old.with_name("before.json"), replaced),
        "both": _write_list(old.with_name("both.json"), sorted({*replaced, *written})),
        "after": _write_list(old.with_name("after.json"), written),
    }
    with ExitStack() as undo:
        if replaced:
            undo.callback(lists["before"].replace, out / FILES)
        else:
            undo.callback((out / FILES).unlink, missing_ok=True)
        lists["both"].replace(out / FILES)
        for name in written:
            if name in replaced:
                _move(out / name, old / name, undo.callback)
            _move(new / name, out / name, undo.callback)
        for name in replaced:
            if name not in written:
                _move(out / name, old / name, undo.callback)
        lists["after"].replace(out / FILES)
        undo.pop_all()
    for folder in {(out / name).parent for name in replaced} - {out}:
        with suppress(OSError):  # there are files in it
            folder.rmdir()


def _require_ours(out: Path, written: Sequence[str], replaced: Sequence[str]) -> None:
    """Raises BoardError where a file of another would be overwritten, or a folder moved away."""
    for name in (*written, *replaced):
        path = out / name
        if path.is_dir() or (name not in replaced and os.path.lexists(path)):
            raise BoardError(
                f"{path} was not written by a board and would be overwritten; move it away, or "
                "choose another --out"
            )


def _move(source: Path, target: Path, undo: Callable[..., object]) -> None:
    """Moves a file that may be missing to where none is; `undo` takes what moves it back."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        source.rename(target)
        undo(target.rename, source)


def _write_list(path: Path, names: Sequence[str]) -> Path:
    path.write_text(json.dumps({"files": list(names)}, indent=1) + "\n", encoding="utf-8")
    return path


def _listed(out: Path) -> list[str] | None:
    """Returns the files that a board has written into a folder; None where none has."""
    try:
        names = json.loads((out / FILES).read_text(encoding="utf-8"))["files"]
        known = [name for name in names if _NAME.fullmatch(name)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if len(known) == len(names) else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder against other boards; some file systems cannot, and then nothing does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(out: Path) -> None:
    """Removes what killed processes have left."""
    for path in out.glob(f"{_STAGING}*"):
        with suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
