"""Rows of logs, kept as Parquet so that a board reads only what is new.

One folder per log, named by the hash of its path, with one entry, named by what the log looked like
(size and time, or what a URL's server says) and by the version of the readers. An entry is written
beside its place and renamed, so that it is whole or not there, whoever else builds a board and
whenever a build is killed. Whatever is wrong with an entry, the log itself is read again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import platformdirs
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from longspan.leaderboards.pruning import ENTRY, PARTIAL, note_use, prune
from longspan.leaderboards.rows import SCHEMA, Run

CACHE_VARIABLE = "LONGSPAN_CACHE"
READERS = (
    *("longspan.leaderboards.inspect_logs", "longspan.leaderboards.inspect_samples"),
    *("longspan.leaderboards.lm_eval", "longspan.leaderboards.rows", "longspan.leaderboards.cache"),
    *("longspan.harness.scoring.validity", "longspan.harness.scoring.rules"),
)
"""Modules that decide what a row holds; they are not imported for a look at their text."""
_KEY = b"longspan"
_DIGEST = b"longspan-digest"


@dataclass(frozen=True)
class Part:
    """One run of a file with its rows, or why it is left out."""

    name: str
    """File that the run stands in: the log, or the samples of one task."""
    run: Run | None
    table: pa.Table
    reason: str | None = None


class RowCache:
    """The entries below a folder; never an error, at worst a log that is read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._complained = False

    def has(self, path: str, stamp: str) -> bool:
        """Returns whether there is an entry of a file that looked like this."""
        return self._entry(path, stamp).is_file()

    def get(self, path: str, stamp: str) -> list[Part] | None:
        """Returns what was kept of a file that looked like this; None where nothing usable was."""
        try:
            # Not `read_table`: it imports what it needs for folders of files, and starts threads.
            entry = self._entry(path, stamp)
            file = pq.ParquetFile(entry, page_checksum_verification=True)
            parts = _parts(file.read(use_threads=False))
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file raises what its reader pleases
            return None
        note_use(entry)
        return parts

    def put(self, path: str, stamp: str, parts: Sequence[Part]) -> None:
        """Keeps what a file holds, in place of what was kept of it before."""
        entry = self._entry(path, stamp)
        try:
            try:
                _write(parts, entry)
            except FileNotFoundError:  # another process has pruned the folder just now
                _write(parts, entry)
            for other in entry.parent.glob(f"*{ENTRY}"):
                if other != entry:
                    other.unlink(missing_ok=True)
        except OSError as error:
            if not self._complained:
                print(
                    f"rows are not kept: {error.strerror or error} ({self.folder}); set "
                    f"{CACHE_VARIABLE} to another folder, or pass --no-cache",
                    file=sys.stderr,
                )
            self._complained = True

    def prune(self) -> None:
        """Removes what was not used for long."""
        prune(self.folder)

    def _entry(self, path: str, stamp: str) -> Path:
        folder = hashlib.sha256(path.encode("utf-8", "replace")).hexdigest()[:32]
        name = hashlib.sha256(f"{stamp}/{reader_version()}".encode()).hexdigest()[:32]
        return self.folder / folder / (name + ENTRY)


def default_cache() -> RowCache:
    """Returns the cache in LONGSPAN_CACHE, or in the user's folder for caches."""
    given = os.environ.get(CACHE_VARIABLE)
    folder = Path(given).expanduser() if given else platformdirs.user_cache_path("longspan")
    return RowCache(folder / "board")


@functools.cache
def reader_version() -> str:
    """Returns what entries depend on beside the log: our code that reads it, and Inspect's."""
    digest = hashlib.sha256(version("inspect_ai").encode())
    for name in READERS:
        found = find_spec(name)
        if found is not None and found.origin:
            digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()


def _write(parts: Sequence[Part], entry: Path) -> None:
    partial = entry.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
    entry.parent.mkdir(parents=True, exist_ok=True)
    try:
        pq.write_table(_table(parts), partial, compression="zstd", write_page_checksum=True)
        os.replace(partial, entry)
    finally:
        partial.unlink(missing_ok=True)


def _table(parts: Sequence[Part]) -> pa.Table:
    facts = [
        {
            "name": part.name,
            "run": None if part.run is None else part.run.to_json(),
            "reason": part.reason,
            "num_rows": part.table.num_rows,
        }
        for part in parts
    ]
    text = json.dumps(facts).encode()
    metadata = {_KEY: text, _DIGEST: hashlib.sha256(text).hexdigest()}
    tables = [part.table for part in parts] or [SCHEMA.empty_table()]
    return pa.concat_tables(tables).replace_schema_metadata(metadata)


def _parts(table: pa.Table) -> list[Part]:
    """Returns what `_table` was made of.

    Raises:
        Exception: of any kind, where it was made of something else.
    """
    metadata = table.schema.metadata
    text = metadata[_KEY]
    if hashlib.sha256(text).hexdigest().encode() != metadata[_DIGEST]:
        raise ValueError("damaged")
    table = table.replace_schema_metadata(None)
    if table.schema != SCHEMA:
        raise ValueError("another schema")
    parts, start = [], 0
    for one in json.loads(text):
        run = None if one["run"] is None else Run.from_json(one["run"])
        rows = table.slice(start, one["num_rows"])
        parts.append(Part(one["name"], run, rows, one["reason"]))
        start += one["num_rows"]
    if start != table.num_rows:
        raise ValueError("rows are missing")
    return parts
