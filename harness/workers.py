"""Runs commands in worker processes: two at a time, ended with their parent, one run per folder.

Evaluation and training of independent checkpoints share nothing, so they run side by side. A run
that was killed may leave a worker behind for a moment; the folder's lock makes the next run wait
until it is gone, so that nothing is written twice.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from longspan.harness.cli import load_command
from longspan.harness.errors import LongspanError, describe

PARENT_CHECK_SECONDS = 0.2
LOCK_WAIT_SECONDS = 20.0
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Job:
    """One command with its arguments, and the label that its user reads."""

    label: str
    command: str
    arguments: dict[str, Any] = field(default_factory=dict)


class JobError(LongspanError):
    """A job failed for a reason its user can mend."""


@contextmanager
def folder_lock(folder: Path, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[Path]:
    """Holds the folder for one run; yields the lock file that workers share.

    A folder that was made for the run and holds nothing in the end is removed. The run may also
    remove the folder itself, with all that it holds.

    Raises:
        JobError: another run is still working in the folder.
    """
    is_new = not folder.exists()
    path = folder / LOCK_FILE
    deadline = time.monotonic() + wait_seconds
    while (handle := _try_folder(path)) is None:
        if time.monotonic() > deadline:
            raise JobError(
                f"another run is working in {folder}; wait for it or choose another --out"
            )
        time.sleep(0.1)
    with handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        try:
            yield path
        finally:
            if is_new and folder.exists() and os.listdir(folder) == [LOCK_FILE]:
                path.unlink()
                folder.rmdir()


@contextmanager
def process_pool(
    num_workers: int, lock: Path, start: Callable[..., None], arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Yields processes that end with this one; what still runs at the end is given up.

    Args:
        num_workers: How many.
        lock: Lock file of the folder they work in, which they hold, too.
        start: What each calls first.
        arguments: Its arguments.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(os.getpid(), lock, start, arguments),
    )
    try:
        yield pool
    finally:
        processes = list((pool._processes or {}).values())
        for process in processes:
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join()


@contextmanager
def worker_pool(num_workers: int, lock: Path) -> Iterator[Callable[[Job], Future[float]]]:
    """Yields a function that submits a job; its future holds the seconds that the job took."""
    with process_pool(num_workers, lock, _hide_display) as pool:
        yield lambda job: pool.submit(run_job, job)
        pool.shutdown()


def run_job(job: Job) -> float:
    """Runs the job in this process and returns the seconds it took.

    Raises:
        JobError: the command failed for a reason that its user can mend (the message is its line).
    """
    started = time.monotonic()
    try:
        load_command(job.command)(**job.arguments)
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        raise JobError(f"{job.label}: {line}") from None
    return time.monotonic() - started


def end_with_parent(parent: int) -> None:
    """Makes this process end soon after its parent, even one that was killed outright."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


_held: list[IO[str]] = []


def _start_worker(
    parent: int, lock: Path, start: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    handle = lock.open("a")
    fcntl.flock(handle, fcntl.LOCK_SH)
    _held.append(handle)
    end_with_parent(parent)
    start(*arguments)


def _hide_display() -> None:
    os.environ.setdefault("INSPECT_DISPLAY", "none")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def _try_folder(path: Path) -> IO[str] | None:
    """Returns the lock file, made and held; None where another run holds it or removed it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = path.open("a")
    except FileNotFoundError:  # the run before has just removed the folder
        return None
    if _try_lock(handle, fcntl.LOCK_EX):
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                return handle
    handle.close()
    return None


def _try_lock(handle: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
