"""Logs to tidy rows: one row per sample and epoch, with the run that it belongs to.

Files are found by `leaderboards.sources` and read by `leaderboards.readers`. Of two logs of one
evaluation one counts; every log that does not is listed with the reason. This module computes no
statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from longspan.harness.files import Problem
from longspan.leaderboards.cache import RowCache
from longspan.leaderboards.contents import Conflict, tell_contents_apart
from longspan.leaderboards.frames import to_frame
from longspan.leaderboards.readers import Reading, start_reading
from longspan.leaderboards.rows import Run
from longspan.leaderboards.workers import Workers


@dataclass(frozen=True)
class Logs:
    """What was read: runs, sample rows (`run` is an index into `runs`), and what was left out."""

    runs: tuple[Run, ...]
    samples: pd.DataFrame
    skipped: tuple[Problem, ...]
    conflicts: tuple[Conflict, ...] = ()
    """Where samples of one id ask different things."""


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
    with Workers() as workers:
        return collect(start_reading(paths, cache, workers))


def collect(reading: Reading) -> Logs:
    """Returns the runs and samples of logs that are being read, when they all are."""
    skipped = list(reading.skipped)
    found: dict[str, _Found] = {}
    for source, parts in zip(reading.sources, reading.finish(), strict=True):
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
    runs = tuple(one.run for one in kept)
    samples, conflicts = tell_contents_apart(runs, to_frame([one.table for one in kept]))
    return Logs(runs, samples, tuple(sorted(skipped, key=str)), conflicts)


def _ranked(one: _Found, other: _Found) -> tuple[_Found, _Found, str]:
    """Returns which of two logs of one evaluation counts, which does not, and why.

    A log of more samples counts, else the later one.
    """
    worse, best = sorted((one, other), key=_age)
    if one.run.log_hash == other.run.log_hash:
        return best, worse, "the same log as"
    if one.run.sample_set == other.run.sample_set:
        if _contents(one) != _contents(other):
            return best, worse, "a newer log of the same evaluation asks or expects other things:"
        return best, worse, "another log of the same evaluation is newer:"
    if worse.run.num_samples > best.run.num_samples:
        worse, best = best, worse
    return best, worse, "another log of the same evaluation has other samples, and not fewer:"


def _age(one: _Found) -> tuple[float, str, str]:
    return _seconds(one.run.created), one.run.eval_id, one.place


def _seconds(created: str) -> float:
    """Returns a time as seconds, wherever its clock stood; what is no time is the oldest."""
    try:
        time = datetime.fromisoformat(created)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return -math.inf


def _contents(one: _Found) -> set[tuple[str, str]]:
    columns = (one.table.column(name).to_pylist() for name in ("sample", "content"))
    return set(zip(*columns, strict=True))
