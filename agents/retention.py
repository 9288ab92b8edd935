"""What became of the evidence in a memory run: was it read, noted, there at the end, and used.

For samples with a passport. `read` needs no judgement: a span was in a chunk. Whether a memory
*notes* a statement is decided by its words: a sentence of the memory holds at least 70% of the
content words of the statement, as the document quotes it or as the proof states it (subject,
relation, object). A paraphrase in other words is missed, and a sentence that denies the statement
counts; no model is asked. An answer *uses* evidence that it notes, evidence whose end it names, and
evidence that leads to the start of evidence that it uses: a short answer says only the end of a
chain. A short answer that was computed from several statements (a comparison, a sum) names none of
them; `used` is then too low.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from pydantic import ValidationError

from longspan.harness.datasets.documents import ContextText, Document, context_offsets
from longspan.harness.errors import DataError
from longspan.harness.passport import Passport, evidence_ranges
from longspan.harness.scoring.answers import extract_answer

MIN_WORD_SHARE = 0.7
"""Share of a statement's content words that a sentence of the memory must hold to count as noting
it."""
LONG_STATEMENT_WORDS = 12
"""A statement with more content words (a table, a long sentence) is looked for in the whole
memory."""

Fate = Literal["never_read", "not_noted", "overwritten", "not_used", "used"]
"""What became of one piece of evidence: where it was lost, or that it was used."""
FATES: tuple[Fate, ...] = get_args(Fate)

SHARES = ("read", "noted", "kept", "used", *(f"lost_{fate}" for fate in FATES[:-1]))
"""Shares of a sample's evidence, as `retention` names them."""

_LETTER = re.compile(r"\(?([A-Z])[).]*")
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
    source: frozenset[str] = frozenset()
    """Content words of what the proof's step leaves; empty where the proof has no steps."""
    target: frozenset[str] = frozenset()
    """Content words of what the step reaches."""


@dataclass(frozen=True)
class Step:
    """One turn's trace: indices of the evidence in its chunk, and in the memory after it."""

    in_chunk: tuple[int, ...] = ()
    """Evidence wholly or partly in the chunk."""
    in_memory: tuple[int, ...] = ()
    """Evidence noted in the memory after the turn."""
    start: int = 0
    """First character of the chunk in the context."""
    end: int = 0
    memory_chars: int = 0
    """Characters of the memory after the turn: what was above its budget is cut off."""


def find_evidence(
    passport: Any, documents: Sequence[Document], context: str | ContextText
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
    stated = stated_evidence(checked)
    return tuple(
        replace(one, start=start, end=end) for one, (start, end) in zip(stated, ranges, strict=True)
    )


def stated_evidence(passport: Passport) -> tuple[Evidence, ...]:
    """Returns what a passport's evidence says, without its place in a context."""
    steps = dict(enumerate(getattr(passport.proof, "steps", ())))
    return tuple(_evidence(span.quote, steps.get(i)) for i, span in enumerate(passport.evidence))


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


def noting_sentences(
    evidence: Sequence[Evidence], memory: str
) -> list[tuple[str, tuple[int, ...]]]:
    """Returns the memory in pieces, each with the indices of the evidence that it notes by itself.

    The pieces joined are the memory. Statements too long for a sentence are in none.
    """
    pieces: list[tuple[str, tuple[int, ...]]] = []
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(memory)), len(memory)]:
        words = content_words(memory[start:end])
        noted = tuple(
            i
            for i, one in enumerate(evidence)
            if any(
                0 < len(statement) <= LONG_STATEMENT_WORDS and _holds(words, [words], statement)
                for statement in one.statements
            )
        )
        if end > start:
            pieces.append((memory[start:end], noted))
        start = end
    return pieces


