"""Model calls of synthesis: journalled on disk, so that no run pays for a call twice.

The journal sits inside a model's provider, below everything that asks it: extraction, evolution and
evaluations alike. A call is known by what it is: model, weights, messages, settings, and which
attempt at what it is. A reply that is in the journal is given again; so a killed run that is
started anew repeats its replies and pays only for the rest. Failures are not kept: they cost
nothing and may have gone the next time. A journal belongs to one run at a time: runs hold their
work folder (`folder_lock`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
)
from pydantic import ValidationError

from longspan.harness.errors import ModelError, one_line
from longspan.harness.passport import Cost
from longspan.harness.prompts import IDENTITY_KEY, identity_of
from longspan.harness.resolve import resolve_model, with_settings
from longspan.harness.scoring.answers import MAX_COMPLETION_CHARS
from longspan.synth_templates.models.model_plan import ModelPlan

MAX_FAILURES_IN_ROW = 20
"""Failed calls in a row after which a step stops: the model, not the documents, is to blame."""
MAX_PROVIDER_RETRIES = 5
_DIGEST_BYTES = 16
_NOT_IDENTITY = (
    *("max_retries", "timeout", "attempt_timeout", "max_connections", "adaptive_connections"),
    *("cache", "batch"),
)
"""Settings of a call that change nothing in its reply."""

Generate = Callable[..., Awaitable[Any]]


class Journal:
    """Replies by key, in a JSON lines file that is appended to.

    A torn last line (a kill while it was written) is cut off when the file is opened; any other
    line that cannot be read is passed over, and its call is made again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._outputs: dict[str, dict[str, Any]] | None = None

    def find(self, key: str) -> ModelOutput | None:
        """Returns the reply that is kept under a key, None without one."""
        kept = self._read().get(key)
        try:
            return None if kept is None else ModelOutput.model_validate(kept)
        except ValidationError:
            return None

    def add(self, key: str, output: ModelOutput) -> None:
        """Keeps a reply; it is in the file when this returns."""
        kept = output.model_dump(
            exclude_none=True, include={"model", "choices", "usage"}, round_trip=True
        )
        for choice in kept.get("choices", ()):
            choice.pop("logprobs", None)
        outputs = self._read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # ASCII, so that a lone surrogate in a reply is no error.
        line = json.dumps({"key": key, "output": kept}, default=str)
        with self.path.open("a", encoding="ascii") as file:
            file.write(line + "\n")
        outputs[key] = json.loads(line)["output"]

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._outputs is None:
            self._outputs = {}
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                with self.path.open("r+b") as file:
                    file.truncate(len(whole))
            for line in whole.splitlines():
                record = _parse(line)
                if record is not None:
                    self._outputs[record["key"]] = record["output"]
        return self._outputs


@dataclass
class Caller:
    """A model that is asked through a journal.

    Attributes:
        plan: Who is asked, and how.
        model: The model; whatever asks it goes through the journal.
    """

    plan: ModelPlan
    model: Model
    _failures_in_row: int = 0
    _slots: asyncio.Semaphore | None = None

    async def reply(self, messages: Sequence[ChatMessage]) -> ModelOutput | str:
        """Returns the model's output, or in one line why there is none.

        Raises:
            ModelError: the model fails at everything.
        """
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.plan.max_connections)
        async with self._slots:
            try:
                output = await self.model.generate(list(messages))
            except Exception as error:  # each provider has errors of its own
                return self._failed(error)
        self._failures_in_row = 0
        return output

    def _failed(self, error: Exception) -> str:
        reason = one_line(f"{type(error).__name__}: {error}", 300)
        self._failures_in_row += 1
        if self._failures_in_row >= MAX_FAILURES_IN_ROW:
            raise ModelError(
                f"model {self.plan.model} failed {self._failures_in_row} times in a row: {reason}; "
                "set that right and run the same command again, which keeps what was paid for"
            ) from error
        return reason


def open_caller(plan: ModelPlan, journal: Journal) -> Caller:
    """Returns the model of a plan behind a journal.

    Raises:
        ModelError: there is no such model, or it cannot be used.
    """
    config = GenerateConfig(
        temperature=plan.temperature,
        top_p=plan.top_p,
        max_tokens=plan.max_tokens,
        max_connections=plan.max_connections,
        max_retries=MAX_PROVIDER_RETRIES,
    )
    model = with_settings(resolve_model(plan.model, **plan.arguments), config)
    caller = Caller(plan, model)
    # The instance's method, not a provider around it: name, window, token counter and rules of
    # retrying stay the provider's own, and evaluations record the model that it is.
    vars(model.api)["generate"] = _journalled(caller, journal)
    return caller


def cost_of(usage: ModelUsage | None, model_calls: int = 1) -> Cost:
    """Returns the cost of calls by their usage, cached prompt tokens included."""
    if usage is None:
        return Cost(model_calls=model_calls)
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return Cost(
        model_calls=model_calls,
        prompt_tokens=usage.input_tokens + cached,
        sampled_tokens=usage.output_tokens,
    )


def identity(label: str, attempt: int = 0) -> dict[str, Any]:
    """Returns metadata of a message that tells equal prompts apart, and seeds local engines."""
    return {IDENTITY_KEY: {"sample": label, "epoch": attempt, "turn": 0}}


def call_key(model: Model, messages: Sequence[ChatMessage], config: GenerateConfig) -> str:
    """Returns what a call is known by."""
    api = model.api
    known = identity_of(messages)
    about = {
        "model": [str(model), str(api.base_url), model.model_args],
        "weights": getattr(api, "checkpoint_hash", None),
        "messages": [[message.role, message.text] for message in messages],
        "config": config.model_dump(exclude_none=True, exclude=set(_NOT_IDENTITY)),
        "identity": dict(known) if known else None,
    }
    text = json.dumps(about, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _journalled(caller: Caller, journal: Journal) -> Generate:
    generate: Generate = caller.model.api.generate

    async def call(
        input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> Any:
        key = call_key(caller.model, input, config)
        kept = journal.find(key)
        if kept is not None:
            return kept
        with anyio.fail_after(caller.plan.timeout_seconds):
            result = await generate(
                input=input, tools=tools, tool_choice=tool_choice, config=config
            )
        output = result[0] if isinstance(result, tuple) else result
        if isinstance(output, ModelOutput):
            _bound(output)
            if output.choices and not output.error:
                journal.add(key, output)
        return result

    return call


def _bound(output: ModelOutput) -> None:
    """Cuts replies that no reader of ours looks at the rest of; they count as cut off."""
    for choice in output.choices:
        if len(choice.message.text) > MAX_COMPLETION_CHARS:
            choice.message.content = choice.message.text[:MAX_COMPLETION_CHARS]
            choice.stop_reason = "max_tokens"
    if output.choices:
        output.completion = output.choices[0].message.text


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    fits = (
        isinstance(record, dict)
        and isinstance(record.get("key"), str)
        and isinstance(record.get("output"), dict)
    )
    return record if fits else None
