"""Chunks: the pieces in which an agent reads a document that exceeds its window.

A chunk never holds more tokens than asked, counted with the policy's own tokenizer, and every
character of the document except the white space between chunks is in exactly one chunk. Cuts fall,
in this order of preference, at the start of a document, a paragraph, a sentence or line, a word;
text without any of these is cut hard.

The text is read and tokenised piece by piece as it is cut: encoding four million tokens at once, or
joining the documents that hold them, would take more memory than the text itself. Nothing here
knows about models or prompts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from longspan.harness.datasets.documents import ContextText
from longspan.harness.errors import WindowError
from longspan.harness.tokens import TokenCounter

MIN_FILL = 0.5
"""Share of a chunk that must be filled before a document, paragraph or word boundary is taken."""
MIN_FILL_SENTENCE = 0.25
"""The same for sentences and lines: cutting inside a sentence costs more than a short chunk."""
SLACK = 64
"""A reach is good enough when at most 1/SLACK of the tokens asked for are unused."""

VIEW_FACTOR = 2
"""A chunk is cut in a view of so many times the characters that it should have."""
MIN_VIEW_CHARS = 4096

_SPACE = re.compile(r"\s*")
_PARAGRAPH = re.compile(r"\n\s*\n\s*")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]{0,3}\s+|[。！？]\s*|\n\s*")
_WORD = re.compile(r"\s+")


@dataclass(frozen=True)
class Chunk:
    """A piece of a document: characters [start, end) and their number of tokens."""

    start: int
    end: int
    num_tokens: int


def split_chunks(
    text: str | ContextText,
    max_tokens: int,
    counter: TokenCounter,
    document_starts: Sequence[int] = (),
) -> list[Chunk]:
    """Returns the chunks of a text in reading order; none for a text of white space.

    Args:
        text: The document, or several rendered one after the other.
        max_tokens: Most tokens of a chunk, counted on the chunk's own text.
        counter: The policy's tokenizer.
        document_starts: Sorted character offsets where documents start within the text.

    Raises:
        WindowError: A single character has more than `max_tokens` tokens, or `max_tokens` is not
            positive.
    """
    if max_tokens < 1:
        raise WindowError(f"chunk_tokens must be positive: got {max_tokens}; raise chunk_tokens")
    splitter = _Splitter(text, max_tokens, counter, document_starts)
    chunks: list[Chunk] = []
    place, rate = 0, 4.0
    while (chunk := splitter.next_chunk(place, rate)) is not None:
        rate = (chunk.end - chunk.start) / max(1, chunk.num_tokens)
        chunks.append(chunk)
        place = chunk.end
    return chunks


@dataclass(frozen=True)
class _Splitter:
    text: str | ContextText
    max_tokens: int
    counter: TokenCounter
    document_starts: Sequence[int]

    def next_chunk(self, place: int, rate: float) -> Chunk | None:
        """Returns the first chunk after a place, None where only white space is left.

        It is looked for in a view of the text, which grows until it holds all that decides where
        to cut.

        Args:
            place: Character where the chunk before ends.
            rate: Characters per token to be expected.
        """
        size = MIN_VIEW_CHARS + int(VIEW_FACTOR * self.max_tokens * rate)
        while place < len(self.text):
            view = self.text[place : place + size]
            is_last = place + size >= len(self.text)
            start = _skip_space(view, 0)
            if start == len(view):
                place += size
                continue
            reach = _reach(view, start, self.max_tokens, self.counter, rate)
            if is_last or _skip_space(view, reach) < len(view):
                starts = _Starts(self.document_starts, place)
                found = _fit(view, start, reach, self.max_tokens, self.counter, starts)
                return Chunk(place + found.start, place + found.end, found.num_tokens)
            place, size = place + start, 2 * size
        return None


@dataclass(frozen=True)
class _Starts:
    """Where documents start, in the characters of a view of the text."""

    of_text: Sequence[int]
    offset: int

    def last_until(self, end: int) -> int | None:
        """Returns the last start in the view up to and at a character, None without one."""
        index = bisect_right(self.of_text, end + self.offset) - 1
        return self.of_text[index] - self.offset if index >= 0 else None


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _reach(text: str, start: int, max_tokens: int, counter: TokenCounter, rate: float) -> int:
    """Returns an end, close to the largest, with at most `max_tokens` tokens in text[start:end].

    Interpolates on the nearly linear relation of characters and tokens and bisects where it is not
    linear.
    """
    fits, exceeds = start, len(text) + 1
    size = max(1, int(max_tokens * rate))
    while exceeds - fits > 1:
        end = min(max(start + size, fits + 1), exceeds - 1)
        tokens = counter.count(text[start:end])
        if tokens <= max_tokens:
            if end == len(text) or max_tokens - tokens <= max_tokens // SLACK:
                return end
            fits = end
        else:
            exceeds = end
        guess = (end - start) * max_tokens // tokens if tokens else 2 * (end - start)
        if exceeds <= len(text) and not fits < start + guess < exceeds:
            guess = (fits + exceeds) // 2 - start
        size = guess
    if fits == start:
        raise WindowError(
            f"chunk_tokens is smaller than one character of the document: got {max_tokens}; "
            "raise chunk_tokens"
        )
    return fits


def _fit(
    text: str,
    start: int,
    reach: int,
    max_tokens: int,
    counter: TokenCounter,
    starts: _Starts,
) -> Chunk:
    """Returns the chunk that ends at the best boundary before `reach` and surely fits.

    A prefix of a text that fits may have more tokens than the text (merges across the cut are
    undone), so the count is checked on the final cut.
    """
    while True:
        end = _cut(text, start, reach, starts)
        end = start + len(text[start:end].rstrip())
        tokens = counter.count(text[start:end])
        if tokens <= max_tokens:
            return Chunk(start, end, tokens)
        reach = min(end - 1, start + (end - start) * max_tokens // tokens)
        if reach <= start:
            raise WindowError(
                f"chunk_tokens is smaller than one character of the document: got {max_tokens}; "
                "raise chunk_tokens"
            )


def _cut(text: str, start: int, reach: int, starts: _Starts) -> int:
    """Returns where to cut: the last boundary of the strongest kind that fills the chunk."""
    after = _skip_space(text, reach)
    if after >= len(text):
        return len(text)
    half = start + int((reach - start) * MIN_FILL)
    document = starts.last_until(after)
    if document is not None and document > half:
        return document
    quarter = start + int((reach - start) * MIN_FILL_SENTENCE)
    for pattern, low in ((_PARAGRAPH, half), (_SENTENCE, quarter), (_WORD, half)):
        ends = [match.end() for match in pattern.finditer(text, low, after)]
        if ends:
            return ends[-1]
    return reach
