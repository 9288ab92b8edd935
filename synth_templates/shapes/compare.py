"""Comparisons: which of several subjects has the larger number or the earlier year, or by how much.

The subjects are named, or each is the end of a path ("the director of A or the director of B").
"""

from __future__ import annotations

import random
from typing import Literal, Self

from pydantic import Field, model_validator

from longspan.harness.passport import CompareProof, Pick
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.graph import normalise_entity
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.paths import Hop, is_unique
from longspan.synth_templates.relations import numeric_value
from longspan.synth_templates.shapes.chain import check_chains, reached
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step
from longspan.synth_templates.shapes.path import path_phrase
from longspan.synth_templates.tables import format_number

MAX_SIDES = 6


class CompareKind(KindBase):
    """A question that compares subjects by one relation.

    Its wording may use `candidates` ("A, B or C"), `first` and `second`.
    """

    shape: Literal["compare"]
    relation: str
    """The relation that is compared; its objects are numbers or years."""
    pick: Pick = "largest"
    """Which subject is the answer, or the difference of two values."""
    num_sides: int = Field(default=2, ge=2, le=MAX_SIDES)
    """How many subjects are compared."""
    side_hops: int = Field(default=0, ge=0, le=3)
    """Steps that lead from a named entity to each subject; 0 names the subjects."""
    relations: str = "entity"
    """Group of relations that those steps may use."""

    @model_validator(mode="after")
    def _a_difference_has_two_sides(self) -> Self:
        if self.pick == "difference" and self.num_sides != 2:
            raise ValueError(f"a difference is between two: got num_sides {self.num_sides}")
        return self


def draw(kind: CompareKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random comparison, or why there is none."""
    edges = corpus.functional_edges(kind.relation)
    if len(edges) < kind.num_sides:
        return Rejected("nothing to compare", is_final=True)
    ends = [Hop(edge) for edge in rng.sample(edges, kind.num_sides)]
    values = [numeric_value(hop.edge.stated.object) for hop in ends]
    known = [value for value in values if value is not None]
    if len(set(known)) < kind.num_sides:
        return Rejected("values do not differ")
    sides = [_lead_to(hop, kind, corpus, rng) for hop in ends]
    chains = [side for side in sides if side is not None]
    if len(chains) < len(sides):
        return Rejected("no path to a subject")
    steps = [hop for chain in chains for hop in chain]
    if len({hop.edge.document for hop in steps}) < len(steps):
        return Rejected("two statements in one document")
    names = [
        path_phrase(corpus.lexicon, chain[:-1]) if chain[:-1] else chain[-1].stated_source
        for chain in chains
    ]
    answer = _answer(kind.pick, known, [chain[-1].stated_source for chain in chains])
    return Draft(
        kind,
        answer,
        CompareProof(
            sides=tuple(tuple(map(proof_step, chain)) for chain in chains), pick=kind.pick
        ),
        tuple(edge_span(hop.edge, corpus) for hop in steps),
        {"candidates": listed(names), "first": names[0], "second": names[1]},
        hops=len(steps),
        names_answer=not kind.side_hops,
    )


def check(proof: CompareProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems = check_chains(proof.sides, row, corpus)
    for side in proof.sides:
        last = side[-1]
        if len(reached(side, corpus)) != 1 or last.inverse:
            problems.append(f"{last.subject!r} has not exactly one {last.relation}")
        if len(side) > 1 and reached(side[:-1], corpus) != {normalise_entity(last.subject)}:
            problems.append(f"the path does not lead to {last.subject!r} alone")
    values = [numeric_value(side[-1].object) for side in proof.sides]
    known = [value for value in values if value is not None]
    if len(set(known)) < len(values):
        return [*problems, "values cannot be ordered"], ""
    return problems, _answer(proof.pick, known, [side[-1].subject for side in proof.sides])


def listed(names: list[str]) -> str:
    """Returns "A or B", "A, B or C"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _answer(pick: Pick, values: list[float], names: list[str]) -> str:
    if pick == "difference":
        return format_number(abs(values[0] - values[1]))
    best = max(values) if pick == "largest" else min(values)
    return names[values.index(best)]


def _lead_to(
    end: Hop, kind: CompareKind, corpus: Corpus, rng: random.Random
) -> tuple[Hop, ...] | None:
    """Returns a unique path that ends with the hop, None where no random walk back found one."""
    chain, seen, documents = [end], {end.source}, {end.edge.document}
    sampler = corpus.sampler(kind.relations, inverse=True)
    for _ in range(kind.side_hops):
        before = [
            hop
            for hop in sampler.leading_to(chain[0].source)
            if hop.source not in seen and hop.edge.document not in documents
        ]
        if not before:
            return None
        chain.insert(0, rng.choice(before))
        seen.add(chain[0].source)
        documents.add(chain[0].edge.document)
    unique = len(chain) == 1 or is_unique(corpus.graph, chain[:-1])
    return tuple(chain) if unique else None
