"""The messages of an agent's calls: their text, their tag, and characters that no log can hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspect_ai.model import ChatMessage, ChatMessageUser, ModelOutput
from inspect_ai.solver import TaskState

from longspan.harness.errors import WindowError
from longspan.harness.prompts import user_message

_SURROGATE = re.compile("[\ud800-\udfff]")


def system_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Returns the system messages, which stand in front of every prompt."""
    return [message for message in messages if message.role == "system"]


def spoken_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Returns all messages but the system's."""
    return [message for message in messages if message.role != "system"]


def window_beside(window: int | None, system_tokens: int) -> int | None:
    """Returns the window that system messages leave.

    Raises:
        WindowError: They leave none.
    """
    if window is not None and system_tokens >= window:
        raise WindowError(
            f"the task's system messages fill the model's window: got {system_tokens} tokens in a "
            f"window of {window}; shorten them or use a model with a larger window"
        )
    return window and window - system_tokens


def as_text(messages: Sequence[ChatMessage]) -> str:
    """Returns one message's text, or several as "role: content" by message."""
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def as_key(messages: Sequence[ChatMessage]) -> str:
    """Returns what messages say, the same in every process."""
    fields = {"role", "content", "tool_calls"}
    return "\n".join(
        repr(message.model_dump(include=fields, exclude_none=True)) for message in messages
    )


def tagged(messages: Sequence[ChatMessage], state: TaskState) -> list[ChatMessage]:
    """Returns the messages, the last with the rollout's identity, from which seeds derive."""
    messages = list(messages)
    if messages and isinstance(messages[-1], ChatMessageUser):
        tag = user_message("", state).metadata or {}
        metadata = {**(messages[-1].metadata or {}), **tag}
        messages[-1] = messages[-1].model_copy(update={"metadata": metadata})
    return messages


def encodable(text: str) -> str:
    """Returns the text with halves of surrogate pairs, which no log can hold, as U+FFFD."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encodable_output(output: ModelOutput) -> ModelOutput:
    """Returns the output with its texts `encodable`; itself where they are."""
    texts = [part for one in output.choices for part in _texts(one.message.content)]
    if not any(_SURROGATE.search(text) for text in (output.completion, *texts)):
        return output
    output = output.model_copy(deep=True)
    for one in output.choices:
        content = one.message.content
        if isinstance(content, str):
            one.message.content = encodable(content)
            continue
        for part in content:
            for name in _TEXT_FIELDS:
                if isinstance(text := getattr(part, name, None), str):
                    setattr(part, name, encodable(text))
    output.completion = encodable(output.completion)
    return output


_TEXT_FIELDS = ("text", "reasoning", "summary")


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    found = [getattr(part, name, None) for part in parts for name in _TEXT_FIELDS]
    return [text for text in found if isinstance(text, str)]
