"""Lengths of a corpus's documents in tokens, and of contexts made of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cached_property

from longspan.harness.datasets.documents import (
    DOCUMENT_SEPARATOR,
    Document,
    render_context,
    render_document,
)
from longspan.harness.tokens import CHARS_PER_TOKEN, TokenCounter

_NUM_PAIRS = 32
"""Pairs of documents on which it is tried whether sizes add up."""
_FOLLOWERS = ("", "A")
"""What sizes are measured before: the end of the text, or a letter."""
_NUM_MEASURED = 32
"""Documents that are counted to estimate the tokens of many."""


class Lengths:
    """The tokens of documents, counted once each.

    Estimates are fractions, so that the sizes of many documents add up.
    """

    def __init__(self, documents: Sequence[Document], counter: TokenCounter) -> None:
        self.documents = documents
        self.counter = counter
        self._by_id = {document.id: document for document in documents}
        self._bare: dict[str, float] = {}

    @cached_property
    def sizes(self) -> dict[str, float]:
        """Document id -> tokens in a context, its separator included."""
        follower = self._follower or ""
        return {document.id: self._size(document, follower) for document in self.documents}

    @cached_property
    def total(self) -> float:
        """Tokens of all documents together."""
        return sum(self.sizes.values())

    @cached_property
    def ascending(self) -> tuple[list[float], list[str]]:
        """The sizes in ascending order, and the documents' ids in that order."""
        names = sorted(self.sizes, key=lambda name: self.sizes[name])
        return [self.sizes[name] for name in names], names

    @cached_property
    def _follower(self) -> str | None:
        """What stands after a separator where sizes add up, tried on pairs; None where they do not.

        Many tokenizers split white space by whether something follows it.
        """
        if not self.counter.exact:
            return ""
        rng = random.Random(len(self.documents))
        pairs = [rng.choices(self.documents, k=2) for _ in range(_NUM_PAIRS)]
        counts = [self.counter.count(render_context(pair)) for pair in pairs]
        return next(
            (
                follower
                for follower in _FOLLOWERS
                if all(
                    num == self._size(first, follower) + self._end(second)
                    for num, (first, second) in zip(counts, pairs, strict=True)
                )
            ),
            None,
        )

    @property
    def is_additive(self) -> bool:
        """Whether sizes add up: the tokenizer does not merge across documents."""
        return self._follower is not None

    def count(self, names: Sequence[str]) -> int:
        """Returns the tokens of the rendered context of some documents.

        Sizes are added up where they can be, and otherwise the context is counted.
        """
        if not self.is_additive:
            return self.counter.count(render_context(self._by_id[name] for name in names))
        before = sum(self.sizes[name] for name in names[:-1])
        return math.ceil(before + self._end(self._by_id[names[-1]]))

    def depths(self, evidence: Sequence[str], order: Sequence[str]) -> tuple[float, ...]:
        """Returns for each evidence document the fraction of the context's tokens before it."""
        total = sum(self.sizes[name] for name in order)
        before, depth = 0.0, dict[str, float]()
        for name in order:
            depth[name] = round(before / total, 4)
            before += self.sizes[name]
        return tuple(depth[name] for name in evidence)

    def _size(self, document: Document, follower: str) -> float:
        text = render_document(document) + DOCUMENT_SEPARATOR
        return self._measure(text + follower) - self._measure(follower)

    def _end(self, document: Document) -> float:
        """Returns the tokens of a context's last document, which no separator follows."""
        if document.id not in self._bare:
            self._bare[document.id] = self._measure(render_document(document))
        return self._bare[document.id]

    def _measure(self, text: str) -> float:
        if self.counter.exact:
            return float(self.counter.count(text))
        return len(text) / CHARS_PER_TOKEN


def estimate_total(documents: Sequence[Document], counter: TokenCounter) -> float:
    """Returns about how many tokens documents have in contexts, by counting a few of them."""
    step = max(1, len(documents) // _NUM_MEASURED) if counter.exact else 1
    measured = documents[::step]
    share = sum(map(_num_characters, measured)) / sum(map(_num_characters, documents))
    return Lengths(measured, counter).total / share


def _num_characters(document: Document) -> int:
    return len(render_document(document)) + len(DOCUMENT_SEPARATOR)
