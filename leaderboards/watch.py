"""`longspan board --watch`: the board of a run that goes on.

A look at the logs costs their names, sizes and times. The board is built when a look differs from
the one before, and written when it is another board than the one that was written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from longspan.harness.errors import describe
from longspan.leaderboards.sources import find_sources


@dataclass(frozen=True)
class BuiltBoard:
    """A board that is ready to be written."""

    board: Mapping[str, Any]
    make_samples_script: Callable[[], str]
    warnings: tuple[str, ...] = ()
    """What was asked for and not found, for the terminal; the board's notes have it, too."""

    @cached_property
    def samples_script(self) -> str:
        """The script with the samples, made when it is first asked for."""
        return self.make_samples_script()


def watch_logs(
    build: Callable[[], BuiltBoard],
    publish: Callable[[BuiltBoard], None],
    look_at_logs: Callable[[], Hashable],
    seconds: float,
) -> None:
    """Builds and publishes until it is interrupted.

    Logs that make no board yet are waited for, and so is whatever else its user can mend: a full
    disk, a folder that may not be written to.

    Args:
        build: Returns the board of the logs as they are.
        publish: Writes it.
        look_at_logs: Returns what differs when the logs do.
        seconds: From one look to the next.
    """
    seen: Hashable = None
    written = ""
    told = ""
    try:
        while True:
            try:
                now = look_at_logs()
                if now != seen:
                    built = build()
                    text = json.dumps(built.board, sort_keys=True) + built.samples_script
                    if text != written:
                        publish(built)
                    seen, written, told = now, text, ""
            except Exception as error:
                reason = describe(error)
                if reason is None:
                    raise
                if reason != told:
                    print(f"waiting: {reason}", flush=True)
                told = reason
            time.sleep(seconds)
    except KeyboardInterrupt:
        print("stopped watching", flush=True)


def look(logs: Sequence[str | Path], others: Sequence[Path] = ()) -> Hashable:
    """Returns what the logs and other inputs look like: equal while none of them changes.

    Raises:
        BoardError: a log or folder is not there.
    """
    sources, problems = find_sources(logs)
    marks = [(str(source.path), source.stamp()) for source in sources]
    files = [path for other in others for path in (other, *other.rglob("*")) if path.is_file()]
    times = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return tuple(marks), tuple(map(str, problems)), tuple(times)
