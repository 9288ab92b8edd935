"""The prompt of a task: text block, question, instructions; and the message that carries it.

The form follows the paper's evaluation prompt (arXiv 2512.12967; reference code of QwenLong-L1), in
our own wording except for the phrase "Therefore, the answer is (insert answer here)", which is part
of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageUser
from inspect_ai.solver import TaskState
from inspect_ai.util import store

DEFAULT_INSTRUCTIONS = 'End your response with: "Therefore, the answer is (insert answer here)".'
"""Format instructions that a task uses unless its spec declares others."""

READ_INSTRUCTION = "Read the text below and answer the question that follows it."

IDENTITY_KEY = "longspan"
"""Key of a message's metadata, and of a sample's store, with the identity of the rollout."""

ANSWER_PHRASE = "Therefore, the answer is"


def render_question(question: str, instructions: str) -> str:
    """Returns the question and its format instructions as they stand at the end of every prompt."""
    return "\n\n".join(part for part in (question.strip(), instructions.strip()) if part)


def render_prompt(context: str, question: str, instructions: str = DEFAULT_INSTRUCTIONS) -> str:
    """Returns the user prompt of a full-context task.

    Plain concatenation rather than a template with placeholders: a document that contains a
    placeholder's name must not be substituted into.
    """
    tail = render_question(question, instructions)
    return f"{READ_INSTRUCTION}\n\n<text>\n{context.strip()}\n</text>\n\n{tail}"


def user_message(text: str, state: TaskState, turn: int = 0) -> ChatMessageUser:
    """Returns a user message tagged with the identity of its rollout.

    The tag (sample, epoch, turn) lets a local engine derive the seed of every call from what the
    call *is* instead of from when it arrives, so that a resumed run repeats an uninterrupted one.
    """
    identity = {"sample": str(state.sample_id), "epoch": state.epoch, "turn": turn}
    return ChatMessageUser(content=text, metadata={IDENTITY_KEY: identity})


def identity_of(messages: Sequence[ChatMessage]) -> Mapping[str, Any] | None:
    """Returns the sample, epoch and turn of a call; None where nothing says it.

    The last user message's tag says it, else what the environment left in the sample's store: a
    solver that knows nothing of us may write its messages anew.
    """
    tags = [(message.metadata or {}).get(IDENTITY_KEY) for message in messages if _asks(message)]
    known: Mapping[str, Any] | None = (tags[-1] if tags else None) or store().get(IDENTITY_KEY)
    return known


def _asks(message: ChatMessage) -> bool:
    return message.role == "user"
