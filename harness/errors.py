"""Errors that a user can mend: one line with what is wrong, the value, and what to do.

Who raises: any module, where it meets the mistake. Who shows: the command line (`harness.cli`), in
one line without a traceback. A traceback is for bugs. A failed sample inside a run is not an error
of the run; it is a validity state (`harness.scoring.validity`).
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_MESSAGE_CHARS = 600

_REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder, then run the same command again",
    errno.EDQUOT: "your quota is used up; free some space, then run the same command again",
    errno.EACCES: "check the permissions or choose another place",
    errno.EPERM: "check the permissions or choose another place",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "give a file, not a folder",
    errno.EEXIST: "choose another path or remove it first",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or choose another folder",
    errno.EIO: "the disk reported an input/output error",
}

_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class LongspanError(Exception):
    """A mistake that its reader can mend; the message is one line: what, value, remedy."""

    def __init__(self, message: str) -> None:
        self.message = one_line(message)  # Inspect shows this, else the `repr` of an error
        super().__init__(self.message)


class SpecError(LongspanError):
    """A task spec, template or name of a task is wrong."""


class DataError(LongspanError):
    """Records, documents or files are missing, unreadable or malformed."""


class ModelError(LongspanError):
    """A model or checkpoint is missing or cannot be used."""


class VocabularyError(ModelError):
    """The text cannot be written in the model's vocabulary."""


class WindowError(LongspanError):
    """A question or budget does not fit into the model's window."""


class RecipeError(LongspanError):
    """A training recipe is wrong or does not fit its checkpoint folder."""


class SynthesisError(LongspanError):
    """A synthesis plan is wrong or cannot be fulfilled with its documents."""


class BoardError(LongspanError):
    """A board or its logs are wrong."""


def one_line(text: str, max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """Returns the text with white space collapsed, shortened in the middle of its length budget."""
    line = " ".join(str(text).split())
    return line if len(line) <= max_chars else line[: max_chars - 4].rstrip() + " ..."


def describe(error: BaseException) -> str | None:
    """Returns the one line for an error that is the user's to mend, None for a bug.

    Operating system errors (no space, no permission) are the user's to mend as well. A group of
    errors, as concurrent code raises it, is described by its first member.
    """
    if isinstance(error, BaseExceptionGroup):
        lines = [describe(member) for member in error.exceptions]
        return lines[0] if all(line is not None for line in lines) else None
    if isinstance(error, LongspanError):
        return str(error)
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return None


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Names the place in a storage error that names none: a full disk does not say which file.

    Libraries also write to the temporary folder, which is named instead if it has less room.

    Raises:
        OSError: storage failed, with the place; for libraries in Rust too, which raise their own.
    """
    try:
        yield
    except Exception as error:
        number = _storage_errno(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(_fuller(place))) from error


def show_errors_in_one_line() -> None:
    """Makes the interpreter print `describe`d errors in one line, for programs that are not ours.

    `inspect eval` has its own `main`; through the hook a wrong spec reads the same there. Other
    errors go to the hook that was there before.
    """
    previous = sys.excepthook
    if getattr(previous, "longspan", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, LongspanError):
            print(f"longspan: error: {error}", file=sys.stderr)
        else:
            previous(kind, error, trace)

    hook.longspan = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def without_traceback(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Returns the function with its `LongspanError`s raised bare: Inspect prints one line for them.

    For solvers: Inspect shows the traceback of a failed sample with rich, which leaves out all
    frames up to one that holds `_rich_traceback_guard`. Bugs keep their traceback.
    """

    @functools.wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except LongspanError as error:
            _rich_traceback_guard = True
            raise error.with_traceback(None) from None

    return guarded


def _storage_errno(error: Exception) -> int | None:
    """Returns the number of a storage error that names no file; None for any other error."""
    if isinstance(error, OSError):
        number = error.errno if error.filename is None else None
    else:
        in_rust = re.search(r"\(os error (\d+)\)", str(error))
        number = int(in_rust[1]) if in_rust else None
    return number if number in _STORAGE else None


def _fuller(place: Path) -> Path:
    """Returns the place, or the temporary folder if that is on another disk with less room.

    On one disk the room is the same, even if it changes between two looks at it.
    """
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    temporary = Path(tempfile.gettempdir())
    if _disk(there) == _disk(temporary):
        return place
    fuller = shutil.disk_usage(temporary).free < shutil.disk_usage(there).free
    return temporary if fuller else place


def _disk(path: Path) -> int:
    return path.stat().st_dev


def _describe_os_error(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    remedy = _REMEDIES.get(error.errno or 0)
    return one_line(what + (f": {where}" if where else "") + (f"; {remedy}" if remedy else ""))
