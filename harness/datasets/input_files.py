"""Finding and opening the files of an input folder, none of which is trusted.

Only regular files inside the folder are opened: links that leave it, loops, devices, pipes and
sockets are reported and never opened. What is read is bounded, compressed or not. Hidden files and
`__pycache__` are passed over without a word.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from longspan.harness.errors import DataError, one_line
from longspan.harness.files import Problem

BLOCK_BYTES = 1 << 20
MAX_EXPANSION = 200
"""Bytes that one compressed byte may become; beyond a first allowance it is a bomb."""
EXPANSION_ALLOWANCE_BYTES = 8 << 20
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file below an input folder.

    Attributes:
        path: Where it is, links followed.
        parts: Its path relative to the folder, in parts; the name alone for a lone file.
        place: The relative path for messages: printable, one line.
    """

    path: Path
    parts: tuple[str, ...]
    place: str

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return self.parts[-1]


class UnreadableError(Exception):
    """A file is left out; the message is the reason."""


def find_files(root: Path) -> tuple[list[InputFile], list[Problem]]:
    """Returns the files of a folder and its subfolders in the order of names, and what is not read.

    A lone file is its own only file. A link to a file inside the folder is that file.

    Raises:
        DataError: the folder is missing or cannot be listed.
    """
    try:
        root = root.resolve(strict=True)
        if not root.is_dir():
            return [InputFile(root, (root.name,), printable(root.name))], []
        os.listdir(root)
    except (OSError, RuntimeError, ValueError) as error:
        # ValueError: a NUL in the path.
        fallback = "its links form a loop" if isinstance(error, RuntimeError) else str(error)
        reason = getattr(error, "strerror", None) or fallback
        name = one_line(printable(str(root)), 200)
        raise DataError(f"no documents at {name}: {reason}; check the path") from error
    files: list[InputFile] = []
    problems: list[Problem] = []
    pending: list[tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        try:
            with os.scandir(root.joinpath(*parts)) as entries:
                found = [e for e in entries if not e.name.startswith(".")]
        except OSError as error:
            problems.append(Problem(printable("/".join(parts)), f"not listed: {error.strerror}"))
            continue
        for entry in found:
            below = (*parts, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    pending.append(below)
                continue
            place = printable("/".join(below))
            reason = _refusal(entry, root)
            if reason:
                problems.append(Problem(place, reason))
            else:
                path = Path(entry.path)
                files.append(
                    InputFile(path.resolve() if entry.is_symlink() else path, below, place)
                )
    files.sort(key=lambda file: file.parts)
    problems.sort(key=lambda problem: problem.place)
    return files, problems


def printable(name: str) -> str:
    """Returns a name in one line: what cannot be printed, or is no Unicode, as an escape."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)


@contextmanager
def opened(file: InputFile) -> Iterator[IO[bytes]]:
    """Gives the open file, decompressed where its name ends in ".gz".

    Raises:
        UnreadableError: it is no regular file, cannot be opened, or its compression is damaged.
    """
    try:
        # What was a regular file when it was listed may be a pipe or a link by now.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(file.path, flags)
        with os.fdopen(handle, "rb") as raw:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UnreadableError("not a regular file")
            if not file.name.lower().endswith(".gz"):
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as decompressed:
                yield _Bounded(decompressed, raw)  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableError(f"damaged gzip file: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error


def read_bytes(file: InputFile, max_bytes: int) -> bytes:
    """Returns the content of a file, decompressed.

    Raises:
        UnreadableError: it cannot be read, or is larger.
    """
    with opened(file) as source:
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UnreadableError(f"larger than {size_text(max_bytes)}: split it, or raise the limit")
    return data


def size_text(num_bytes: int) -> str:
    """Returns a number of bytes for people."""
    return f"{num_bytes / (1 << 20):g} MiB"


class _Bounded:
    """A decompressed stream that refuses to expand without end."""

    def __init__(self, source: gzip.GzipFile, raw: IO[bytes]) -> None:
        self._source, self._raw, self._num_read = source, raw, 0

    def read(self, size: int) -> bytes:
        # In blocks, so that a bomb is noticed before all of it is in memory.
        blocks: list[bytes] = []
        while size > 0 and (block := self._source.read(min(size, BLOCK_BYTES))):
            self._count(block)
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def _count(self, data: bytes) -> None:
        self._num_read += len(data)
        limit = EXPANSION_ALLOWANCE_BYTES + MAX_EXPANSION * self._raw.tell()
        if self._num_read > limit:
            raise UnreadableError(f"expands more than {MAX_EXPANSION}-fold: not read any further")


def _refusal(entry: os.DirEntry[str], root: Path) -> str | None:
    """Returns why an entry that is no folder is not read."""
    try:
        if entry.is_symlink():
            target = Path(entry.path).resolve(strict=True)
            if not target.is_relative_to(root):
                return "a link that leaves the folder"
            if target.is_dir():
                return "a link to a folder"
        mode = entry.stat().st_mode
    except (OSError, RuntimeError):
        return "a broken or circular link" if entry.is_symlink() else "cannot be read"
    if stat.S_ISREG(mode):
        return None
    return f"{_KINDS.get(stat.S_IFMT(mode), 'a special file')}, not a regular file"
