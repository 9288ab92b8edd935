"""Questions that models propose about documents: their schema, rules and transcript.

A transcript is the proof of such a question: what was proposed, what the solver answered from the
quoted documents, what the verifier said, and what the blind solver answered without documents. All
that follows from these texts by rule is decided here, for synthesis and `longspan check` alike. It
cannot be proved offline that a model did say them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from string import ascii_uppercase

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.datasets.documents import Document
from longspan.harness.passport import (
    Cost,
    EvidenceSpan,
    QueryProof,
    TranscriptProof,
    TranscriptTurn,
)
from longspan.harness.scoring.grading import grade
from longspan.harness.scoring.judge import read_verdict
from longspan.synth_templates.models.quotes import MAX_QUOTE_CHARS, find_quote
from longspan.synth_templates.triples.graph import find_mentions, normalise_entity, words_of
from longspan.synth_templates.triples.relations import object_class

MAX_TEXT_CHARS = 4000
"""How much of a solver's or verifier's reply is kept, from its end; answers stand last."""
MAX_LIKENESS = 0.5
"""Jaccard of word 3-grams from which a question repeats an earlier one."""
_SHINGLE = 3


class ProposedQuote(BaseModel):
    """A passage that supports the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: int = Field(ge=1)
    """Number of the document in the prompt."""
    quote: str = Field(min_length=1, max_length=MAX_QUOTE_CHARS)


class Proposal(BaseModel):
    """A question as a model proposes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=10, max_length=1000)
    answer: str = Field(min_length=1, max_length=200)
    wrong_options: tuple[str, ...] = Field(default=(), max_length=25)
    """Wrong answers, for multiple choice."""
    quotes: tuple[ProposedQuote, ...] = Field(min_length=1, max_length=8)


class Accepted(BaseModel):
    """A proposal, of these or of `queries`, that other models confirmed, with its evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: tuple[EvidenceSpan, ...]
    proof: TranscriptProof | QueryProof = Field(discriminator="type")
    cost: Cost


def why_unfit(
    proposal: Proposal,
    documents: Sequence[Document],
    num_options: int | None,
    max_answer_words: int,
    earlier: Sequence[str],
) -> str | None:
    """Returns what is wrong with a proposal as "kind: detail", None where nothing is.

    Args:
        proposal: The proposal.
        documents: The documents that it was made from, in the order of their numbers.
        num_options: Options of a choice, the answer included; None: an open question.
        max_answer_words: Longest answer.
        earlier: Questions that it must not repeat.
    """
    for quote in proposal.quotes:
        if quote.document > len(documents):
            return f"quote: there is no document {quote.document}"
        if find_quote(documents[quote.document - 1].text, quote.quote) is None:
            return (
                f"quote: {quote.quote[:60]!r} does not stand in document {quote.document}; "
                "copy the characters of the document"
            )
    if len(proposal.answer.split()) > max_answer_words:
        return f"answer: it must have at most {max_answer_words} words"
    if find_mentions(proposal.answer, proposal.question):
        return "answer: the question holds it"
    if num_options is not None:
        return _why_unfit_options(proposal, num_options) or why_repeated(proposal.question, earlier)
    if proposal.wrong_options:
        return "options: an open question has no wrong_options"
    return why_repeated(proposal.question, earlier)


def _why_unfit_options(proposal: Proposal, num_options: int) -> str | None:
    if len(proposal.wrong_options) != num_options - 1:
        return f"options: wrong_options must be {num_options - 1} wrong answers"
    options = (proposal.answer, *proposal.wrong_options)
    if len({object_class(option) for option in options}) > 1:
        return "options: all must be of one kind (names, dates or numbers) with the answer"
    keys = [words_of(normalise_entity(option)) for option in options]
    for i, first in enumerate(keys):
        if any(first <= other or other <= first for other in keys[i + 1 :]):
            return f"options: {options[i]!r} says the same as another option"
    return None


def why_repeated(question: str, earlier: Sequence[str]) -> str | None:
    """Returns that a question is too much like an earlier one, None where it is not."""
    own = _shingles(question)
    for other in map(_shingles, earlier):
        if len(own & other) >= MAX_LIKENESS * len(own | other):
            return "repeats: the question is too much like an earlier one; ask for something else"
    return None


def quoted_spans(proposal: Proposal, documents: Sequence[Document]) -> tuple[EvidenceSpan, ...]:
    """Returns the proposal's quotes as spans of their documents.

    Raises:
        ValueError: a quote does not stand in its document.
    """
    spans = []
    for quote in proposal.quotes:
        document = documents[quote.document - 1]
        place = find_quote(document.text, quote.quote)
        if place is None:
            raise ValueError(f"document {document.id} does not say {quote.quote[:60]!r}")
        text = document.text[slice(*place)]
        spans.append(EvidenceSpan(document=document.id, start=place[0], end=place[1], quote=text))
    return tuple(spans)


def kept_text(reply: str) -> str:
    """Returns what a transcript keeps of a reply."""
    return reply.encode("utf-8", "replace").decode()[-MAX_TEXT_CHARS:]


def given_answer(text: str, answer: str, scorer: str) -> str | None:
    """Returns what a solver's reply gives as the answer to an open question, None if nothing."""
    return grade(scorer, text, [answer], "stop").answer


def agrees(proof: TranscriptProof, solver: str, verifier: str, scorer: str) -> bool | None:
    """Returns whether a solver's recorded reply gives the proposed answer; None: no verdict.

    A choice is decided by the scorer's rule, an open answer by what the verifier said of it.

    Args:
        proof: The transcript.
        solver: Role of the solver.
        verifier: Role of the verifier of its answer.
        scorer: Scorer of the question's kind.
    """
    texts: dict[str, str] = {turn.role: turn.text for turn in proof.turns}
    said = texts.get(solver, "")
    if proof.options:
        letter = ascii_uppercase[proof.options.index(proof.answer)]
        return (grade(scorer, said, [letter], "stop").value or 0.0) >= 1.0
    if given_answer(said, proof.answer, scorer) is None:
        return False
    return read_verdict(texts.get(verifier, ""))


def transcript_hash(
    question: str, answer: str, options: Sequence[str], turns: Sequence[TranscriptTurn]
) -> str:
    """Returns the hash of a transcript and of what was asked (hexadecimal)."""
    told = [question, answer, list(options), [turn.model_dump() for turn in turns]]
    text = json.dumps(told, ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = text.casefold().split()
    return frozenset(
        tuple(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))
    )
