"""Chats in tokens: messages -> prompt ids, and sampled text -> reasoning and answer."""

from __future__ import annotations

import functools
from typing import Any

from inspect_ai.model import ChatMessage, Content, ContentReasoning, ContentText
from jinja2 import TemplateError

from longspan.harness.errors import ModelError, VocabularyError

MAX_UNKNOWN_SHARE = 0.1
"""Share of a prompt's tokens that may be unknown before the prompt is refused."""
_THINK_START, _THINK_END = "<think>", "</think>"


def prompt_ids(tokenizer: Any, name: str, messages: list[ChatMessage]) -> tuple[int, ...]:
    """Returns the token ids of a chat, ready for the assistant's answer.

    Args:
        tokenizer: the model's tokenizer.
        name: the model's name, for messages to the user.
        messages: the chat; reasoning of past turns is left out.

    Raises:
        ModelError: the chat holds media, or the chat template refuses it.
        VocabularyError: more than `MAX_UNKNOWN_SHARE` of the tokens are unknown.
    """
    turns = tuple((message.role, _text(message)) for message in messages)
    short = sum(len(text) for _, text in turns) <= _CACHED_CHARS
    return (_cached_ids if short else _chat_ids)(tokenizer, name, turns)


def _chat_ids(tokenizer: Any, name: str, turns: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
    chat = [{"role": role, "content": content} for role, content in turns]
    try:
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    except (TemplateError, ValueError) as error:
        raise ModelError(
            f"the chat template of {name} refuses this chat ({error}); use another solver or model"
        ) from error
    ids = tuple(tokenizer.encode(text, add_special_tokens=False, verbose=False))
    unknown = tokenizer.unk_token_id
    if unknown is not None and ids.count(unknown) > MAX_UNKNOWN_SHARE * len(ids):
        raise VocabularyError(
            f"{name} does not know {ids.count(unknown) / len(ids):.0%} of this text"
            f" ({_examples(tokenizer, text)}): its vocabulary is closed; use a checkpoint with an "
            "open vocabulary, for example SmolLM2 (see longspan convert-gguf)"
        )
    return ids


# The rollouts of a sample share their prompt.
_CACHED_CHARS = 16_384
_cached_ids = functools.lru_cache(maxsize=256)(_chat_ids)


def split_thinking(text: str) -> str | list[Content]:
    """Returns reasoning and answer apart, as servers with a reasoning parser do.

    The opening tag may be missing (some chat templates end with it); reasoning that never closes is
    all reasoning, so a cut-off thought is not taken for an answer.
    """
    thought, closed, answer = text.partition(_THINK_END)
    opened = thought.lstrip().startswith(_THINK_START)
    if not closed and not opened:
        return text
    thought = thought.lstrip().removeprefix(_THINK_START).strip()
    return [ContentReasoning(reasoning=thought), ContentText(text=answer.strip())]


def _text(message: ChatMessage) -> str:
    """Returns the text of a message; reasoning of past turns is left out.

    Raises:
        ModelError: it holds images or other media.
    """
    if not isinstance(message.content, str):
        for part in message.content:
            if part.type not in ("text", "reasoning"):
                raise ModelError(f"the embedded engine reads only text: got {part.type} input")
    return message.text


def _examples(tokenizer: Any, text: str, count: int = 3) -> str:
    """Returns some words of a text that the tokenizer does not know, in quotes."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    words = (text[start:end] for id_, (start, end) in spans if id_ == tokenizer.unk_token_id)
    return ", ".join(repr(word) for word in list(dict.fromkeys(words))[:count])
