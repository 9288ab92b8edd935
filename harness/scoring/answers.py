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
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$\n?", re.MULTILINE)
_BULLET = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+")
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


def extract_answer(completion: str, may_be_list: bool = False) -> str | None:
    """Returns the final answer: the line that follows the last "the answer is", None without one.

    An empty answer and the placeholder of the instructions are None as well.

    Args:
        completion: The model's output text.
        may_be_list: Whether the answer may go on over lines: bullets, numbers, or a JSON list. Its
            items are then lines of the answer.
    """
    text = cap(remove_thinking(completion))
    ends = [phrase.end() for phrase in _PHRASE.finditer(text)]
    if not ends:
        return None
    rest = _FENCE.sub("", text[ends[-1] :])
    items = _listed(rest) if may_be_list else None
    return items if items is not None else clean_answer(rest)


def _listed(text: str) -> str | None:
    """Returns a list of several lines at the beginning of a text, None where there is none."""
    text = text.lstrip(" \t\r\n:*_")
    if text.startswith("[") and "\n" in text.partition("]")[0]:
        found, closed, _ = text.rpartition("]")
        return " ".join((found + closed).split()) if closed else None
    items = []
    for line in text.splitlines():
        bullet = _BULLET.match(line)
        if bullet is None and line.strip():
            break
        if bullet is not None:
            items.append(line[bullet.end() :].strip(_EDGES))
    return "\n".join(items) if len(items) > 1 else None


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
