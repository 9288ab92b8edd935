"""Repeated requests: word for word the n-th of several replies to the same request (as in MRCR)."""

from __future__ import annotations

import random
import string
from typing import Literal

from longspan.harness.passport import RepeatProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.draft import Draft, Rejected, quote
from longspan.synth_templates.shapes.mentions import check_sessions
from longspan.synth_templates.shapes.recall import ORDINALS
from longspan.synth_templates.triples.graph import find_mentions

MIN_REPLY_CHARS = 240
_PREFIX_CHARS = 10


class RepeatKind(KindBase):
    """A request to repeat one of several replies.

    Its wording may use `user`, `request`, `ordinal` ("second") and `prefix`.
    """

    shape: Literal["repeat"]
    prefixed: bool = False
    """Whether the answer must begin with random characters, which the `mrcr` scorer wants."""


def draw(kind: RepeatKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random repeated request, or why there is none."""
    repeated = [
        (request, replies)
        for request, replies in corpus.sessions.requests.items()
        if len(replies) <= len(ORDINALS)
        and all(reply.end - reply.start >= MIN_REPLY_CHARS for reply in replies)
    ]
    if not repeated:
        return Rejected("no request was made twice", is_final=True)
    request, replies = repeated[rng.randrange(len(repeated))]
    position = rng.randint(1, len(replies))
    prefix = ""
    if kind.prefixed:
        prefix = "".join(rng.choices(string.ascii_letters + string.digits, k=_PREFIX_CHARS))
    evidence = tuple(quote(corpus, r.document, r.start, r.end) for r in replies)
    return Draft(
        kind,
        prefix + evidence[position - 1].quote,
        RepeatProof(
            request=request,
            documents=tuple(reply.document for reply in replies),
            position=position,
            prefix=prefix,
        ),
        evidence,
        {
            "user": corpus.sessions.user,
            "request": request,
            "ordinal": ORDINALS[position - 1],
            "prefix": prefix,
        },
    )


def check(proof: RepeatProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    evidence = row.passport.evidence if row.passport else ()
    found = corpus.sessions.requests.get(proof.request, ())
    problems = check_sessions(row, corpus)
    if [(r.document, r.start, r.end) for r in found] != [
        (span.document, span.start, span.end) for span in evidence
    ]:
        problems.append("evidence is not all replies to the request, in order")
    if tuple(span.document for span in evidence) != proof.documents:
        problems.append("the proof names other sessions than the evidence")
    if not 1 <= proof.position <= min(len(evidence), len(ORDINALS)):
        return [*problems, f"there is no reply {proof.position}"], ""
    replies = [span.quote for span in evidence]
    if len(set(replies)) < len(replies):
        problems.append("two replies are the same")
    wanted = (proof.request, ORDINALS[proof.position - 1], proof.prefix)
    problems += [
        f"question does not hold {text!r}"
        for text in wanted
        if text and not find_mentions(text, row.question)
    ]
    return problems, proof.prefix + replies[proof.position - 1]
