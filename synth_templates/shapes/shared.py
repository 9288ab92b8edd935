"""Shared objects: which of several candidates has the same object as a given subject.

"Which of A, B and C has the same director as D?" needs the statement about D and one about each
candidate: the others must have another object.
"""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field

from longspan.harness.passport import SharedProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.graph import Edge, normalise_entity, words_of
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.paths import Hop
from longspan.synth_templates.shapes.chain import check_chains, reached
from longspan.synth_templates.shapes.compare import listed
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step


class SharedKind(KindBase):
    """A question for the candidate that shares an object with a given subject.

    Its wording may use `given` and `candidates` ("A, B or C").
    """

    shape: Literal["shared"]
    relation: str
    """The relation whose object is shared."""
    num_candidates: int = Field(default=3, ge=2, le=6)
    """Candidates, the right one included."""


def draw(kind: SharedKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random pair that shares an object, or why there is none."""
    by_object: dict[str, list[Edge]] = {}
    for edge in corpus.functional_edges(kind.relation):
        by_object.setdefault(edge.object, []).append(edge)
    shared = [edges for edges in by_object.values() if len(edges) > 1]
    if not shared or len(by_object) < kind.num_candidates:
        return Rejected("nothing is shared", is_final=True)
    given, right = rng.sample(rng.choice(shared), 2)
    others = [e for edges in by_object.values() for e in edges if _differ(e.object, given.object)]
    if len(others) < kind.num_candidates - 1:
        return Rejected("too few other candidates")
    candidates = [right, *rng.sample(others, kind.num_candidates - 1)]
    rng.shuffle(candidates)
    edges = [given, *candidates]
    if len({edge.document for edge in edges}) < len(edges):
        return Rejected("two statements in one document")
    return Draft(
        kind,
        right.stated.subject,
        SharedProof(steps=tuple(proof_step(Hop(edge)) for edge in edges)),
        tuple(edge_span(edge, corpus) for edge in edges),
        {
            "given": given.stated.subject,
            "candidates": listed([edge.stated.subject for edge in candidates]),
        },
        hops=2,
        names_answer=True,
    )


def check(proof: SharedProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems = check_chains([(step,) for step in proof.steps], row, corpus)
    given, *candidates = proof.steps
    for step in proof.steps:
        if len(reached([step], corpus)) != 1:
            problems.append(f"{step.subject!r} has more than one {step.relation}")
    wanted = normalise_entity(given.object)
    right = [step for step in candidates if normalise_entity(step.object) == wanted]
    unclear = [
        step
        for step in candidates
        if step not in right and not _differ(normalise_entity(step.object), wanted)
    ]
    if len(right) != 1 or unclear:
        return [*problems, f"not exactly one candidate shares {given.object!r}"], ""
    return problems, right[0].subject


def _differ(first: str, second: str) -> bool:
    """Whether two objects are surely not the same: neither's words hold the other's."""
    a, b = words_of(first), words_of(second)
    return not (a <= b or b <= a)
