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
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.chain import check_chains, reached
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step
from longspan.synth_templates.shapes.path import describe_start, path_phrase
from longspan.synth_templates.shapes.sides import listed
from longspan.synth_templates.triples.graph import Edge, find_mentions, words_of
from longspan.synth_templates.triples.paths import Hop
from longspan.synth_templates.triples.relations import INNER

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
    obfuscated: bool = False
    """The start is described instead of named ("the film that was released in the 1970s")."""


def draw(kind: SelectKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random path with candidates, or why there is none."""
    sampler = corpus.sampler(kind.relations)
    if not sampler.has_paths(kind.hops):
        return Rejected("no path", is_final=True)
    selections = corpus.selections(kind.relations)
    for _ in range(MAX_TRIES):
        path = sampler.sample(rng, kind.hops, distinct_relations=True) or ()
        ends = selections.get(path[-1].target, []) if path else []
        used = {hop.edge.document for hop in path}
        on_path = {hop.source for hop in path}
        ends = [e for e in ends if e.document not in used and e.subject not in on_path]
        if ends:
            right = rng.choice(ends)
            break
    else:
        return Rejected("no candidate at the end of a path")
    others = _others(right, path[-1].stated_target, corpus)
    used.add(right.document)
    rng.shuffle(others)
    chosen = [right]
    for edge in others:
        if len(chosen) < kind.num_candidates and edge.document not in used:
            chosen.append(edge)
            used.add(edge.document)
    if len(chosen) < kind.num_candidates:
        return Rejected("too few other candidates")
    rng.shuffle(chosen)
    clause = str(corpus.lexicon.form(right.relation).clause)
    described = describe_start(path, corpus, rng) if kind.obfuscated else None
    if kind.obfuscated and described is None:
        return Rejected("no description that identifies the start")
    start = described[0].text if described else path[0].stated_source
    phrase = path_phrase(corpus.lexicon, path, start)
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
            "start": start,
        },
        names_answer=True,
        obfuscations=(described[0],) if described else (),
        description_evidence=described[1] if described else (),
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
        if corpus.key(step.object) == corpus.key(end):
            right.append(step)
        elif not _surely_differs(step.object, step.document, end, corpus):
            problems.append(f"{step.subject!r} may be an answer too")
    if len({corpus.lexicon.canonical(step.triple) for step in proof.candidates}) != 1:
        problems.append("candidates are selected by different relations")
    if len(right) != 1:
        return [*problems, f"{len(right)} candidates lead to {end!r}"], ""
    return problems, right[0].subject


def _others(right: Edge, end: str, corpus: Corpus) -> list[Edge]:
    """Returns the statements of the same relation about subjects that are surely no answer.

    Their objects are of the same sort as the end (objects of a second relation in common), so that
    a country stands beside countries.
    """
    sort = corpus.graph.roles(right.object) - {right.relation}
    return [
        edge
        for edge in corpus.functional_edges(right.relation)
        if edge.subject != right.subject
        and (not sort or sort & corpus.graph.roles(edge.object))
        and _surely_differs(edge.stated.object, edge.document, end, corpus)
    ]


def _surely_differs(object_: str, document: str, end: str, corpus: Corpus) -> bool:
    first, second = words_of(corpus.key(object_)), words_of(corpus.key(end))
    if first <= second or second <= first or document not in corpus.by_id:
        return False
    return not find_mentions(end, corpus.by_id[document].text)
