"""Quality filters: which documents are worth asking about, with counts and reasons.

No filter knows a language. Prose is tested for all; tables, code and dialogues only for an upper
size and for damage, since digits and repeated lines abound there by nature.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.curation.near_duplicates import NearDuplicates

_DAMAGE = re.compile("[\ufffd\x00-\x08\x0b\x0e-\x1f\x7f]")
_SPACE = re.compile(r"\s+")
REASONS = (
    "too short",
    "too long",
    "damaged characters",
    "few letters",
    "repeated lines",
    "near-duplicate",
)


class Filters(BaseModel):
    """What a document must be to be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_chars: int = Field(default=40, ge=0)
    """Of prose."""
    max_chars: int = Field(default=2_000_000, ge=1)
    """Of any document: no context has room for more."""
    min_letter_share: float = Field(default=0.3, ge=0, le=1)
    """Letters of any script among the characters that are no space, outside pipe tables."""
    max_repeated_share: float = Field(default=0.3, ge=0, le=1)
    """Characters in lines that stand before in the document already."""
    max_damaged_share: float = Field(default=0.001, ge=0, le=1)
    """Replacement and control characters: signs of a wrong encoding."""
    near_duplicates: float | None = Field(default=0.9, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which a document repeats an earlier one. None: not
    searched."""

    def reason(self, document: Document) -> str | None:
        """Returns why a document is left out by itself, None where it is used."""
        text = document.text
        is_prose = document.format == "text"
        if is_prose and len(text) < self.min_chars:
            return "too short"
        if len(text) > self.max_chars:
            return "too long"
        if len(_DAMAGE.findall(text)) > self.max_damaged_share * len(text):
            return "damaged characters"
        if is_prose and letter_share(text) < self.min_letter_share:
            return "few letters"
        if is_prose and repeated_share(text) > self.max_repeated_share:
            return "repeated lines"
        return None


def filter_documents(
    documents: Iterable[Document], filters: Filters, left_out: Counter[str], notes: list[str]
) -> Iterator[Document]:
    """Yields the documents that pass, in their order.

    Args:
        documents: The documents.
        filters: What they must be.
        left_out: Counts of what does not pass by reason, updated.
        notes: One line for each document that does not pass, extended.
    """
    seen = None if filters.near_duplicates is None else NearDuplicates(filters.near_duplicates)
    for document in documents:
        reason = filters.reason(document)
        detail = ""
        if reason is None and seen is not None:
            earlier = seen.add(document.title or document.id, document.text)
            if earlier is not None:
                reason, detail = "near-duplicate", f" of {earlier}"
        if reason is None:
            yield document
            continue
        left_out[reason] += 1
        notes.append(f"{document.title or document.id}: {reason}{detail}")


def letter_share(text: str) -> float:
    """Returns the fraction in [0, 1] of letters among what is no space, pipe tables aside."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("|"))
    characters = _SPACE.sub("", "".join(lines))
    return sum(map(str.isalpha, characters)) / len(characters) if characters else 1.0


def repeated_share(text: str) -> float:
    """Returns the fraction in [0, 1] of characters in lines that stand before already."""
    lines = [line.strip() for line in text.splitlines()]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0
