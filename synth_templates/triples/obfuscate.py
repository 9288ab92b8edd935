"""Obfuscation: an entity named by a description that still identifies it in the graph.

A description holds one or two constraints: the object of a relation ("the film directed by X") or
the time of an event ("released in the 1970s"), as in the recipe's perturbation of graph nodes
(arXiv 2512.12967, section 3). It identifies its entity when nothing else in the corpus can satisfy
all constraints, by any claim: a subject whose date is not understood counts as satisfying.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from longspan.harness.passport import Constraint, Obfuscation
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.shapes.draft import proof_step
from longspan.synth_templates.triples.graph import Edge
from longspan.synth_templates.triples.paths import Hop
from longspan.synth_templates.triples.relations import INNER, RelationForm, numeric_value

MAX_TRIES = 12
MAX_CONSTRAINTS = 2


def describe(
    entity: str, corpus: Corpus, rng: random.Random, secret: Sequence[str]
) -> tuple[Obfuscation, tuple[Edge, ...]] | None:
    """Returns a description of an entity and the statements behind it; None where none is unique.

    Args:
        entity: Key of the entity.
        corpus: The corpus in which the description must be unique.
        rng: Draws which constraints are used.
        secret: Keys of entities that the description must not name (the path and its answer).
    """
    usable = [
        edge
        for by_relation in (corpus.graph.edges.get(entity, {}),)
        for edges in by_relation.values()
        for edge in edges
        if edge.object not in secret and _noun(edge, corpus) and corpus.is_stated(Hop(edge))
    ]
    for _ in range(MAX_TRIES if usable else 0):
        edges = rng.sample(usable, min(len(usable), rng.randint(1, MAX_CONSTRAINTS)))
        nouns = {_noun(edge, corpus) for edge in edges}
        if len(nouns) > 1 or len({edge.relation for edge in edges}) < len(edges):
            continue
        constraints = tuple(_constraint(edge, corpus, rng) for edge in edges)
        if not _is_telling(constraints, corpus):
            continue
        if satisfying(constraints, corpus) == {entity}:
            text = render_description(constraints, corpus)
            name = edges[0].stated.subject
            return Obfuscation(entity=name, text=text, constraints=constraints), tuple(edges)
    return None


def render_description(constraints: Sequence[Constraint], corpus: Corpus) -> str:
    """Returns the noun phrase of a description: "the person who was born in the 1920s"."""
    forms = [form_of(constraint, corpus) for constraint in constraints]
    clauses = [_clause(c, form) for c, form in zip(constraints, forms, strict=True)]
    pronoun = "who" if forms[0].noun == "person" else "that"
    return f"the {forms[0].noun} {pronoun} {' and '.join(clauses)}"


def satisfying(constraints: Sequence[Constraint], corpus: Corpus) -> set[str]:
    """Returns the keys of all entities that may satisfy every constraint, over all claims."""
    found = [_subjects(constraint, corpus) for constraint in constraints]
    return set.intersection(*found)


def form_of(constraint: Constraint, corpus: Corpus) -> RelationForm:
    """Returns the relation of a constraint.

    Raises:
        KeyError: it is not one of the lexicon.
    """
    return corpus.lexicon.forms[corpus.lexicon.canonical(constraint.statement.triple)]


def period(years: tuple[int, int]) -> str:
    """Returns a time in words: "in 1979", "in the 1970s", "in the late 20th century"."""
    first, last = years
    if first == last:
        return f"in {first}"
    if last - first == 9:
        return f"in the {first}s"
    century = (last - 1) // 100 + 1
    part = ("early", "mid", "late")[min(2, (first - 1) % 100 // 33)]
    return f"in the {part} {century}{_ordinal(century)} century"


def _periods(year: int) -> list[tuple[int, int]]:
    """Returns the year, its decade and its third of the century."""
    century = (year - 1) // 100 * 100
    third = min(2, (year - century - 1) // 33)
    bounds = ((1, 33), (34, 66), (67, 100))[third]
    decade = year // 10 * 10
    return [(year, year), (decade, decade + 9), (century + bounds[0], century + bounds[1])]


def _constraint(edge: Edge, corpus: Corpus, rng: random.Random) -> Constraint:
    year = numeric_value(edge.stated.object)
    timed = corpus.lexicon.forms[edge.relation].event is not None and year is not None
    years = rng.choice(_periods(int(year or 0))) if timed else None
    return Constraint(statement=proof_step(Hop(edge)), years=years)


def _is_telling(constraints: Sequence[Constraint], corpus: Corpus) -> bool:
    """Whether a reader can be expected to look for it: a time or a place alone says too little."""
    first = constraints[0]
    vague = first.years is not None or form_of(first, corpus).aspect == "geographic"
    return len(constraints) > 1 or not vague


def _noun(edge: Edge, corpus: Corpus) -> str | None:
    """Returns what an edge's subject can be called in a description by that edge, if it can."""
    form = corpus.lexicon.forms.get(edge.relation)
    if form is None:
        return None
    year = numeric_value(edge.stated.object)
    is_timed = form.event is not None and year is not None and year == int(year) > 0
    return form.noun if form.clause or is_timed else None


def _clause(constraint: Constraint, form: RelationForm) -> str:
    if constraint.years is not None:
        return f"{form.event} {period(constraint.years)}"
    return str(form.clause).replace(INNER, constraint.statement.object, 1)


def _subjects(constraint: Constraint, corpus: Corpus) -> set[str]:
    relation = corpus.lexicon.canonical(constraint.statement.triple)
    if constraint.years is None:
        object_ = corpus.key(constraint.statement.object)
        return corpus.graph.follow(object_, [(relation, True)])
    first, last = constraint.years
    years = corpus.years(relation)
    return {subject for subject, year in years if year is None or first <= year <= last}


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
