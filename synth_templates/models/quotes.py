"""Finding what a model quotes in the document that it claims to quote.

A quote is found exactly or up to white space; nothing else is forgiven, so that evidence is always
the document's own words.
"""

from __future__ import annotations

import re

MAX_QUOTE_CHARS = 1000
_SHOWN_AS = {"‹": "[‹<]"}
"""What prompts show of a character (see `judge_prompts.neutralise`) -> what may stand for it."""


def find_quote(text: str, quote: str) -> tuple[int, int] | None:
    """Returns [start, end) of the first place of a text that a quote repeats, None without one."""
    quote = quote.strip()
    if not quote or len(quote) > MAX_QUOTE_CHARS:
        return None
    start = text.find(quote)
    if start >= 0:
        return start, start + len(quote)
    pattern = r"\s+".join(map(_pattern, quote.split()))
    found = re.search(pattern, text)
    return None if found is None else found.span()


def _pattern(word: str) -> str:
    return "".join(_SHOWN_AS.get(character, re.escape(character)) for character in word)
