"""Workers that make parts ahead, each against empty books: processes here, or actors of Ray.

What they make is judged in order by `longspan.synth_templates.generate`.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from longspan.harness.errors import SynthesisError
from longspan.harness.workers import process_pool
from longspan.synth_templates.books import Attempt
from longspan.synth_templates.parts import Materials, PartMaker, PartTask
from longspan.synth_templates.spool import Spool

HEAD_START_SECONDS = 3.0
"""What takes less than this is made before processes would have started."""
_WAITING_PER_WORKER = 2


@dataclass(frozen=True)
class PartAhead:
    """Attempts at a part, for each sample wanted."""

    task: PartTask
    attempts: list[list[Attempt]]


class Workers(Protocol):
    """Make parts ahead."""

    head_start_seconds: float
    """For how long parts are made without them."""

    def make(self, tasks: Sequence[PartTask]) -> Iterator[PartAhead]:
        """Yields the parts in order; what is not taken is given up."""
        ...


@dataclass
class PartWorker:
    """Makes parts, and keeps the documents of generated worlds in the spool.

    Attributes:
        materials: What parts are made from.
        spool: Where the documents of parts wait.
    """

    materials: Materials
    spool: Spool

    def make(self, task: PartTask) -> PartAhead:
        """Returns the attempts at a part."""
        maker = PartMaker(self.materials, self.materials.books(), task)
        part = maker.make()
        if part.rows and self.materials.source.renews and maker.corpus.group not in self.spool:
            self.spool.write(maker.corpus)
        return PartAhead(task, maker.attempts)


class ProcessWorkers:
    """Workers in processes of this machine."""

    head_start_seconds = HEAD_START_SECONDS

    def __init__(self, pool: ProcessPoolExecutor, num_workers: int) -> None:
        self.pool, self.num_workers = pool, num_workers

    def make(self, tasks: Sequence[PartTask]) -> Iterator[PartAhead]:
        """Yields the parts in order, a few of them made ahead.

        Raises:
            SynthesisError: a process died.
        """
        futures: deque[Future[PartAhead]] = deque()
        left = iter(tasks)
        try:
            while True:
                while len(futures) < _WAITING_PER_WORKER * self.num_workers:
                    task = next(left, None)
                    if task is None:
                        break
                    futures.append(self.pool.submit(_make, task))
                if not futures:
                    return
                yield futures.popleft().result()
        except BrokenProcessPool as error:
            raise SynthesisError(
                "a worker process died, perhaps for want of memory; run the command again with "
                "fewer --workers: parts that are finished are kept"
            ) from error
        finally:
            for future in futures:
                future.cancel()


@dataclass(frozen=True)
class Crew:
    """Who makes the parts of a task set.

    Attributes:
        num_processes: Processes of this machine.
        ray: Address of a Ray cluster that works instead of them.
    """

    num_processes: int = 1
    ray: str | None = None

    @contextmanager
    def workers(self, materials: Materials, spool: Spool, lock: Path) -> Iterator[Workers | None]:
        """Yields the workers, None where this process is enough; releases them in the end.

        Raises:
            SynthesisError: there is no Ray, or no cluster at the address.
        """
        worker = PartWorker(materials, spool)
        if self.ray is not None:
            from longspan.synth_templates.distributed import ray_workers  # an optional extra

            with ray_workers(worker, self.ray) as workers:
                yield workers
        elif self.num_processes > 1:
            with process_pool(self.num_processes, lock, _start, (worker,)) as pool:
                yield ProcessWorkers(pool, self.num_processes)
        else:
            yield None


def num_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0))


_workers: list[PartWorker] = []


def _start(worker: PartWorker) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    _workers.append(worker)


def _make(task: PartTask) -> PartAhead:
    return _workers[0].make(task)
