"""Continuous batching whose results do not depend on who shares the batch.

Requests are decoded in batches of a fixed number of rows; a row that ends is refilled at once. What
is computed for a request has shapes that follow from the request alone: a prompt is prefilled by
itself, at its own length; it lies in a slot whose size is a function of its length; the tokens a
row has generated lie in a part whose size is a function of their number (a row that outgrows it
moves on to a batch with larger parts). So requests of other sizes never change its arithmetic, and
neither does the order of arrival. Assumption: a matrix product of fixed shape treats all its rows
alike; tests check it bitwise. (Mixture-of-experts models break it: they gather rows by expert.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longspan.harness.errors import ModelError
from longspan.trainers.local.cache import LANES, GroupedCache, KeyValues
from longspan.trainers.local.decoders import Decoder
from longspan.trainers.local.sampling import sample, uniforms

StopReason = Literal["stop", "max_tokens"]

FIRST_OWN_TOKENS = 64
"""Size of the first own part; each next one is four times as large."""


@dataclass(frozen=True)
class GenerationRequest:
    """One completion to sample.

    Attributes:
        prompt_ids: Token ids of the prompt, at least one.
        max_new_tokens: Limit of sampled tokens, the end token included; clipped to the window.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Probability of the nucleus, in (0, 1].
        seed: Names the request's stream of uniform numbers.
    """

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class GenerationResult:
    """A sampled completion.

    Attributes:
        token_ids: Sampled token ids, the end token included.
        logprobs: Their log-probabilities (nats) at the sampling temperature, before top-p; at
            temperature 0 those of temperature 1.
        stop_reason: "stop" after an end token, "max_tokens" at the limit or the window's end.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: StopReason


@dataclass
class Job:
    """A request on its way."""

    request: GenerationRequest
    limit: int
    end_ids: frozenset[int]
    uniforms: NDArray[np.float64] = field(init=False)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    own: KeyValues | None = None
    """Keys and values of the generated tokens while the job waits between two batches."""

    def __post_init__(self) -> None:
        self.uniforms = uniforms(self.request.seed, self.limit)

    @property
    def stopped(self) -> bool:
        """Whether the last token ended the completion."""
        return bool(self.tokens) and self.tokens[-1] in self.end_ids

    @property
    def done(self) -> bool:
        """Whether nothing is left to sample."""
        return self.stopped or len(self.tokens) >= self.limit

    def result(self) -> GenerationResult:
        """Returns what was sampled."""
        reason: StopReason = "stop" if self.stopped else "max_tokens"
        return GenerationResult(tuple(self.tokens), tuple(self.logprobs), reason)


class DivergedError(ModelError):
    """The weights yield logits that are not finite, so nothing can be sampled."""


