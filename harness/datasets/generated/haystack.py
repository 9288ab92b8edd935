"""Haystacks: filling text of any length, and needles hidden in it between sentences or lines.

A haystack has no end of its own. How much of it is used is counted in units, which differ
(characters of prose, lines), so that a length in tokens can be searched for
(`longspan.harness.datasets.generated.fitting`). This module does not know tokens.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from longspan.harness.errors import DataError

DEPTHS = tuple(round(100 * place / 39) / 100 for place in range(40))
"""The 40 depths of RULER: evenly spaced over the text, in whole percent; fractions in [0, 1]."""

NOISE_LINE = (
    "The river runs cold. The road goes uphill. The lamp is lit. "
    "Nobody is late today. Wait a while, then walk on."
)
"""A line that says nothing; a noise haystack repeats it."""

# The sign comes first because that is what is fast to look for. Two letters stand before it, none
# of them a capital: "J. Smith", "St. Maurice" and "U.S. troops" go on.
_SENTENCE_END = re.compile(
    r"[.!?…](?:(?<=[^\W_A-Z]{2}.)|(?<=[)\]\"”’%].))[\"”’)\]]* (?=[^a-z])"
    r"|[。！？] ?"
)
_MAX_WORD_CHARS = 100
_CUT = " ..."


@dataclass(frozen=True)
class Needle:
    """A text to hide, and where."""

    text: str
    depth: float
    """Fraction of the haystack that stands before it, in [0, 1]."""


class Haystack(Protocol):
    """Filling text in which needles can be hidden."""

    probe_units: int
    """Units that make some hundred tokens."""

    def hide(self, needles: Sequence[Needle], num_units: int) -> str:
        """Returns the first units with the needles at their depths.

        Needles of the same depth keep their order.
        """
        ...


class Prose:
    """Running text; a unit is a character, and the last word is never cut.

    The texts follow each other, with white space collapsed, and begin again after the last one.
    """

    probe_units = 2_000

    def __init__(self, texts: Iterable[str]) -> None:
        """Finds the beginnings of sentences.

        Raises:
            DataError: there are none.
        """
        self._text = " ".join(" ".join(texts).split()) + " "
        ends = [match.end() for match in _SENTENCE_END.finditer(self._text)]
        self._starts = [0, *(end for end in ends if end < len(self._text))]
        if len(self._starts) < 2:
            raise DataError(
                "no sentence ends within the texts of the haystack: "
                f"got {len(self._text) - 1} characters; give prose of several sentences"
            )

    def hide(self, needles: Sequence[Needle], num_units: int) -> str:
        """Returns about so many characters with the needles before the sentences at their depths.

        A needle of depth d stands at the last beginning of a sentence within the first d of the
        characters; one of depth 1 at the end, after the dots that close the sentence cut there.
        """
        end = self._word_end(num_units)
        whole, rest = divmod(end, len(self._text))
        text = (self._text * whole + self._text[:rest]).rstrip() + _CUT
        pieces: list[str] = []
        start = 0
        for needle in sorted(needles, key=lambda needle: needle.depth):
            stop = len(text) if needle.depth == 1 else self._sentence_start(int(end * needle.depth))
            pieces += [text[start:stop].strip(), needle.text]
            start = stop
        return " ".join(filter(None, [*pieces, text[start:].strip()]))

    def _word_end(self, num_chars: int) -> int:
        """Returns where the last whole word within so many characters ends."""
        whole, rest = divmod(num_chars, len(self._text))
        space = self._text.rfind(" ", max(0, rest - _MAX_WORD_CHARS), rest + 1)
        return whole * len(self._text) + (rest if space < 0 else space)

    def _sentence_start(self, position: int) -> int:
        whole, rest = divmod(position, len(self._text))
        return whole * len(self._text) + self._starts[bisect.bisect_right(self._starts, rest) - 1]


class Lines:
    """Lines one below the other; a unit is a line."""

    probe_units = 20

    def __init__(self, source: Iterator[str]) -> None:
        """Prepares to draw lines from an endless source, no more than are asked for."""
        self._source = source
        self._drawn: list[str] = []

    def hide(self, needles: Sequence[Needle], num_units: int) -> str:
        """Returns so many lines, and the needles as lines of their own at their depths."""
        missing = max(0, num_units - len(self._drawn))
        self._drawn += itertools.islice(self._source, missing)
        pieces: list[str] = []
        start = 0
        for needle in sorted(needles, key=lambda needle: needle.depth):
            stop = int(num_units * needle.depth)
            pieces += [*self._drawn[start:stop], needle.text]
            start = stop
        return "\n".join([*pieces, *self._drawn[start:num_units]])


def noise() -> Lines:
    """Returns the haystack of one line that is repeated."""
    return Lines(itertools.repeat(NOISE_LINE))


def draw_depths(num: int, rng: random.Random) -> list[float]:
    """Returns `num` different ones of the 40 depths, in ascending order."""
    return sorted(rng.sample(DEPTHS, num))
