"""Where solvers keep what lets a killed evaluation go on within a sample.

Inspect resumes an evaluation sample by sample. A sample of hundreds of calls must not begin anew:
`evaluate` gives each of its units a folder, which goes when the unit's log is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_FOLDER: ContextVar[Path | None] = ContextVar("longspan_calls_folder", default=None)


def calls_folder() -> Path | None:
    """Returns the running unit's folder for calls; None outside of `evaluate`."""
    return _FOLDER.get()


@contextmanager
def resuming_in(folder: Path) -> Iterator[None]:
    """Gives what runs in the block a folder for its calls; it may not exist yet."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)