class Scheduler:
    """Runs jobs through a decoder, batch after batch."""

    def __init__(self, decoder: Decoder, row_counts: Sequence[int], memory_bytes: int) -> None:
        """Takes the decoder, the numbers of rows a step may have, and the bytes of its cache."""
        self.decoder, self.memory_bytes = decoder, memory_bytes
        self.row_counts = sorted(row_counts)
        self._cache: GroupedCache | None = None

    def run(self, jobs: Sequence[Job]) -> None:
        """Completes the jobs."""
        by_size = sorted(jobs, key=lambda job: slot_size(len(job.request.prompt_ids)))
        for size, sized in groupby(by_size, lambda job: slot_size(len(job.request.prompt_ids))):
            waiting, own_tokens = list(sized), FIRST_OWN_TOKENS
            while waiting:
                waiting = list(_Batch(self, _neighbours(waiting), size, own_tokens).run())
                own_tokens *= 4

    def release(self) -> None:
        """Frees the cache that is kept for the next run."""
        self._cache = None

    def cache_for(
        self, like: KeyValues, jobs: Sequence[Job], slot_tokens: int, own_tokens: int
    ) -> GroupedCache:
        """Returns an empty cache with as many rows as memory allows (a function of sizes only)."""
        token_bytes = sum(x.shape[0] * x.shape[2] * x.element_size() for kv in like for x in kv)
        fitting = self.memory_bytes // (token_bytes * (slot_tokens + own_tokens))
        rows = max((n for n in self.row_counts if n <= fitting), default=max(1, fitting))
        prompts = [len(list(same)) for _, same in groupby(jobs, lambda j: j.request.prompt_ids)]
        slots = min(rows, sum(-(-count // LANES) for count in prompts))
        cache, sizes = self._cache, (rows, slot_tokens, own_tokens)
        if (
            cache is None
            or (cache.num_rows, cache.slot_tokens, cache.own_tokens) != sizes
            or cache.num_slots < slots
        ):
            self._cache = None  # frees the old one before the new one is made
            cache = self._cache = GroupedCache(like, rows, slots, slot_tokens, own_tokens)
        cache.clear()
        return cache


def slot_size(tokens: int) -> int:
    """Returns the size of the slot for a prompt: 128, 192, 256, 384, 512, 768, ..."""
    size = 128
    while size < tokens:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


class _Batch:
    """One pass of jobs whose prompts need slots of one size, up to a size of own parts."""

    def __init__(
        self, scheduler: Scheduler, jobs: list[Job], slot_tokens: int, own_tokens: int
    ) -> None:
        self.decoder, self.waiting = scheduler.decoder, jobs
        first = jobs[0].request.prompt_ids
        self._prefilled = first, *self.decoder.prefill(first)
        self.cache = scheduler.cache_for(self._prefilled[1], jobs, slot_tokens, own_tokens)
        self.row_counts = [n for n in scheduler.row_counts if n < self.cache.num_rows]
        self.row_counts.append(self.cache.num_rows)
        self.jobs: list[Job] = []
        """By row; the rows in use come first."""
        self.device = self._prefilled[2].device
        self.moving: list[Job] = []

    def run(self) -> Iterator[Job]:
        """Decodes until every job is done or has outgrown its own part; yields the latter."""
        self._refill()
        while self.jobs:
            count = next(n for n in self.row_counts if n >= len(self.jobs))
            tokens = torch.zeros(count, dtype=torch.long)
            tokens[: len(self.jobs)] = torch.tensor([job.tokens[-1] for job in self.jobs])
            logits = self.decoder.step(self.cache, tokens.to(self.device))
            self._sample(range(len(self.jobs)), logits[: len(self.jobs)])
            self._refill()
        yield from self.moving

    def _refill(self) -> None:
        """Gives rows of finished jobs to waiting ones, then moves the last rows into gaps."""
        while True:
            gaps = [row for row, job in enumerate(self.jobs) if job.done or job.own is not None]
            for row in gaps:
                self.cache.leave(row)
            free = [*gaps, *range(len(self.jobs), self.cache.num_rows)][: len(self.waiting)]
            if not free:
                break
            fresh, logits = [], []
            for row in free:
                job = self.waiting.pop(0)
                self.jobs[row : row + 1] = [job]
                first = self._enter(row, job)
                if not job.tokens:
                    fresh.append(row)
                    logits.append(first)
            if fresh:
                self._sample(fresh, torch.stack(logits))
        for row in reversed(gaps):
            last = len(self.jobs) - 1
            if row != last:
                self.cache.move(last, row)
                self.jobs[row] = self.jobs[last]
            self.jobs.pop()
        self.cache.compact()

    def _enter(self, row: int, job: Job) -> Tensor:
        """Places a job into a row; its prompt is computed only where no slot holds it."""
        prompt = job.request.prompt_ids
        lane = self.cache.lane_for(prompt)
        if lane is None:
            lane = self.cache.load(prompt, *(self.cache.find(prompt) or self._prefill(prompt)))
        own, job.own = job.own, None
        return self.cache.enter(row, lane, own)

    def _prefill(self, prompt: tuple[int, ...]) -> tuple[KeyValues, Tensor]:
        if self._prefilled[0] != prompt:
            self._prefilled = prompt, *self.decoder.prefill(prompt)
        return self._prefilled[1], self._prefilled[2]

    def _sample(self, rows: Sequence[int], logits: Tensor) -> None:
        """Appends one sampled token to the rows' jobs; copies out what outgrows its row."""
        jobs = [self.jobs[row] for row in rows]
        settings = [
            (job.request.temperature, job.request.top_p, job.uniforms[len(job.tokens)])
            for job in jobs
        ]
        columns = torch.tensor(settings, dtype=torch.float64, device=self.device).unbind(1)
        tokens, logprobs = (x.tolist() for x in sample(logits, *columns))
        for row, job, token, logprob in zip(rows, jobs, tokens, logprobs, strict=True):
            if not logprob > -float("inf"):
                raise DivergedError(
                    f"the model's logits are not finite after {len(job.tokens)} tokens; "
                    "the weights have diverged: go back to an earlier checkpoint"
                )
            job.tokens.append(token)
            job.logprobs.append(logprob)
            if not job.done and self.cache.own_lengths[row] == self.cache.own_tokens:
                job.own = self.cache.own(row)
                self.moving.append(job)


def _neighbours(jobs: list[Job]) -> list[Job]:
    """Returns the jobs with equal prompts next to each other, in order of first appearance."""
    order: dict[tuple[int, ...], int] = {}
    return sorted(jobs, key=lambda job: order.setdefault(job.request.prompt_ids, len(order)))
