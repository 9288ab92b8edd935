r"""Taking the final answer out of a completion.

The protocol (reference code of QwenLong-L1): thinking is removed, and the answer is what follows
the last "the answer is". Where ours differs: the phrase is found in any case, inside Markdown
emphasis, and as "the correct answer is" or "the answer to the question is", but not where it only
hopes ("I hope the answer is helpful"); thinking that never ends is no answer (the reference falls
back to it, so a model could be scored on its reasoning); the answer ends with its line; a leading
dot stays (".5"). This module does not know what a right answer is.
"""

from __future__ import annotations

import re

from longspan.harness.scoring.normal import plain

MAX_COMPLETION_CHARS = 200_000
"""Scorers look at this many characters at the end of a completion, so that they always finish."""

PLACEHOLDER = "(insert answer here)"
THINKING_START = "<think>"
THINKING_END = "</think>"
_PHRASE = re.compile(
    r"(?P<hope>\b(?:hope|hoping|wish|if|whether|unless)[\s*_]{1,8}(?:that[\s*_]{1,8})?)?"
    r"\bthe[\s*_]{1,8}(?:(?:correct|final|right|best)[\s*_]{1,8}){0,2}answer[\s*_]{1,8}"
    r"(?:to[\s*_]{1,8}(?:the|this|your)[\s*_]{1,8}question[\s*_]{1,8})?is\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$\n?", re.MULTILINE)
_BULLET = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+")
_EDGES = " \t\r*_`\"'“”‘’"


def cap(completion: str) -> str:
    """Returns the end of a completion, at most `MAX_COMPLETION_CHARS` characters."""
    return completion[-MAX_COMPLETION_CHARS:]


def remove_thinking(completion: str) -> str:
    """Returns what follows the last `</think>`; nothing where thinking began and never ended."""
    _, end, rest = completion.rpartition(THINKING_END)
    if THINKING_START in rest:
        rest = rest[: rest.index(THINKING_START)]
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
    phrases = list(_PHRASE.finditer(text))
    if not phrases:
        return None
    stated = [phrase for phrase in phrases if not phrase["hope"]] or phrases
    rest = _FENCE.sub("", text[stated[-1].end() :])
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
            items.append(_strip(plain(line[bullet.end() :])))
    return "\n".join(items) if len(items) > 1 else None


def says_phrase(text: str) -> bool:
    """Returns whether a text holds the phrase, so that a gold answer could not be said after it."""
    return _PHRASE.search(text) is not None


def clean_answer(text: str) -> str | None:
    r"""Returns the first line of an answer without `:`, emphasis, quotes, mark-up and final dot."""
    lines = text.lstrip(" \t\r\n:*_").splitlines()
    answer = _strip(plain(_strip(lines[0]))) if lines else ""
    if not answer:  # an answer may be a mark alone ("*")
        answer = text.strip().partition("\n")[0].rstrip(". ")
    return None if answer.lower() == PLACEHOLDER else answer or None


def _strip(text: str) -> str:
    return text.strip(_EDGES).rstrip(".").strip(_EDGES)
