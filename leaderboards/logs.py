"""Logs to tidy rows: one row per sample and epoch, with the run that it belongs to.

Files are found by `leaderboards.sources`, read by `leaderboards.inspect_logs` or
`leaderboards.lm_eval`, several at a time, and kept by `leaderboards.cache`. Of two logs of one
evaluation one counts; every log that does not is listed with the reason. This module computes no
statistics.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from longspan.harness.errors import describe, one_line
from longspan.harness.files import Problem
from longspan.leaderboards.cache import Part, RowCache
from longspan.leaderboards.lm_eval import read_lm_eval
from longspan.leaderboards.rows import SCHEMA, Run, to_frame, to_table
from longspan.leaderboards.sources import Source, find_sources

MIN_BYTES_TO_SHARE = 20_000_000
"""Fewer bytes of logs are read before other processes have started."""
MAX_WORKERS = 8


@dataclass(frozen=True)
class Logs:
    """What was read: runs, sample rows (`run` is an index into `runs`), and what was left out."""

    runs: tuple[Run, ...]
    samples: pd.DataFrame
    skipped: tuple[Problem, ...]


@dataclass(frozen=True)
class _Found:
    run: Run
    table: pa.Table
    place: str


def read_logs(paths: Sequence[str | Path], cache: RowCache | None = None) -> Logs:
    """Returns the runs and samples of logs.

    Args:
        paths: Files, folders with everything below them, patterns, or URLs of such.
        cache: Where rows are kept; None: every log is read.

    Raises:
        BoardError: a path does not exist, or a URL cannot be opened.
    """
    sources, skipped = find_sources(paths)
    found: dict[str, _Found] = {}
    for source, parts in zip(sources, read_sources(sources, cache), strict=True):
        for part in parts:
            place = str(PurePosixPath(source.place).parent / part.name)
            if part.run is None:
                skipped.append(Problem(place, part.reason or ""))
                continue
            found_now = _Found(part.run, part.table, place)
            before = found.setdefault(part.run.identity, found_now)
            if before is not found_now:
                best, worse, reason = _ranked(found_now, before)
                skipped.append(Problem(worse.place, f"{reason} {best.place}"))
                found[part.run.identity] = best
    kept = [found[key] for key in sorted(found)]
    samples = to_frame([one.table for one in kept])
    return Logs(tuple(one.run for one in kept), samples, tuple(sorted(skipped, key=str)))


def read_sources(sources: Sequence[Source], cache: RowCache | None) -> list[list[Part]]:
    """Returns the runs of each source: what was kept of it, or what is read now."""
    stamps = [source.stamp() if cache else None for source in sources]
    done: dict[int, list[Part]] = {}
    for index, (source, stamp) in enumerate(zip(sources, stamps, strict=True)):
        kept = cache.get(str(source.path.absolute()), stamp) if cache and stamp else None
        if kept is not None:
            done[index] = kept
    left = [index for index in range(len(sources)) if index not in done]
    for index, parts in zip(left, _read_all([sources[i] for i in left]), strict=True):
        done[index] = parts
        stamp = stamps[index]
        # A log without a run may be read otherwise next time: permissions, a net that was down.
        if cache and stamp and any(part.run for part in parts):
            cache.put(str(sources[index].path.absolute()), stamp, parts)
    return [done[index] for index in range(len(sources))]


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


def _read_all(sources: Sequence[Source]) -> Iterator[list[Part]]:
    """Yields the runs of each source, read in several processes where there is much to read."""
    num_bytes = sum(_size(source) for source in sources)
    num_workers = min(os.cpu_count() or 1, len(sources), MAX_WORKERS)
    if num_bytes < MIN_BYTES_TO_SHARE or num_workers < 2:
        yield from map(read_source, sources)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
    try:
        futures = [pool.submit(read_source, one) if one.is_local else None for one in sources]
        for source, future in zip(sources, futures, strict=True):
            try:
                yield read_source(source) if future is None else future.result()
            except BrokenProcessPool:  # a worker was killed, or a script without a main guard
                yield read_source(source)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _size(source: Source) -> int:
    try:
        return source.path.stat().st_size if source.is_local else 0
    except OSError:
        return 0


def _ranked(one: _Found, other: _Found) -> tuple[_Found, _Found, str]:
    """Returns which of two logs of one evaluation counts, which does not, and why.

    A log of more samples counts, else the later one.
    """
    worse, best = sorted((one, other), key=_age)
    if one.run.log_hash == other.run.log_hash:
        return best, worse, "the same log as"
    if one.run.sample_set == other.run.sample_set:
        return best, worse, "another log of the same evaluation is newer:"
    if worse.run.num_samples > best.run.num_samples:
        worse, best = best, worse
    return best, worse, "another log of the same evaluation has other samples, and not fewer:"


def _age(one: _Found) -> tuple[str, str, str]:
    return one.run.created, one.run.eval_id, one.place
