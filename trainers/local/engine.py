"""The embedded engine: samples completions from a Hugging Face causal language model in process.

Serves evaluation and training alike. On a CPU with a fixed number of threads a result depends on
its request and the weights alone: not on the batch, the order of arrival, or what ran before. On an
accelerator kernels may differ in the last bits between batches.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from longspan.harness.errors import ModelError, WindowError
from longspan.harness.reading import READING_KEY
from longspan.trainers.local.checkpoint import Checkpoint, load_checkpoint
from longspan.trainers.local.decoders import choose_decoder, stable_row_counts
from longspan.trainers.local.gather import Gatherer
from longspan.trainers.local.schedule import (
    DivergedError,
    GenerationRequest,
    GenerationResult,
    Job,
    Scheduler,
)

__all__ = ["Engine", "GenerationRequest", "GenerationResult", "default_threads"]

SMALL_PARAMETERS = 20_000_000
"""Up to this size a CPU is fastest with one thread."""
MAX_ROWS = 64
CPU_CACHE_BYTES = 1_500_000_000
GPU_CACHE_SHARE = 0.6
"""Share of the free accelerator memory that keys and values may take."""


class Engine:
    """A model with its tokenizer, ready to sample."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        window: int | None = None,
        max_batch_rows: int | None = None,
        policy_version: int = 0,
    ) -> None:
        """Takes a live model; weights changed in place are used from the next call on.

        Args:
            model: a Hugging Face causal language model.
            tokenizer: its tokenizer.
            window: tokens of prompt and completion; at most and by default the model's own.
            max_batch_rows: rows decoded together at most.
            policy_version: number of optimizer updates of the weights.

        Raises:
            ModelError: no decoder runs this architecture, or an argument is out of range.
        """
        self.model, self.tokenizer = model, tokenizer
        self.policy_version = policy_version
        self.reading: Mapping[str, Any] | None = getattr(model.config, READING_KEY, None)
        self.divergence: DivergedError | None = None
        """Set once sampling met logits that are not finite: callers' errors end as failed samples,
        and whoever changes the weights must know."""
        self.window = _window(model.config, window)
        self.end_ids = _end_ids(model, tokenizer)
        self.num_parameters = sum(p.numel() for p in model.parameters())
        self._set_threads()
        rows = MAX_ROWS if max_batch_rows is None else max_batch_rows
        if rows < 1:
            raise ModelError(f"max_batch_rows must be positive: got {rows}; omit it")
        with self._evaluating():
            counts = stable_row_counts(model, rows)
            self._scheduler = Scheduler(choose_decoder(model), counts, self._cache_bytes())
        self._lock = threading.Lock()
        self._gatherer: Gatherer[GenerationRequest, GenerationResult] = Gatherer(
            self.generate, enough=4096
        )

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str = "cpu",
        dtype: str = "auto",
        window: int | None = None,
        max_batch_rows: int | None = None,
    ) -> Engine:
        """Returns an engine over a checkpoint directory or Hub id.

        Args:
            source: checkpoint directory, or an id of the Hugging Face Hub.
            device: "cpu", "cuda", "cuda:1", ...; "auto" is cuda where there is one.
            dtype: "float32", "bfloat16", "float16"; "auto" is float32 on a CPU, else bfloat16.
            window: see `__init__`.
            max_batch_rows: see `__init__`.

        Raises:
            ModelError: the checkpoint is missing or cannot be used.
        """
        checkpoint: Checkpoint = load_checkpoint(source, device=device, dtype=dtype)
        return cls(checkpoint.model, checkpoint.tokenizer, window, max_batch_rows)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[GenerationResult]:
        """Returns the completions of the requests, in their order.

        Raises:
            WindowError: a prompt leaves no room in the window.
            ModelError: a request is malformed, or the weights yield no finite logits.
        """
        jobs = [self._job(request) for request in requests]
        if self.device.type != "cpu":  # what is free changes with what is trained beside
            self._scheduler.memory_bytes = self._cache_bytes()
        with self._lock, torch.inference_mode(), self._evaluating():
            self._set_threads()
            try:
                self._scheduler.run(jobs)
            except DivergedError as error:
                self.divergence = error
                raise
        return [job.result() for job in jobs]

    async def submit(self, request: GenerationRequest) -> GenerationResult:
        """Returns the completion of a request, decoded together with concurrent callers'.

        Raises:
            WindowError: the prompt leaves no room in the window.
            ModelError: the request is malformed, or the weights yield no finite logits.
        """
        self._job(request)
        return await self._gatherer.submit(request)

    def release(self) -> None:
        """Frees the keys and values that are kept between calls, for what needs the memory now."""
        with self._lock:
            self._scheduler.release()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _job(self, request: GenerationRequest) -> Job:
        """Returns the job of a request, checked."""
        prompt = request.prompt_ids
        if not 0 < len(prompt) < self.window:
            raise WindowError(
                f"a prompt must have 1 to {self.window - 1} tokens: got {len(prompt)}; shorten it "
                "or use a model with a larger window"
            )
        vocabulary = self.model.config.vocab_size
        if not 0 <= min(prompt) <= max(prompt) < vocabulary:
            raise ModelError(
                f"prompt ids must lie in [0, {vocabulary}): got {min(prompt)} to {max(prompt)}; "
                "use the checkpoint's own tokenizer"
            )
        bounds = (
            ("max_new_tokens", request.max_new_tokens, request.max_new_tokens >= 1, "at least 1"),
            ("temperature", request.temperature, 0 <= request.temperature < 1e6, "at least 0"),
            ("top_p", request.top_p, 0 < request.top_p <= 1, "in (0, 1]"),
        )
        for name, value, holds, rule in bounds:
            if not holds:
                raise ModelError(f"{name} must be {rule}: got {value}")
        limit = min(request.max_new_tokens, self.window - len(prompt))
        return Job(request, limit, self.end_ids)

    def _evaluating(self) -> _Evaluating:
        return _Evaluating(self.model)

    def _cache_bytes(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0] * GPU_CACHE_SHARE)
        return CPU_CACHE_BYTES

    def _set_threads(self) -> None:
        """Applies the number of threads, also in the thread that gathers."""
        if self.device.type == "cpu":
            torch.set_num_threads(default_threads(self.num_parameters))


