r"""Taking the final answer out of a completion.

The protocol (reference code of QwenLong-L1): thinking is removed, and the answer is what follows
the last "the answer is". Where ours differs: the phrase is found in any case, inside Markdown
emphasis, and as "the correct answer is" or "the answer to the question is", but not where it only
hopes ("I hope the answer is helpful"); thinking that never ends is no answer (the reference falls
back to it, so a model could be scored on its reasoning); the answer ends with its line; a leading
dot stays (".5"). This module does not know what a right answer is.
"""

from __future__ import annotations

import json
import re

from longspan.harness.scoring.normal import plain

MAX_COMPLETION_CHARS = 200_000
"""Scorers look at this many characters at the end of a completion, so that they always finish."""

PLACEHOLDER = "(insert answer here)"
THINKING_START = "<think>"
THINKING_END = "</think>"
_OTHER_STARTS = re.compile(
    r"<\s*(?:think|thinking|thought|reasoning|seed:think)\s*>|\[THINK\]|◁think▷"
    r"|<\|begin_of_thought\|>|<\|channel\|>analysis(?:<\|message\|>)?",
    re.IGNORECASE,
)
_OTHER_ENDS = re.compile(
    r"<\s*/\s*(?:think|thinking|thought|reasoning|seed:think)\s*>|\[/THINK\]|◁/think▷"
    r"|<\|end_of_thought\|>|<\|channel\|>final(?:<\|message\|>)?",
    re.IGNORECASE,
)
"""Marks of other models' thinking; `<think>` stands for all of them."""
_PHRASE = re.compile(
    r"(?P<hope>\b(?:hope|hoping|wish|if|whether|unless)[\s*_]{1,8}(?:that[\s*_]{1,8})?)?"
    r"\bthe[\s*_]{1,8}(?:(?:correct|final|right|best)[\s*_]{1,8}){0,2}answer[\s*_]{1,8}"
    r"(?:to[\s*_]{1,8}(?:the|this|your)[\s*_]{1,8}question[\s*_]{1,8})?is(?![^\W_])",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"\s+(?:(?:also|clearly|directly|explicitly|not)\s+)?(?:supported|based|found|derived|drawn|taken"
    r"|stated|mentioned|located|provided|confirmed|consistent)\b",
    re.IGNORECASE,
)
"""What follows the phrase where it only speaks of an answer given before."""
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$\n?", re.MULTILINE)
_INTRODUCTION = re.compile(r"\s*(?:as follows|the following)[^\n:]{0,40}:(?=\s*\n)", re.IGNORECASE)
_BULLET = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+")
_DISPLAYS = (("\\[", "\\]"), ("$$", "$$"), ("\\(", "\\)"))
_MAX_DISPLAY_CHARS = 500
_EMPHASIS = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)")
_LEADING = " \t\r\n\x0b\x0c\x85\u00a0\u2028\u2029:*_"
_EDGES = " \t\r*_`\"'“”‘’"


def cap(completion: str) -> str:
    """Returns the end of a completion, at most `MAX_COMPLETION_CHARS` characters."""
    return completion[-MAX_COMPLETION_CHARS:]


def remove_thinking(completion: str) -> str:
    """Returns what follows the last `</think>`; nothing where thinking began and never ended.

    The marks of other model families (`<thinking>`, `[THINK]`, channels of gpt-oss) are read alike.
    """
    if "<" in completion or "[" in completion or "◁" in completion:
        completion = _OTHER_ENDS.sub(THINKING_END, _OTHER_STARTS.sub(THINKING_START, completion))
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
    stated = [one for one in phrases if not one["hope"] and not _REMARK.match(text, one.end())]
    stated = stated or phrases
    rest = _FENCE.sub("", text[stated[-1].end() :])
    items = _listed(rest) if may_be_list else None
    return items if items is not None else clean_answer(rest)


def _listed(text: str) -> str | None:
    """Returns a list of several lines at the beginning of a text, None where there is none.

    A JSON list, bullets, numbers, or plain lines before the first empty one; an introduction
    ("as follows:") may stand before it.
    """
    text = _INTRODUCTION.sub("", text.lstrip(" \t:_"))
    json_list = _leading_json(text.lstrip())
    if json_list is not None:
        return json_list
    items: list[str] = []
    marked = 0
    for line in text.lstrip("\r\n").split("\n"):
        bullet = _BULLET.match(line)
        if not line.strip() or (marked and bullet is None):
            if items and bullet is None:
                break
            continue
        marked += bullet is not None
        items.append(_strip(plain(line[bullet.end() :] if bullet else line)))
    begins_on_next_line = text[:1] in ("\n", "\r")
    is_list = marked == len(items) or (marked == 0 and begins_on_next_line)
    return "\n".join(items) if len(items) > 1 and is_list else None


def _leading_json(text: str) -> str | None:
    """Returns a JSON list over lines with what follows in its last line; None without one.

    What follows stays with it: a second list there makes both a list of guesses.
    """
    if not text.startswith("["):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or "\n" not in text[:end]:
        return None
    return json.dumps(value, ensure_ascii=False) + text[end:].partition("\n")[0]


def says_phrase(text: str) -> bool:
    """Returns whether a text holds the phrase, so that a gold answer could not be said after it."""
    return _PHRASE.search(text) is not None


def clean_answer(text: str) -> str | None:
    r"""Returns the first line of an answer without `:`, emphasis, quotes, mark-up and final dot."""
    lines = _undisplayed(text.lstrip(_LEADING)).splitlines()
    answer = _strip(_EMPHASIS.sub("", plain(_strip(lines[0])))) if lines else ""
    if not answer:  # an answer may be a mark alone ("*")
        answer = text.strip().partition("\n")[0].rstrip(". ")
    return None if answer.lower() == PLACEHOLDER else answer or None


def _undisplayed(text: str) -> str:
    """Returns a text that begins with displayed mathematics with it in line."""
    for opening, closing in _DISPLAYS:
        if text.startswith(opening):
            inner, closed, rest = text[len(opening) :].partition(closing)
            if closed and len(inner) <= _MAX_DISPLAY_CHARS:
                return " ".join(inner.split()) + rest
    return text


def _strip(text: str) -> str:
    return text.strip(_EDGES).rstrip(".").strip(_EDGES)