def retention(
    trace: Sequence[Step], evidence: Sequence[Evidence], answer: str | None
) -> dict[str, float]:
    """Returns the fractions in [0, 1] of the evidence by what became of it.

    `read`, `noted`, `kept` (noted by the last memory) and `used` are each a part of the one before;
    `lost_*` says where the rest was lost. Without evidence `read` to `used` are 1.0.

    Args:
        trace: The turns.
        evidence: The sample's.
        answer: Text of the last call; None where there was none.
    """
    found = fates(trace, evidence, answer)
    if not found:
        return dict.fromkeys(("read", "noted", "kept", "used"), 1.0)
    share = 1 / len(found)
    lost = {fate: found.count(fate) * share for fate in FATES[:-1]}
    return {
        "read": 1 - lost["never_read"],
        "noted": (len(found) - found.count("never_read") - found.count("not_noted")) * share,
        "kept": (found.count("not_used") + found.count("used")) * share,
        "used": found.count("used") * share,
        **{f"lost_{fate}": value for fate, value in lost.items()},
    }


def fates(
    trace: Sequence[Step], evidence: Sequence[Evidence], answer: str | None
) -> tuple[Fate, ...]:
    """Returns what became of each piece of evidence, in the passport's order."""
    used = _used_in(evidence, answer)
    return tuple(_fate(i, trace, i in used) for i in range(len(evidence)))


def _fate(index: int, trace: Sequence[Step], is_used: bool) -> Fate:
    first = next((t for t, step in enumerate(trace) if index in step.in_chunk), None)
    if first is None:
        return "never_read"
    # What a memory says before the evidence was read is no note of it.
    noted = [index in step.in_memory for step in trace[first:]]
    if not any(noted):
        return "not_noted"
    if not noted[-1]:
        return "overwritten"
    return "used" if is_used else "not_used"


def _used_in(evidence: Sequence[Evidence], answer: str | None) -> set[int]:
    if answer is None:
        return set()
    words = content_words(answer)
    used = set(noted_in(evidence, answer))
    used |= {i for i, one in enumerate(evidence) if one.target and one.target <= words}
    while True:
        needed = [evidence[i].source for i in used]
        more = {i for i, one in enumerate(evidence) if one.target and one.target in needed} - used
        if not more:
            return used
        used |= more


def in_words(answer: str, passport: Any) -> str:
    """Returns an answer with the text of the option whose letter it gives, where there are any."""
    options = passport.get("options") if isinstance(passport, Mapping) else None
    said = extract_answer(answer)
    letter = _LETTER.fullmatch(said or "")
    place = ord(letter.group(1)) - ord("A") if letter else -1
    if not isinstance(options, list | tuple) or not 0 <= place < len(options):
        return answer
    return f"{answer} {options[place]}"


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
    passport: Passport, documents: Sequence[Document], context: str | ContextText
) -> list[tuple[int, int]]:
    ids = [document.id for document in documents]
    if {span.document for span in passport.evidence} <= set(ids):
        offsets = dict(zip(ids, context_offsets(documents), strict=True))
        lengths = {document.id: len(document.text) for document in documents}
        return evidence_ranges(passport, offsets, lengths)
    whole = str(context)
    found = [(whole.find(span.quote), len(span.quote)) for span in passport.evidence]
    for span, (start, _) in zip(passport.evidence, found, strict=True):
        if start < 0:
            raise DataError(
                f"a passport quotes document {span.document!r}, which is not in the sample's "
                "context; "
                "build the task set again"
            )
    return [(start, start + length) for start, length in found]


def _evidence(quote: str, step: Any) -> Evidence:
    if step is None:
        return Evidence(0, 0, _statements(quote, None))
    stated = f"{step.subject} {step.relation} {step.object}"
    source, target = content_words(step.source), content_words(step.target)
    return Evidence(0, 0, _statements(quote, stated), source, target)


def _statements(quote: str, stated: str | None) -> tuple[frozenset[str], ...]:
    ways = (content_words(quote), content_words(stated or ""))
    return tuple(dict.fromkeys(way for way in ways if way))
