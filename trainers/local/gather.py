"""Gathers the requests of concurrent coroutines into batches.

A batch is cut when the event loop has come to rest: no request arrived during one short sleep, and
the sleep ended on time, so nobody was busy preparing one. The work runs in one thread, so the event
loop goes on meanwhile. Event loops may come and go (each `eval()` has its own).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")
Queue = list[tuple[Request, asyncio.Future[Result]]]

QUIET_SECONDS = 0.002
LONGEST_WAIT_SECONDS = 1.0


class Gatherer(Generic[Request, Result]):
    """Turns a function of a list into a coroutine of one element."""

    def __init__(self, work: Callable[[Sequence[Request]], list[Result]], enough: int) -> None:
        """Takes the function, and the number of requests that need not wait for more."""
        self._work, self._enough = work, enough
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="longspan-engine")
        self._queues: dict[asyncio.AbstractEventLoop, Queue[Request, Result]] = {}
        self._tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def submit(self, request: Request) -> Result:
        """Returns the result of a request, computed together with those that arrive around it.

        An error of the work is raised in every coroutine whose request was in its batch.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queues.setdefault(loop, []).append((request, future))
        if loop not in self._tasks:
            self._tasks[loop] = loop.create_task(self._serve(loop))
        return await future

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Works until the queue of the loop is empty."""
        queue = self._queues[loop]
        batch: Queue[Request, Result] = []
        try:
            while queue:
                await self._rest(queue)
                batch = [(request, future) for request, future in queue if not future.done()]
                queue.clear()
                await self._answer(loop, batch)
        finally:
            for _, future in batch + queue:
                future.cancel()  # has an effect only where the loop is shut down before the answer
            del self._queues[loop], self._tasks[loop]

    async def _answer(self, loop: asyncio.AbstractEventLoop, batch: Queue[Request, Result]) -> None:
        """Computes a batch in the thread and hands out results, or the error to everybody."""
        if not batch:
            return
        results: list[Result] = []
        problem: Exception | None = None
        try:
            requests = [request for request, _ in batch]
            results = await loop.run_in_executor(self._thread, self._work, requests)
        except Exception as error:
            problem = error
        for number, (_, future) in enumerate(batch):
            if future.done():
                continue
            if problem is not None:
                future.set_exception(problem)
            else:
                future.set_result(results[number])

    async def _rest(self, queue: Queue[Request, Result]) -> None:
        """Waits until the event loop has come to rest or enough requests wait."""
        started = time.monotonic()
        while len(queue) < self._enough and time.monotonic() - started < LONGEST_WAIT_SECONDS:
            before, asked = len(queue), time.monotonic()
            await asyncio.sleep(QUIET_SECONDS)
            on_time = time.monotonic() - asked < 2 * QUIET_SECONDS
            if on_time and len(queue) == before:
                return
