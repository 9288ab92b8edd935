"""What is removed of the kept rows, so that they do not grow for ever: what was not used for long.

An entry's time is that of its last use. Any number of processes may prune, read and write at the
same time: an entry that is removed while another wants it is read from its log again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MAX_UNUSED_SECONDS = 90 * 86_400
MAX_BYTES = 1_000_000_000
"""Of all entries; those of the last day stay even if they are more."""
DAY = 86_400
"""Seconds between two times of pruning, and the age from which on what was begun is abandoned."""
USE_SECONDS = 3_600
"""A use is noted where the last one that was noted is so long ago."""
ENTRY, PARTIAL = ".parquet", ".partial"
_PRUNED = "pruned"
"""File whose time is that of the last pruning."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    unused_seconds: float


def note_use(entry: Path) -> None:
    """Notes that an entry is used now; a folder that cannot be written to stays as it is."""
    with suppress(OSError):
        if time.time() - entry.stat().st_mtime > USE_SECONDS:
            os.utime(entry)


def prune(folder: Path) -> None:
    """Removes what was not used for long from a folder of folders of entries, once a day."""
    with suppress(OSError):
        mark = folder / _PRUNED
        if mark.exists() and time.time() - mark.stat().st_mtime < DAY:
            return
        mark.touch()
        _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    files = sorted(_files(folder), key=lambda one: one.unused_seconds, reverse=True)
    total = sum(one.size for one in files)
    for one in files:
        abandoned = one.path.suffix == PARTIAL and one.unused_seconds > DAY
        unused = one.unused_seconds > MAX_UNUSED_SECONDS
        too_much = total > MAX_BYTES and one.unused_seconds > DAY
        if abandoned or unused or too_much:
            with suppress(OSError):
                one.path.unlink(missing_ok=True)
                total -= one.size
                one.path.parent.rmdir()  # fails where there is something else in it


def _files(folder: Path) -> Iterator[_File]:
    """Yields the entries, and what was begun of some."""
    now = time.time()
    for path in (*folder.glob(f"*/*{ENTRY}"), *folder.glob(f"*/.*{PARTIAL}")):
        with suppress(OSError):  # another process has removed it
            facts = path.stat()
            yield _File(path, facts.st_size, now - facts.st_mtime)
