"""Other processes of a command, for what takes long to import or to do: reading logs, drawing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.util import Finalize
from types import ModuleType
from typing import TypeVar

MAX_WORKERS = 8

T = TypeVar("T")


class Workers:
    """Processes that start when there is something to do for them, and end with the context."""

    def __init__(self, num: int | None = None) -> None:
        self.num = min(os.cpu_count() or 1, MAX_WORKERS) if num is None else num
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._pool is not None:
            if kind is not None:  # nobody waits for what they do
                # Public from Python 3.14, as `terminate_workers`.
                for process in list((self._pool._processes or {}).values()):
                    process.terminate()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def start(self, function: Callable[[], T]) -> Callable[[], T]:
        """Starts a function in another process and returns what waits for its result.

        Where none can be had, or it is killed, the function is called here instead, when its
        result is asked for. With one processor that is always so.

        Args:
            function: One of this package, so that others find it; it may be called twice.
        """
        if self.num < 2:
            return function
        try:
            with _without_main(), _without_interrupts():
                future = self._started().submit(function)
        except BrokenProcessPool:
            return function

        def result() -> T:
            try:
                return future.result()
            except BrokenProcessPool:
                return function()

        return result

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.num, context, initializer=_start_worker)
        return self._pool


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the script that runs from processes that start: they would run it once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Blocks Ctrl-C for this thread and the processes that it starts, which leave it to the parent.

    One that comes meanwhile waits for the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Makes the end of a worker a quick one."""
    Finalize(None, _leave, exitpriority=-1)


def _leave() -> None:
    """Ends a worker without taking its modules down, for which its parent would wait."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
