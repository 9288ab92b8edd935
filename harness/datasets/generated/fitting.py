"""Fitting a context to a length: how much filling a prompt takes to be so many tokens long.

A length counts the whole prompt, the room for the answer and the chat template. What a tokenizer
makes of a text is known only once the text is whole, so the size is searched for. The cost of
filling is nearly linear, so a few counts suffice: small ones first, then at most about three of the
full length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.datasets.records import Record, text_id
from longspan.harness.errors import DataError
from longspan.harness.prompts import render_prompt
from longspan.harness.tokens import TokenCounter

_TOLERANCE = 2_000
"""The search ends within one part in so many of the limit, or within `_MIN_TOLERANCE` tokens."""
_MIN_TOLERANCE = 4
_PATIENCE = 3
"""After so many counts the tolerance grows with every further one."""
_MAX_GROWTH = 16
"""How many times larger the next text may be: a slope found on a small text is inexact."""
_MAX_SECANTS = 6
_MAX_COUNTS = 16


class DrawOptions(BaseModel):
    """What every generated task can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 42
    """Seed of all that is drawn."""
    answer_tokens: int | None = Field(default=None, ge=1)
    """Tokens kept free for the answer; None: the task's own. Models that think first need more."""
    overhead_tokens: int = Field(default=32, ge=0)
    """Tokens kept free for the chat template."""


@dataclass(frozen=True)
class Draft:
    """A sample whose context may still be of any length."""

    question: str
    targets: tuple[str, ...]
    build: Callable[[int], tuple[Document, ...]]
    """Given how many units of filling, returns the context; equal numbers give equal contexts."""
    probe_units: int
    """Units that make some hundred tokens."""
    min_units: int = 1
    """Fewest units with which the question has its answer."""
    max_units: int | None = None
    """Most units that there are."""
    hops: int | None = None
    supporting: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Further metadata."""


@dataclass(frozen=True)
class Fitted:
    """A context of the length that was asked for."""

    num_units: int
    prompt_tokens: int
    documents: tuple[Document, ...]


@dataclass(frozen=True)
class Room:
    """The tokens that a sample is fitted to."""

    length_tokens: int
    """Prompt, answer and overhead together."""
    answer_tokens: int
    """Kept free for the answer."""
    overhead_tokens: int
    """Kept free for the chat template."""

    @property
    def prompt_tokens(self) -> int:
        """Returns what is left for the prompt."""
        return self.length_tokens - self.answer_tokens - self.overhead_tokens

    def too_small(self, name: str, counter: TokenCounter) -> DataError:
        """Returns the error for a sample that does not fit even with the least filling."""
        return DataError(
            f"length_tokens is too small for {name}: got {self.length_tokens}, of which "
            f"{self.prompt_tokens} are for the prompt (tokens of {counter.name}); raise it"
        )


def fit(
    draft: Draft, instructions: str, room: Room, counter: TokenCounter, guess: int | None = None
) -> Fitted | None:
    """Returns the draft with the longest context that fits; None where even the shortest does not.

    The prompt never exceeds the room. It stays below it by less than a unit or by about one part in
    2,000, whichever is more.

    Args:
        draft: What to fit.
        instructions: Format instructions, which are part of the prompt.
        room: The tokens to fit it to.
        counter: Whose tokens are counted.
        guess: A number of units to try first: that of a similar sample.

    Raises:
        DataError: there is not enough filling.
    """

    def at(num_units: int) -> Fitted:
        documents = draft.build(num_units)
        prompt = render_prompt(render_context(documents), draft.question, instructions)
        return Fitted(num_units, counter.count(prompt), documents)

    limit = room.prompt_tokens
    smallest = at(draft.min_units)
    if smallest.prompt_tokens > limit:
        return None
    low, high = smallest, None
    tolerance = max(_MIN_TOLERANCE, limit // _TOLERANCE)
    for num_counts in range(_MAX_COUNTS):
        slack = limit - low.prompt_tokens
        if slack <= tolerance * max(1, num_counts - _PATIENCE):
            break
        if high and high.num_units == low.num_units + 1:
            break
        if low.num_units == draft.max_units:
            raise DataError(
                f"not enough filling for {limit} tokens: all of it makes {low.prompt_tokens} "
                f"(tokens of {counter.name}); lower length_tokens"
            )
        if low is smallest and not high:
            num_units = max(guess or 0, low.num_units + draft.probe_units)
        elif high and num_counts >= _MAX_SECANTS:
            num_units = (low.num_units + high.num_units) // 2
        else:
            num_units = _next_units(smallest, low, high, limit - tolerance // 2)
        num_units = min(num_units, draft.max_units or num_units)
        tried = at(num_units)
        if tried.prompt_tokens <= limit:
            low = tried
        else:
            high = tried
    return low


def _next_units(smallest: Fitted, low: Fitted, high: Fitted | None, target_tokens: int) -> int:
    """Returns where the line through two sizes reaches the target, within what is still open."""
    first, second = (low, high) if high else (smallest, low)
    num_tokens = max(1, second.prompt_tokens - first.prompt_tokens)
    units_per_token = (second.num_units - first.num_units) / num_tokens
    step = int((target_tokens - low.prompt_tokens) * units_per_token)
    most = high.num_units - 1 if high else low.num_units * _MAX_GROWTH
    return min(low.num_units + max(1, step), most)


def to_record(
    draft: Draft, fitted: Fitted, kind: str, instructions: str, extra: dict[str, Any]
) -> Record:
    """Returns the record of a draft whose context has its length with these instructions."""
    return Record(
        id=text_id(kind, draft.question, *(document.id for document in fitted.documents)),
        values={"question": draft.question},
        targets=draft.targets,
        documents=fitted.documents,
        supporting=draft.supporting,
        instructions=instructions,
        hops=draft.hops,
        kind=kind,
        extra={**draft.extra, "prompt_tokens": fitted.prompt_tokens, **extra},
    )
