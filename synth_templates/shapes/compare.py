"""Comparisons: which of several subjects has the larger number or the earlier year, or by how much.

The subjects are named, or each is the end of a path ("the director of A or the director of B").
"""

from __future__ import annotations

import random
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from longspan.harness.passport import CompareProof, Pick
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
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

    Its wording may use `candidates` ("A, B or C"), `first`, `second`, `event` ("was born") and
    `which` ("Who", "Which").
    """

    shape: Literal["compare"]
    relation: tuple[str, ...] = Field(min_length=1)
    """The relation that is compared, or one of several: its objects are numbers or years."""
    pick: Pick = "largest"
    """Which subject is the answer, or the difference of two values."""
    num_sides: int = Field(default=2, ge=2, le=MAX_SIDES)
    """How many subjects are compared."""
    num_bridged: int = Field(default=0, ge=0, le=MAX_SIDES)
    """How many of them are not named but reached by one step ("the director of A")."""
    relations: str = "entity"
    """Group of relations that those steps may use."""

    @field_validator("relation", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.pick == "difference" and self.num_sides != 2:
            raise ValueError(f"a difference is between two: got num_sides {self.num_sides}")
        if self.num_bridged > self.num_sides:
            raise ValueError(f"num_bridged exceeds num_sides: {self.num_bridged}, {self.num_sides}")
        return self


def draw(kind: CompareKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random comparison, or why there is none."""
    relation = _draw_relation(kind, corpus, rng)
    if relation is None:
        return Rejected("nothing to compare", is_final=True)
    edges = rng.sample(corpus.functional_edges(relation), kind.num_sides)
    ends = [Hop(edge) for edge in edges]
    values = [numeric_value(hop.edge.stated.object) for hop in ends]
    known = [value for value in values if value is not None]
    if len(set(known)) < kind.num_sides:
        return Rejected("values do not differ")
    bridged = set(rng.sample(range(kind.num_sides), kind.num_bridged)) if kind.num_bridged else ()
    sides = [
        _bridge(hop, kind, corpus, rng) if i in bridged else (hop,) for i, hop in enumerate(ends)
    ]
    chains = [side for side in sides if side is not None]
    if len(chains) < len(sides):
        return Rejected("no path to a subject")
    steps = [hop for chain in chains for hop in chain]
    if len({hop.edge.document for hop in steps}) < len(steps):
        return Rejected("two statements in one document")
    names = [path_phrase(corpus.lexicon, chain[:-1], chain[0].stated_source) for chain in chains]
    form = corpus.lexicon.form(relation)
    answer = _answer(kind.pick, known, [chain[-1].stated_source for chain in chains])
    return Draft(
        kind,
        answer,
        CompareProof(
            sides=tuple(tuple(map(proof_step, chain)) for chain in chains), pick=kind.pick
        ),
        tuple(edge_span(hop.edge, corpus) for hop in steps),
        {
            "candidates": listed(names),
            "first": names[0],
            "second": names[1],
            "event": form.event,
            "which": "Who" if form.noun == "person" else "Which",
        },
        hops=len(steps),
        names_answer=not kind.num_bridged,
        is_common=kind.paradigm == "code",
    )


def check(proof: CompareProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems = check_chains(proof.sides, row, corpus)
    for side in proof.sides:
        last = side[-1]
        if len(reached(side, corpus)) != 1 or last.inverse:
            problems.append(f"{last.subject!r} has not exactly one {last.relation}")
        if len(side) > 1 and reached(side[:-1], corpus) != {corpus.key(last.subject)}:
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


def _draw_relation(kind: CompareKind, corpus: Corpus, rng: random.Random) -> str | None:
    """Returns a relation, by the number of its statements; None where none has enough."""
    sizes = {relation: len(corpus.functional_edges(relation)) for relation in kind.relation}
    enough = {relation: size for relation, size in sizes.items() if size >= kind.num_sides}
    if len(enough) < 2:
        return next(iter(enough), None)
    return rng.choices(list(enough), list(enough.values()))[0]


def _bridge(
    end: Hop, kind: CompareKind, corpus: Corpus, rng: random.Random
) -> tuple[Hop, ...] | None:
    """Returns a step to the subject of a statement and the statement; None without a unique one."""
    before = [
        hop
        for hop in corpus.sampler(kind.relations).leading_to(end.source)
        if hop.edge.document != end.edge.document and is_unique(corpus.graph, [hop])
    ]
    return (rng.choice(before), end) if before else None
