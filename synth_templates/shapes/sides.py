"""Sides: several subjects and their numbers or years, which comparisons and sums are made of.

Each subject is named, or is the end of a step from a named entity ("the director of A").
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, field_validator, model_validator

from longspan.harness.passport import ProofStep
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.chain import check_chains, reached
from longspan.synth_templates.shapes.draft import Rejected
from longspan.synth_templates.shapes.path import path_phrase
from longspan.synth_templates.triples.paths import Hop, is_unique
from longspan.synth_templates.triples.relations import RelationForm, numeric_value

MAX_SIDES = 6


class SidesKind(KindBase):
    """What kinds over several subjects share."""

    relation: tuple[str, ...] = Field(min_length=1)
    """The relation that is asked about, or one of several: its objects are numbers or years."""
    num_sides: int = Field(default=2, ge=1, le=MAX_SIDES)
    """How many subjects there are."""
    num_bridged: int = Field(default=0, ge=0, le=MAX_SIDES)
    """How many of them are not named but reached by one step ("the director of A")."""
    relations: str = "entity"
    """Group of relations that those steps may use."""

    @field_validator("relation", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _bridges_fit(self) -> Self:
        if self.num_bridged > self.num_sides:
            raise ValueError(f"num_bridged exceeds num_sides: {self.num_bridged}, {self.num_sides}")
        return self


@dataclass(frozen=True)
class Sides:
    """Drawn sides.

    Attributes:
        form: The relation of all their last steps.
        chains: For each side its steps, the last to the number or year.
        names: How a question names each subject.
        subjects: The subjects themselves.
        values: Their numbers or years, all different.
    """

    form: RelationForm
    chains: tuple[tuple[Hop, ...], ...]
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def hops(self) -> tuple[Hop, ...]:
        """The steps of all sides."""
        return tuple(hop for chain in self.chains for hop in chain)


def draw_sides(kind: SidesKind, corpus: Corpus, rng: random.Random) -> Sides | Rejected:
    """Returns random subjects with different values, or why there are none."""
    relation = _draw_relation(kind, corpus, rng)
    if relation is None:
        return Rejected("nothing to compare", is_final=True)
    edges = rng.sample(corpus.functional_edges(relation), kind.num_sides)
    values = [numeric_value(edge.stated.object) for edge in edges]
    known = [value for value in values if value is not None]
    if len(set(known)) < kind.num_sides:
        return Rejected("values do not differ")
    bridged = set(rng.sample(range(kind.num_sides), kind.num_bridged)) if kind.num_bridged else ()
    chains: list[tuple[Hop, ...]] = []
    for i, edge in enumerate(edges):
        chain = _bridge(Hop(edge), kind, corpus, rng) if i in bridged else (Hop(edge),)
        if chain is None:
            return Rejected("no path to a subject")
        chains.append(chain)
    steps = [hop for chain in chains for hop in chain]
    if len({hop.edge.document for hop in steps}) < len(steps):
        return Rejected("two statements in one document")
    names = [path_phrase(corpus.lexicon, chain[:-1], chain[0].stated_source) for chain in chains]
    subjects = tuple(chain[-1].stated_source for chain in chains)
    form = corpus.lexicon.form(relation)
    return Sides(form, tuple(chains), tuple(names), subjects, tuple(known))


def check_sides(
    sides: Sequence[Sequence[ProofStep]], row: SampleRow, corpus: Corpus
) -> tuple[list[str], list[float]]:
    """Returns what is wrong with the sides of a proof, and their values.

    The values are empty where one is unknown or two are equal.
    """
    problems = check_chains(sides, row, corpus)
    for side in sides:
        last = side[-1]
        if len(reached(side, corpus)) != 1 or last.inverse:
            problems.append(f"{last.subject!r} has not exactly one {last.relation}")
        if len(side) > 1 and reached(side[:-1], corpus) != {corpus.key(last.subject)}:
            problems.append(f"the path does not lead to {last.subject!r} alone")
    values = [numeric_value(side[-1].object) for side in sides]
    known = [value for value in values if value is not None]
    if len(set(known)) < len(values):
        return [*problems, "values cannot be ordered"], []
    return problems, known


def listed(names: Sequence[str], conjunction: str = "or") -> str:
    """Returns "A or B", "A, B or C", or "A, B; C or D" where a name has a comma itself."""
    separator = "; " if any("," in name for name in names) else ", "
    return f"{separator.join(names[:-1])} {conjunction} {names[-1]}" if names[1:] else names[0]


def _draw_relation(kind: SidesKind, corpus: Corpus, rng: random.Random) -> str | None:
    """Returns a relation, by the number of its statements; None where none has enough."""
    sizes = {relation: len(corpus.functional_edges(relation)) for relation in kind.relation}
    enough = {relation: size for relation, size in sizes.items() if size >= kind.num_sides}
    if len(enough) < 2:
        return next(iter(enough), None)
    return rng.choices(list(enough), list(enough.values()))[0]


def _bridge(
    end: Hop, kind: SidesKind, corpus: Corpus, rng: random.Random
) -> tuple[Hop, ...] | None:
    """Returns a step to the subject of a statement and the statement; None without a unique one."""
    before = [
        hop
        for hop in corpus.sampler(kind.relations).leading_to(end.source)
        if hop.edge.document != end.edge.document and is_unique(corpus.graph, [hop])
    ]
    return (rng.choice(before), end) if before else None