def default_threads(num_parameters: int) -> int:
    """Returns the number of torch threads for a model: `LONGSPAN_THREADS`, else by size.

    A small model is several times slower with two threads than with one on a loaded machine.

    Raises:
        ModelError: `LONGSPAN_THREADS` is not a positive number.
    """
    text = os.environ.get("LONGSPAN_THREADS", "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ModelError(f"LONGSPAN_THREADS must be a positive number: got {text!r}; unset it")
        return int(text)
    if num_parameters <= SMALL_PARAMETERS:
        return 1
    usable = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(usable(0)) if usable else os.cpu_count() or 1


class _Evaluating:
    """Switches dropout and the like off for the duration of the block."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.was_training = self.model.training
        if self.was_training:
            self.model.eval()

    def __exit__(self, *_: object) -> None:
        if self.was_training:
            self.model.train()


def _window(config: Any, asked: int | None) -> int:
    own = getattr(config, "max_position_embeddings", None) or asked
    if own is None:
        raise ModelError(
            "the checkpoint declares no max_position_embeddings; give -M window=TOKENS"
        )
    if asked is not None and not 2 <= asked <= own:
        raise ModelError(f"window must be in [2, {own}], the model's own: got {asked}")
    return int(asked or own)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Returns every id that ends a completion: of generation config, config and tokenizer."""
    ends: set[int] = set()
    for source in (model.generation_config, model.config, tokenizer):
        ids = getattr(source, "eos_token_id", None)
        ends.update([ids] if isinstance(ids, int) else ids or ())
    return frozenset(ends)
