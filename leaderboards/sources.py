"""Where logs are: files, folders and patterns, here or behind any URL that fsspec opens.

A source is one file that a reader understands: a log of Inspect, or a results file of lm-eval with
its samples beside it. This module opens no log but to see whether a `.json` is one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longspan.harness.errors import BoardError, LongspanError, describe, one_line
from longspan.harness.files import Problem
from longspan.harness.lm_eval.record import RECORD_FILE
from longspan.leaderboards.lm_eval import SAMPLES, find_lm_eval, is_results_file, results_time
from longspan.leaderboards.rows import SET_ASIDE

MAGIC = "*?["
_BEGINNING = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:')
SNIFFED_BYTES = 200
_CHANGES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems call the sign that a file is another one, besides its size."""


@dataclass(frozen=True)
class Source:
    """A file to read."""

    path: Path
    """Of a URL a `UPath`, which has the methods of a path."""
    place: str
    """How the page names it: by its path below the given folder."""

    @property
    def is_lm_eval(self) -> bool:
        """Whether it is a results file of lm-eval."""
        return is_results_file(self.path)

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine."""
        return isinstance(self.path, Path)

    def files(self) -> list[Path]:
        """Returns the file and those beside it that its reader needs."""
        if not self.is_lm_eval:
            return [self.path]
        time = results_time(self.path)
        beside = [
            path
            for path in self.path.parent.iterdir()
            if path.name == RECORD_FILE
            or ((match := SAMPLES.fullmatch(path.name)) and match["time"] == time)
        ]
        return [self.path, *sorted(beside, key=lambda path: path.name)]

    def stamp(self) -> str | None:
        """Returns what changes when the source does; None where its file system does not tell."""
        try:
            marks = [_mark(path) for path in self.files()]
        except Exception:  # file systems raise what they please; the reader will say it
            return None
        if None in marks:
            return None
        return hashlib.sha256(repr(marks).encode()).hexdigest()

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Yields the file on this machine: itself, or a copy that is removed afterwards."""
        if self.is_local:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            for path in self.files():
                with path.open("rb") as file, (Path(folder) / path.name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
            yield Path(folder) / self.path.name


def find_sources(given: Sequence[str | Path]) -> tuple[list[Source], list[Problem]]:
    """Returns the files to read, each once, and the files that are set aside or unfinished.

    Args:
        given: Files, folders (with everything below them), patterns, or URLs of such.

    Raises:
        BoardError: one of them is not there, or nothing can open it.
    """
    found: dict[str, Source] = {}
    problems: list[Problem] = []
    for one in given:
        try:
            for source in _below(one):
                if isinstance(source, Problem):
                    problems.append(source)
                else:
                    found.setdefault(_key(source.path), source)
        except LongspanError:
            raise
        except Exception as error:  # of any file system, or of a package that it lacks
            reason = one_line(describe(error) or str(error) or type(error).__name__, 200)
            raise BoardError(
                f"cannot open {one}: {reason}; check the address and what opens it"
            ) from error
    return list(found.values()), problems


def _key(path: Path) -> str:
    return str(path.resolve()) if isinstance(path, Path) else str(path)


def _below(given: str | Path) -> Iterator[Source | Problem]:
    start = _path(given)
    if any(character in str(given) for character in MAGIC) and not start.exists():
        base, pattern = _split(str(given))
        matches = sorted(base.glob(pattern), key=str) if base.exists() else []
        if not matches:
            raise BoardError(f"no file matches {given}; check the pattern, or give a folder")
        for match in matches:
            place = match.relative_to(base).as_posix()
            if match.is_file():
                yield Source(match, place)
            else:
                yield from _in_folder(match, place + "/")
    elif start.is_file():
        yield Source(start, start.name)
    elif start.is_dir():
        yield from _in_folder(start)
    else:
        raise BoardError(
            f"no such log or folder: {given}; give .eval files, results of lm-eval, or folders"
        )


def _path(given: str | Path) -> Path:
    if not isinstance(given, str) or "://" not in given:
        return Path(given)
    if given.startswith("file://"):
        return Path(given.removeprefix("file://"))
    from upath import UPath  # only for URLs; it brings all of fsspec

    return UPath(given)  # type: ignore[return-value]


def _split(pattern: str) -> tuple[Path, str]:
    """Returns the folder before the first wildcard, and the pattern below it."""
    first = min(pattern.find(character) for character in MAGIC if character in pattern)
    cut = pattern.rfind("/", 0, first) + 1
    return _path(pattern[:cut] or "."), pattern[cut:]


def _in_folder(folder: Path, prefix: str = "") -> Iterator[Source | Problem]:
    """Yields the logs below a folder, and what must be said of others."""
    for path in sorted(folder.rglob("*.eval*"), key=str):
        place = prefix + path.relative_to(folder).as_posix()
        if path.suffix in SET_ASIDE:
            yield Problem(place, f"set aside by `longspan eval` ({path.suffix[1:]})")
        elif path.suffix == ".eval":
            if path.is_file():
                yield Source(path, place)
            else:
                what = "it is a folder" if path.is_dir() else "a link to nothing"
                yield Problem(place, f"cannot be read as an Inspect log ({what})")
    for path in sorted(folder.rglob("*.json"), key=str):
        if not is_results_file(path) and _is_inspect_json(path):
            yield Source(path, prefix + path.relative_to(folder).as_posix())
    for path, reason in find_lm_eval(folder):
        place = prefix + path.relative_to(folder).as_posix()
        yield Source(path, place) if reason is None else Problem(place, reason)


def _is_inspect_json(path: Path) -> bool:
    """Returns whether a file begins as Inspect writes its logs.

    Other JSON lies about in folders of logs, the list of an eval set's headers among it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(SNIFFED_BYTES)
    except OSError:
        return False
    return _BEGINNING.match(start) is not None


def _mark(path: Path) -> Any:
    if isinstance(path, Path):
        facts = path.stat()
        return path.name, facts.st_size, facts.st_mtime_ns, facts.st_ino
    info = path.fs.info(path.path)
    changes = [str(info[name]) for name in _CHANGES if info.get(name) is not None]
    return (path.name, info.get("size"), changes) if changes else None
