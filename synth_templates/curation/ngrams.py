"""Words and word n-grams of questions, as duplicates and contamination are measured by.

Words are runs of letters and digits, case folded; names are words like all others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHINGLE_WORDS = 3
"""Words in an n-gram for short texts such as questions."""
_WORD = re.compile(r"\w+")
_JOINED = re.compile(r"\w+(?:-\w+)*")
_SENTENCE_END = re.compile(r"[.?!:]\s+")


def words(text: str) -> tuple[str, ...]:
    """Returns the words of a text in order."""
    return tuple(_WORD.findall(text.casefold()))


def ngrams(tokens: Sequence[str], size: int = SHINGLE_WORDS) -> list[str]:
    """Returns the n-grams of words in order; a shorter text is one n-gram, an empty one none."""
    if not tokens:
        return []
    last = max(1, len(tokens) - size + 1)
    return [" ".join(tokens[i : i + size]) for i in range(last)]


def names(text: str) -> frozenset[str]:
    """Returns the words, case folded, that look like parts of names: those with a capital.

    The first word of a sentence is none, since it has a capital anyway; nor are numbers. Of words
    with hyphens all parts belong to the name.
    """
    return frozenset(
        word
        for sentence in _SENTENCE_END.split(text)
        for token in _JOINED.findall(sentence)[1:]
        if any(character.isupper() for character in token)
        for word in words(token)
    )


def jaccard(first: set[str] | frozenset[str], second: set[str] | frozenset[str]) -> float:
    """Returns |A & B| / |A | B| in [0, 1]; two empty sets have nothing in common."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0
