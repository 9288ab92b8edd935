r"""Taking the final answer out of a completion.

The protocol (reference code of QwenLong-L1): thinking is removed, and the answer is what follows
the last "the answer is". Where ours differs: the phrase is found in any case, inside Markdown
emphasis, and as "the correct answer is"; thinking that never ends is no answer (the reference
falls back to it, so a model could be scored on its reasoning); the answer ends with its line; a
leading dot stays (".5"). This module does not know what a right answer is.
"""

from __future__ import annotations

import re

MAX_COMPLETION_CHARS = 200_000
"""Scorers look at this many characters at the end of a completion, so that they always finish."""

PLACEHOLDER = "(insert answer here)"
_THINKING_START = "<think>"
_THINKING_END = "</think>"
_PHRASE = re.compile(
    r"\bthe[\s*_]{1,8}(?:(?:correct|final)[\s*_]{1,8})?answer[\s*_]{1,8}is\b", re.IGNORECASE
)
_BOXED = re.compile(r"\$*\\boxed\{([^{}]*)\}\$*")
_EDGES = " \t\r*_`\"'“”‘’"


def cap(completion: str) -> str:
    """Returns the end of a completion, at most `MAX_COMPLETION_CHARS` characters."""
    return completion[-MAX_COMPLETION_CHARS:]


def remove_thinking(completion: str) -> str:
    """Returns what follows the last `</think>`; nothing where thinking began and never ended."""
    _, end, rest = completion.rpartition(_THINKING_END)
    if _THINKING_START in rest:
        rest = rest[: rest.index(_THINKING_START)]
    return rest.strip()


def extract_answer(completion: str) -> str | None:
    """Returns the final answer: the line that follows the last "the answer is", None without one.

    An empty answer and the placeholder of the instructions are None as well.
    """
    text = cap(remove_thinking(completion))
    ends = [phrase.end() for phrase in _PHRASE.finditer(text)]
    return clean_answer(text[ends[-1] :]) if ends else None


def whole_answer(completion: str) -> str | None:
    """Returns the whole completion without thinking, for tasks whose output *is* the answer."""
    return cap(remove_thinking(completion)) or None


def clean_answer(text: str) -> str | None:
    r"""Returns the first line of an answer without `:`, emphasis, quotes, `\boxed{}`, final dot."""
    lines = text.lstrip(" \t\r\n:*_").splitlines()
    answer = lines[0].strip(_EDGES).rstrip(".").strip(_EDGES) if lines else ""
    if not answer:  # an answer may be a mark alone ("*")
        answer = text.strip().partition("\n")[0].rstrip(". ")
    boxed = _BOXED.fullmatch(answer)
    if boxed:
        answer = boxed.group(1).strip()
    return None if answer.lower() == PLACEHOLDER else answer or None
