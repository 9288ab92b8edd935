"""Files to runs: what was kept of each file, or what its reader finds in it now.

Reading goes on in other processes where there is much to read, and where Inspect, which takes a
second to import, is not here yet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from longspan.harness.errors import describe, one_line
from longspan.harness.files import Problem
from longspan.leaderboards.cache import Part, RowCache
from longspan.leaderboards.lm_eval import read_lm_eval
from longspan.leaderboards.rows import SCHEMA, Run, to_table
from longspan.leaderboards.sources import Source, find_sources
from longspan.leaderboards.workers import Workers

MIN_BYTES_TO_SHARE = 20_000_000
"""Fewer bytes of logs are read before other processes have started."""


@dataclass(frozen=True)
class Reading:
    """Files that are being read."""

    sources: tuple[Source, ...]
    skipped: tuple[Problem, ...]
    """Files that are set aside or unfinished."""
    num_new: int
    """Sources of which nothing is kept."""
    finish: Callable[[], list[list[Part]]]
    """Returns the runs of each source, once they are there; it is called once."""


def start_reading(paths: Sequence[str | Path], cache: RowCache | None, workers: Workers) -> Reading:
    """Starts to read logs, and returns at once.

    Args:
        paths: Files, folders with everything below them, patterns, or URLs of such.
        cache: Where rows are kept; None: every log is read.
        workers: Other processes.

    Raises:
        BoardError: a path does not exist, or a URL cannot be opened.
    """
    sources, skipped = find_sources(paths)
    stamps = [source.stamp() if cache else None for source in sources]
    new = [
        index
        for index, (source, stamp) in enumerate(zip(sources, stamps, strict=True))
        if not (cache and stamp and cache.has(_place(source), stamp))
    ]
    waits = dict(zip(new, _start([sources[index] for index in new], workers), strict=True))

    def parts_of(index: int) -> list[Part]:
        source, stamp, wait = sources[index], stamps[index], waits.get(index)
        kept = cache.get(_place(source), stamp) if cache and stamp and wait is None else None
        if kept is not None:
            return kept
        parts = read_source(source) if wait is None else wait()
        # A log without a run may be read otherwise next time: permissions, a net that was down.
        if cache and stamp and any(part.run for part in parts):
            cache.put(_place(source), stamp, parts)
        return parts

    def finish() -> list[list[Part]]:
        # What is kept first: others read the rest meanwhile.
        order = sorted(range(len(sources)), key=lambda index: index in waits)
        found = {index: parts_of(index) for index in order}
        if cache and new:
            cache.prune()
        return [found[index] for index in range(len(sources))]

    return Reading(tuple(sources), tuple(skipped), len(new), finish)


def read_source(source: Source) -> list[Part]:
    """Returns the runs of a file, each with its rows, or why it is left out."""
    from longspan.leaderboards.inspect_logs import read_inspect  # heavy; kept rows do not need it

    try:
        with source.local() as path:
            if source.is_lm_eval:
                outcomes = read_lm_eval(path)
            else:
                outcomes = [(source.path.name, read_inspect(path))]
    except Exception as error:  # a file system behind a URL raises what it pleases
        reason = one_line(describe(error) or str(error) or type(error).__name__, 120)
        outcomes = [(source.path.name, f"cannot be fetched ({reason})")]
    empty = SCHEMA.empty_table()
    return [
        Part(name, None, empty, outcome)
        if isinstance(outcome, str)
        # Through JSON, as kept runs are: the board must not tell them apart.
        else Part(name, Run.from_json(outcome[0].to_json()), to_table(outcome[1]))
        for name, outcome in outcomes
    ]


def _start(sources: Sequence[Source], workers: Workers) -> list[Callable[[], list[Part]]]:
    """Returns what waits for the runs of each source; a URL is fetched when it is asked for."""
    is_much = sum(map(_size, sources)) >= MIN_BYTES_TO_SHARE and len(sources) > 1
    share = is_much or "inspect_ai" not in sys.modules
    reads = [partial(read_source, source) for source in sources]
    return [
        workers.start(read) if share and source.is_local else read
        for source, read in zip(sources, reads, strict=True)
    ]


def _place(source: Source) -> str:
    return str(source.path.absolute())


def _size(source: Source) -> int:
    try:
        return source.path.stat().st_size if source.is_local else 0
    except OSError:
        return 0
