"""What became of the evidence in a memory run: was it read, noted, and there at the end.

For samples with a passport. `read` needs no judgement: a span was in a chunk. Whether a memory
*notes* a statement is decided by its words: a sentence of the memory holds at least 70% of the
content words of the statement, as the document quotes it or as the proof states it (subject,
relation, object). A paraphrase in other words is missed, and a sentence that denies the statement
counts; no model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from longspan.harness.datasets.documents import Document, context_offsets
from longspan.harness.errors import DataError
from longspan.harness.passport import Passport, evidence_ranges

MIN_WORD_SHARE = 0.7
"""Share of a statement's content words that a sentence of the memory must hold to count as noting
it."""
LONG_STATEMENT_WORDS = 12
"""A statement with more content words (a table, a long sentence) is looked for in the whole
memory."""

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_STOP_WORDS = frozenset(
    {"a", "an", "the", "of", "in", "on", "at", "to", "for", "from", "by", "with", "and", "or", "as"}
    | {"is", "are", "was", "were", "be", "been", "has", "have", "had", "it", "its", "this", "that"}
    | {"s", "he", "she", "they", "his", "her", "their", "which", "who"}
)


@dataclass(frozen=True)
class Evidence:
    """Characters [start, end) of the context, and the content words of each way to state them."""

    start: int
    end: int
    statements: tuple[frozenset[str], ...]


class Traced(Protocol):
    """One turn's trace: indices of the evidence in its chunk, and in the memory after it."""

    @property
    def in_chunk(self) -> tuple[int, ...]:
        """Evidence wholly or partly in the chunk."""
        ...

    @property
    def in_memory(self) -> tuple[int, ...]:
        """Evidence noted in the memory after the turn."""
        ...


def find_evidence(
    passport: Any, documents: Sequence[Document], context: str
) -> tuple[Evidence, ...]:
    """Returns the evidence of a passport within the rendered context; none without a passport.

    Documents are found by their ids, or by the quote where the context is given by value.

    Raises:
        DataError: The passport is malformed or quotes what the context does not hold.
    """
    if not passport:
        return ()
    try:
        checked = Passport.model_validate(passport)
    except ValidationError as error:
        raise DataError(
            f"malformed passport in a sample's metadata: {error}; build it again"
        ) from error
    ranges = _ranges(checked, documents, context)
    stated = _proof_statements(checked)
    return tuple(
        Evidence(start, end, _statements(span.quote, stated.get(index)))
        for index, (span, (start, end)) in enumerate(zip(checked.evidence, ranges, strict=True))
    )


def evidence_in(evidence: Sequence[Evidence], start: int, end: int) -> tuple[int, ...]:
    """Returns the indices of the evidence that overlaps characters [start, end) of the context."""
    return tuple(i for i, span in enumerate(evidence) if span.start < end and start < span.end)


def noted_in(evidence: Sequence[Evidence], memory: str) -> tuple[int, ...]:
    """Returns the indices of the evidence that a memory notes."""
    if not evidence:
        return ()
    whole = content_words(memory)
    sentences = [content_words(sentence) for sentence in _SENTENCE_END.split(memory)]
    return tuple(
        i
        for i, span in enumerate(evidence)
        if any(_holds(whole, sentences, statement) for statement in span.statements)
    )


def retention(trace: Iterable[Traced], num_evidence: int) -> dict[str, float]:
    """Returns the fractions in [0, 1] of the evidence that was read, noted, and kept to the end.

    `kept` counts what the last memory notes among what was read; all three are 1.0 where there is
    no evidence.
    """
    read: set[int] = set()
    noted: set[int] = set()
    kept: set[int] = set()
    for step in trace:
        read |= set(step.in_chunk)
        kept = read & set(step.in_memory)
        noted |= kept
    share = 1 / num_evidence if num_evidence else 1.0
    sizes = {"read": len(read), "noted": len(noted), "kept": len(kept)}
    return {name: size * share if num_evidence else 1.0 for name, size in sizes.items()}


def content_words(text: str) -> frozenset[str]:
    """Returns the words of a text in lower case, without function words."""
    return frozenset(_WORD.findall(text.casefold())) - _STOP_WORDS


def _holds(
    whole: frozenset[str], sentences: Sequence[frozenset[str]], statement: frozenset[str]
) -> bool:
    if not statement:
        return False
    least = MIN_WORD_SHARE * len(statement)
    if len(statement) > LONG_STATEMENT_WORDS:
        return len(statement & whole) >= least
    return any(len(statement & sentence) >= least for sentence in sentences)


def _ranges(
    passport: Passport, documents: Sequence[Document], context: str
) -> list[tuple[int, int]]:
    ids = [document.id for document in documents]
    if {span.document for span in passport.evidence} <= set(ids):
        offsets = dict(zip(ids, context_offsets(documents), strict=True))
        lengths = {document.id: len(document.text) for document in documents}
        return evidence_ranges(passport, offsets, lengths)
    found = [(context.find(span.quote), len(span.quote)) for span in passport.evidence]
    for span, (start, _) in zip(passport.evidence, found, strict=True):
        if start < 0:
            raise DataError(
                f"a passport quotes document {span.document!r}, which is not in the sample's "
                "context; "
                "build the task set again"
            )
    return [(start, start + length) for start, length in found]


def _proof_statements(passport: Passport) -> dict[int, str]:
    """Returns the proof's own statement of evidence i, for proofs made of steps."""
    steps = getattr(passport.proof, "steps", ())
    return {i: f"{step.subject} {step.relation} {step.object}" for i, step in enumerate(steps)}


def _statements(quote: str, stated: str | None) -> tuple[frozenset[str], ...]:
    ways = (content_words(quote), content_words(stated or ""))
    return tuple(dict.fromkeys(way for way in ways if way))
