"""Inputs of other packages, which declare neither question nor document.

A short one is asked as it is: the sample's own messages, with the options of a multiple choice. A
longer one is taken apart into document, question and format (`decompose`), so that agents can read
it piece by piece.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from inspect_ai.model import ChatMessage
from inspect_ai.solver import TaskState

from longspan.agents.choices import (
    choice_instructions,
    question_with_choices,
    shows_choices,
    with_choices,
)
from longspan.agents.decompose import (
    Parts,
    edges,
    edges_prompt,
    last_paragraph,
    parts_by_model,
    parts_by_rule,
)
from longspan.agents.messages import as_text, spoken_messages
from longspan.agents.query import Query
from longspan.harness.tokens import TokenCounter

WHOLE_INPUT = "whole_input"
"""Who declared the query of an input that is asked as it is."""
MAX_PLAIN_TOKENS = 32_768
"""An input that declares no document is asked as it is up to this length, or half of the window."""
MAX_QUESTION_TOKENS = 1024
MAX_CHAT_QUESTION_TOKENS = 4096
"""A chat's last message up to this length, or a quarter of the window, is a question."""

Ask = Callable[[str], Awaitable[str | None]]
"""Makes the call that asks for a question and returns what is said; None where none is left."""


async def open_undeclared(
    state: TaskState,
    plain: Query,
    plain_tokens: int | None,
    window: int | None,
    counter: TokenCounter,
    ask: Ask,
) -> Query:
    """Returns the query of an input that declares nothing.

    One that is asked as it is has the state's messages shown with their options.

    Args:
        state: The sample's state.
        plain: The query as it was read: the whole input.
        plain_tokens: Most tokens of an input that is asked as it is, where the caller wants fewer.
        window: Tokens of prompt and output; None where it is not known.
        counter: Counts the tokens.
        ask: Asks a model for the question of an unknown form.
    """
    own = spoken_messages(state.messages)
    shows = shows_choices(state)
    messages = with_choices(state) if shows else state.messages
    text = as_text(spoken_messages(messages)) or plain.question
    most = MAX_PLAIN_TOKENS if window is None else window // 2
    if counter.count(text) <= (most if plain_tokens is None else min(most, plain_tokens)):
        state.messages = messages
        return replace(plain, question=text, declared_by=WHOLE_INPUT)
    query = await take_apart(own, plain, window, counter, ask)
    if not shows:
        return query
    form = "\n\n".join(filter(None, (query.instructions, choice_instructions(state))))
    return replace(query, question=question_with_choices(state, query.question), instructions=form)


async def take_apart(
    messages: Sequence[ChatMessage],
    plain: Query,
    window: int | None,
    counter: TokenCounter,
    ask: Ask,
) -> Query:
    """Returns the query of an input that is too long to be asked as it is.

    Of a chat the last user message is the question and all others are the document, each a
    document of its own. A last message that is too long for a question is itself taken apart.

    Args:
        messages: The input, system messages left out.
        plain: Its query as it was read: the whole input.
        window: Tokens of prompt and output; None where it is not known.
        counter: Counts the tokens.
        ask: Asks a model for the question of an unknown form.
    """
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=len(messages) - 1)
    text = messages[last].text if messages else plain.question
    earlier, starts = _as_document([*messages[:last], *messages[last + 1 :]])
    most = MAX_CHAT_QUESTION_TOKENS
    most = most if window is None else min(most, window // 4)
    if earlier.strip() and counter.count(text) <= most:
        found = Parts(text, "", 0, 0, "rule").query("", plain)
        return replace(found, context=earlier, document_starts=starts)
    parts = parts_by_rule(text)
    if parts is None:
        said = await ask(edges_prompt(*edges(text, window, counter)))
        parts = None if said is None else parts_by_model(text, said)
    if parts is None:
        most = MAX_QUESTION_TOKENS if window is None else max(1, window // 8)
        parts = last_paragraph(text, most, counter)
    found = parts.query(text, plain)
    if not earlier.strip():
        return found
    return replace(
        found,
        context=f"{earlier}\n\n{found.context}",
        document_starts=(*starts, len(earlier) + 2),
    )


def _as_document(messages: Sequence[ChatMessage]) -> tuple[str, tuple[int, ...]]:
    """Returns messages as one text, and where each of them starts in it."""
    parts = [f"{message.role}: {message.text}" for message in messages]
    starts, start = [], 0
    for part in parts:
        starts.append(start)
        start += len(part) + 2
    return "\n\n".join(parts), tuple(starts)
