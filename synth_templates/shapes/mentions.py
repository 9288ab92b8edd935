"""First mentions: which of several things a user named first or last, or how many days apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from longspan.harness.passport import MentionsProof, ProofStep
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.draft import Draft, Rejected, quote
from longspan.synth_templates.shapes.sides import listed
from longspan.synth_templates.triples.dates import parse_date
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.worlds.sessions import Mention, date_of, find_statement

_NUM_TRIES = 20


class MentionsKind(KindBase):
    """A question about the order of first mentions.

    Its wording may use `user`, `candidates` ("A, B or C"), `first` and `second`.
    """

    shape: Literal["mentions"]
    operation: Literal["first", "last", "days"]
    """Which thing was mentioned first or last, or the days between two."""
    num_mentions: int = Field(default=2, ge=2, le=5)
    """How many things are named."""

    @model_validator(mode="after")
    def _days_lie_between_two(self) -> Self:
        if self.operation == "days" and self.num_mentions != 2:
            raise ValueError(f"days lie between two mentions: got {self.num_mentions}")
        return self


def draw(kind: MentionsKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of random first mentions, or why there is none."""
    if len(corpus.sessions.histories) < kind.num_mentions:
        return Rejected("too little was mentioned", is_final=True)
    chosen: list[Mention] = []
    for _ in range(_NUM_TRIES):
        found = draw_first_mention(corpus, rng)
        if found and found.document not in {mention.document for mention in chosen}:
            chosen.append(found)
        if len(chosen) == kind.num_mentions:
            break
    else:
        return Rejected("too few first mentions")
    names = [mention.stated.object for mention in chosen]
    proof = MentionsProof(steps=tuple(map(as_step, chosen)), operation=kind.operation)
    return Draft(
        kind,
        _answer(proof, corpus),
        proof,
        tuple(quote(corpus, m.document, m.start, m.end) for m in chosen),
        {
            "user": corpus.sessions.user,
            "candidates": listed(names),
            "first": names[0],
            "second": names[1],
        },
        names_answer=True,
    )


def check(proof: MentionsProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems = check_mentions(proof.steps, row, corpus)
    if problems:
        return problems, ""
    for step in proof.steps:
        if not corpus.sessions.is_first_mention(step.object, step.document):
            problems.append(f"{step.object!r} was mentioned earlier")
        if not find_mentions(step.object, row.question):
            problems.append(f"question does not name {step.object!r}")
    if len({step.document for step in proof.steps}) < len(proof.steps):
        problems.append("two mentions stand in one session")
    try:
        return problems, _answer(proof, corpus)
    except ValueError as error:
        return [*problems, f"a session has no date ({error})"], ""


def check_mentions(steps: Sequence[ProofStep], row: SampleRow, corpus: Corpus) -> list[str]:
    """Returns what is wrong with mentions and the passages that support them, in order."""
    evidence = row.passport.evidence if row.passport else ()
    if len(steps) != len(evidence):
        return [f"{len(steps)} mentions but {len(evidence)} evidence spans"]
    problems = check_sessions(row, corpus)
    for step, span in zip(steps, evidence, strict=True):
        document = corpus.by_id.get(step.document)
        if document is None or span.document != step.document:
            problems.append(f"evidence for {step.object!r} is in another session")
        elif step.triple not in document.triples:
            problems.append(f"session {step.document} does not state {step.object!r}")
        elif find_statement(document, step.triple) != (span.start, span.end):
            problems.append(f"evidence is not where the user names {step.object!r}")
    return problems


def check_sessions(row: SampleRow, corpus: Corpus) -> list[str]:
    """Returns what is wrong with a context of sessions: their order, or whose they are."""
    problems = []
    if not corpus.sessions.in_order(row.documents):
        problems.append("the context's sessions are not in the order of time")
    if not find_mentions(corpus.sessions.user, row.question):
        problems.append(f"question does not name the user {corpus.sessions.user!r}")
    return problems


def draw_first_mention(
    corpus: Corpus, rng: random.Random, between: Sequence[str] = ()
) -> Mention | None:
    """Returns a random first mention of a value, None where the draw gave none.

    With `between`, it stands in a session after the first and before the last of these, and in none
    of them.
    """
    sessions = corpus.sessions
    low, high = -1, len(sessions.documents)
    if between:
        low, high = sessions.place[between[0]], sessions.place[between[-1]]
    mentions = [
        mention
        for history in sessions.histories.values()
        for mention in history
        if low < sessions.place[mention.document] < high and mention.document not in between
    ]
    if not mentions:
        return None
    found = rng.choice(mentions)
    is_first = sessions.is_first_mention(found.stated.object, found.document)
    return found if is_first else None


def as_step(mention: Mention) -> ProofStep:
    """Returns a mention as a proof states it."""
    stated = mention.stated
    return ProofStep(
        subject=stated.subject,
        relation=stated.relation,
        object=stated.object,
        document=mention.document,
    )


def _answer(proof: MentionsProof, corpus: Corpus) -> str:
    if proof.operation == "days":
        one, two = (parse_date(date_of(corpus.by_id[step.document])) for step in proof.steps[:2])
        return str(abs((two - one).days))
    place = corpus.sessions.place
    ordered = sorted(proof.steps, key=lambda step: place[step.document])
    return ordered[0 if proof.operation == "first" else -1].object
