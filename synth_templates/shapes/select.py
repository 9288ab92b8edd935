"""Selection: which of several candidates stands in a relation to the end of a path.

"Which of A, B or C was directed by the husband of D?" needs the path from D and the director of
every candidate: exactly one of them may be the path's end, and no document of another candidate may
mention it at all.
"""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field

from longspan.harness.passport import ProofStep, SelectProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.graph import Edge, find_mentions, normalise_entity, words_of
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.paths import Hop
from longspan.synth_templates.relations import INNER
from longspan.synth_templates.shapes.chain import check_chains, reached, stated
from longspan.synth_templates.shapes.compare import listed
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step
from longspan.synth_templates.shapes.path import path_phrase

MAX_TRIES = 20


class SelectKind(KindBase):
    """A question for the candidate that stands in a relation to the end of a path.

    Its wording may use `candidates` ("A, B or C"), `clause` ("was directed by the husband of D"),
    `path` ("the husband of D") and `start`.
    """

    shape: Literal["select"]
    hops: int = Field(default=1, ge=1, le=4)
    """Steps of the path; the relation to the candidate is one more."""
    relations: str = "entity"
    """Group of relations that the path and the selection may use."""
    num_candidates: int = Field(default=3, ge=2, le=6)
    """Candidates, the right one included."""


def draw(kind: SelectKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random path with candidates, or why there is none."""
    sampler = corpus.sampler(kind.relations)
    if not sampler.has_paths(kind.hops):
        return Rejected("no path", is_final=True)
    selections = corpus.selections(kind.relations)
    for _ in range(MAX_TRIES):
        path = sampler.sample(rng, kind.hops, distinct_relations=True)
        if path is not None and path[-1].target in selections:
            right = rng.choice(selections[path[-1].target])
            break
    else:
        return Rejected("no candidate at the end of a path")
    others = _others(right, path[-1].stated_target, corpus)
    used = {hop.edge.document for hop in path} | {right.document}
    rng.shuffle(others)
    chosen = [right]
    for edge in others:
        if len(chosen) < kind.num_candidates and edge.document not in used:
            chosen.append(edge)
            used.add(edge.document)
    if len(chosen) < kind.num_candidates:
        return Rejected("too few other candidates")
    if len(used) < len(path) + len(chosen) or right.subject in {hop.source for hop in path}:
        return Rejected("two statements in one document")
    rng.shuffle(chosen)
    clause = str(corpus.lexicon.form(right.relation).clause)
    phrase = path_phrase(corpus.lexicon, path)
    return Draft(
        kind,
        right.stated.subject,
        SelectProof(
            path=tuple(map(proof_step, path)),
            candidates=tuple(proof_step(Hop(edge)) for edge in chosen),
        ),
        tuple(edge_span(edge, corpus) for edge in (*(hop.edge for hop in path), *chosen)),
        {
            "candidates": listed([edge.stated.subject for edge in chosen]),
            "clause": clause.replace(INNER, phrase, 1),
            "path": phrase,
            "start": path[0].stated_source,
        },
        hops=len(path) + 1,
        names_answer=True,
    )


def check(proof: SelectProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems = check_chains([proof.path, *((step,) for step in proof.candidates)], row, corpus)
    end = proof.path[-1].target
    if len(reached(proof.path, corpus)) != 1:
        problems.append(f"the path does not lead to {end!r} alone")
    right: list[ProofStep] = []
    for step in proof.candidates:
        if len(reached([step], corpus)) != 1:
            problems.append(f"{step.subject!r} has more than one {step.relation}")
        if normalise_entity(step.object) == normalise_entity(end):
            right.append(step)
        elif not _surely_differs(step.object, step.document, end, corpus):
            problems.append(f"{step.subject!r} may be an answer too")
    if len({corpus.lexicon.canonical(stated(step)) for step in proof.candidates}) != 1:
        problems.append("candidates are selected by different relations")
    if len(right) != 1:
        return [*problems, f"{len(right)} candidates lead to {end!r}"], ""
    return problems, right[0].subject


def _others(right: Edge, end: str, corpus: Corpus) -> list[Edge]:
    """Returns the statements of the same relation about subjects that are surely no answer."""
    return [
        edge
        for edge in corpus.functional_edges(right.relation)
        if edge.subject != right.subject
        and _surely_differs(edge.stated.object, edge.document, end, corpus)
    ]


def _surely_differs(object_: str, document: str, end: str, corpus: Corpus) -> bool:
    first, second = words_of(normalise_entity(object_)), words_of(normalise_entity(end))
    if first <= second or second <= first or document not in corpus.by_id:
        return False
    return not find_mentions(end, corpus.by_id[document].text)
