"""A model that is not there: it counts what an agent would ask and says what it is told to say.

With it a forecast runs the agent itself, so that no agent needs a second description of its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)

from longspan.agents.room import chat_tokens
from longspan.harness.prompts import identity_of
from longspan.harness.references import expand
from longspan.harness.tokens import TokenCounter

Reply = Callable[[str, int, int | None], str]
"""Sample id, number of the call in its run, output limit -> what the model says."""
START_SECONDS = 0.002
"""Calls that start within this time of each other are at the same time."""


@dataclass(frozen=True)
class DryCall:
    """One call that would be made."""

    sample: str
    turn: int
    depth: int
    """Calls of the sample one after the other up to this one, itself included."""
    input_tokens: int
    output_tokens: int


@dataclass
class _Progress:
    done: int = 0
    calls: list[DryCall] = field(default_factory=list)


class DryModelAPI(ModelAPI):
    """Stands in for a model of which only tokenizer and window are needed."""

    expands_references = True
    keeps_no_journal = True

    def __init__(self, model_name: str = "model", **settings: Any) -> None:
        super().__init__(model_name, **settings)
        self.token_counter: TokenCounter
        self.window: int | None = None
        self.inner: ModelAPI | None = None
        self.reply: Reply = lambda sample, turn, limit: ""
        self._samples: dict[str, _Progress] = {}

    @property
    def calls(self) -> list[DryCall]:
        """All calls so far, sample by sample."""
        return [call for one in self._samples.values() for call in one.calls]

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns the reply that is foreseen for this call."""
        identity = identity_of(input) or {}
        sample = f"{identity.get('sample')}/{identity.get('epoch')}"
        progress = self._samples.setdefault(sample, _Progress())
        depth = progress.done + 1
        await anyio.sleep(START_SECONDS)
        turn = int(identity.get("turn", len(progress.calls)))
        num_input = chat_tokens(_as_dicts(expand(input)), self.token_counter)
        limit = self._output_limit(config.max_tokens, num_input)
        said = self._within(self.reply(str(identity.get("sample")), turn, limit), limit)
        num_output = self.token_counter.count(said) + 1
        num_output = num_output if limit is None else min(num_output, limit)
        progress.done = max(progress.done, depth)
        progress.calls.append(DryCall(sample, turn, depth, num_input, num_output))
        output = ModelOutput.from_content(self.model_name, said)
        output.usage = ModelUsage(
            input_tokens=num_input,
            output_tokens=num_output,
            total_tokens=num_input + num_output,
        )
        return output

    async def count_text_tokens(self, text: str) -> int:
        """Returns the tokens of a text; Inspect's own counter would need a network."""
        return self.token_counter.count(text)

    def max_tokens(self) -> int | None:
        """Returns the output limit that the model's own provider sets."""
        return self.inner.max_tokens() if self.inner else None

    def max_tokens_for_config(self, config: GenerateConfig) -> int | None:
        """Returns the output limit that the model's own provider sets for a configuration."""
        return self.inner.max_tokens_for_config(config) if self.inner else None

    def _output_limit(self, limit: int | None, num_input: int) -> int | None:
        """Returns the limit of an output, which ends with the window as a real model's does."""
        if self.window is None:
            return limit
        room = max(1, self.window - num_input)
        return room if limit is None else min(limit, room)

    def _within(self, text: str, limit: int | None) -> str:
        while limit is not None and text and self.token_counter.count(text) > limit:
            text = text[: max(0, min(len(text) - 1, len(text) * 9 // 10))]
        return text


@modelapi(name="longspan-dry")
def longspan_dry() -> type[ModelAPI]:
    """Registers the class, so that Inspect can name its models."""
    return DryModelAPI


def dry_model(
    counter: TokenCounter,
    window: int | None,
    config: GenerateConfig,
    reply: Reply,
    inner: ModelAPI | None = None,
) -> Model:
    """Returns a model with a tokenizer, a window and replies, and nothing else.

    Args:
        counter: The tokenizer.
        window: Tokens of prompt and output; None where it is not known.
        config: The run's settings.
        reply: What it says.
        inner: The provider of the model that it stands for, for its default output limit.
    """
    model = get_model("longspan-dry/model", config=config, memoize=False)
    vars(model.api).update(token_counter=counter, window=window, inner=inner, reply=reply)
    return model


def _as_dicts(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.text} for message in messages]
