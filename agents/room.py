"""The room in a model's window: what output and chat template take before any text is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.model import Model

from longspan.harness.tokens import TokenCounter

SEAM_TOKENS = 4
"""Tokens that may be added where the parts of a prompt meet (a merge of the parts is undone or
done)."""
TEMPLATE_TOKENS = 8
"""Assumed tokens of a chat template that cannot be seen from here."""
DEFAULT_OUTPUT_SHARE = 0.25
"""Share of the window kept for the output where neither run nor provider limits it."""
MAX_OUTPUT_SHARE = 0.5
"""Most of the window that an output limit may take from the input; a larger limit is cut per call.
"""


def output_limit(model: Model) -> int | None:
    """Returns the run's output limit in tokens, or the provider's own default, or None.

    Generation settings are eval arguments (`--max-tokens`). Inspect merges them into the
    configuration of a model that it makes from a name; a model that the caller made, and
    `Task(config=...)`, keep theirs, and no public interface shows a solver the rest. The limit
    then still holds for every call that a solver leaves without one.
    """
    limit = model.config.max_tokens
    if limit is None:
        limit = model.api.max_tokens_for_config(model.config)
    return model.api.max_tokens() if limit is None else limit


def input_room(window: int | None, max_output_tokens: int | None) -> int | None:
    """Returns how many tokens a prompt and its chat template may have; None: no known window."""
    if window is None:
        return None
    output = max_output_tokens or int(window * DEFAULT_OUTPUT_SHARE)
    return window - max(1, min(output, int(window * MAX_OUTPUT_SHARE)))


def chat_tokens(messages: Sequence[Mapping[str, str]], counter: TokenCounter) -> int:
    """Returns the tokens of a chat: as the tokenizer's template renders it, else estimated."""
    tokenizer: Any = getattr(counter, "tokenizer", None)
    if tokenizer is None or getattr(tokenizer, "chat_template", None) is None:
        frame = TEMPLATE_TOKENS * len(messages) + SEAM_TOKENS
        return sum(counter.count(message["content"]) for message in messages) + frame
    text = tokenizer.apply_chat_template(
        [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
    )
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def template_tokens(counter: TokenCounter) -> int:
    """Returns the tokens of a prompt besides its text: the chat template and the seams.

    A template may bring a system message of its own, so it is rendered where the counter's
    tokenizer has one.
    """
    tokenizer: Any = getattr(counter, "tokenizer", None)
    if tokenizer is None or getattr(tokenizer, "chat_template", None) is None:
        return TEMPLATE_TOKENS + SEAM_TOKENS
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": ""}], tokenize=False, add_generation_prompt=True
    )
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) + SEAM_TOKENS
