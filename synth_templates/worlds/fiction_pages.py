"""Documents of a fictional world: entity pages, articles about several entities, short notices.

Every fact stands in one sentence that names its subject and its object and nothing else of the
world: on the page of either, or in an article; some stand in two places. No document holds two
facts about the same pair, so the sentence with both names is the evidence.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from pydantic import BaseModel, ConfigDict

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.worlds.fiction import (
    NOW,
    Entity,
    FictionFact,
    FictionWorld,
    draw_fiction,
)
from longspan.synth_templates.worlds.fiction_names import NamePool, Names
from longspan.synth_templates.worlds.prose import capitalised, fill, read_prose

CLUSTER_ENTITIES = 160
"""Entities of one world of `fiction_documents`."""
_PLACES = ("own", "other", "article")
_PLACE_WEIGHTS = (0.6, 0.2, 0.2)
_TWICE_SHARE = 0.2
_ARTICLE_FACTS = (4, 8)
_PAGE_FILLERS, _GENERAL_FILLERS = (4, 6), (2, 5)
_ARTICLE_FILLERS = (4, 6)
_NOTICES_PER_PAGE = 0.12


class _ArticleProse(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    titles: tuple[str, ...]
    openings: tuple[str, ...]
    fillers: tuple[str, ...]
    closings: tuple[str, ...]


class _FictionProse(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: dict[str, tuple[str, ...]]
    leads: dict[str, tuple[str, ...]]
    general: tuple[str, ...]
    fillers: dict[str, tuple[str, ...]]
    articles: tuple[_ArticleProse, ...]
    notices: tuple[str, ...]
    words: dict[str, tuple[str, ...]]


@cache
def fiction_prose() -> _FictionProse:
    """Returns the packaged templates."""
    return _FictionProse.model_validate(read_prose("fiction"))


@dataclass
class _Draft:
    """A document being written."""

    title: str
    facts: list[FictionFact] = field(default_factory=list)
    pairs: set[frozenset[str]] = field(default_factory=set)

    def take(self, fact: FictionFact) -> bool:
        """Adds a fact unless the document already says something about its pair."""
        pair = frozenset((fact.subject.name, fact.object))
        if pair in self.pairs:
            return False
        self.pairs.add(pair)
        self.facts.append(fact)
        return True


def fiction_documents(
    seed: int, num_documents: int, pool: NamePool = "all", prefix: str = "fiction"
) -> Iterator[Document]:
    """Yields any number of documents, world after world, in the memory of one world.

    Names are distinct over all of them; no fact leads from one world to another.
    """
    names = Names(random.Random(f"{seed}/names"), pool)
    number = written = 0
    while written < num_documents:
        rng = random.Random(f"{seed}/fiction/{number}")
        world = draw_fiction(rng, names, CLUSTER_ENTITIES)
        documents = write_documents(world, rng, f"{prefix}-{number:05d}")
        yield from documents[: num_documents - written]
        written += len(documents)
        number += 1


def write_documents(world: FictionWorld, rng: random.Random, prefix: str) -> list[Document]:
    """Returns the documents of a world in random order; their ids begin with the prefix."""
    pages, articles = _deal(world, rng)
    texts: list[tuple[str, str, Sequence[FictionFact]]] = []
    for entity, draft in zip(world.entities, pages, strict=True):
        texts.append((draft.title, _write_page(entity, draft.facts, rng), draft.facts))
    for draft, form in articles:
        texts.append((draft.title, _write_article(form, draft.facts, rng), draft.facts))
    for _ in range(round(_NOTICES_PER_PAGE * len(pages))):
        texts.append(("Notice", _write_notice(rng), ()))
    rng.shuffle(texts)
    return [
        Document(
            id=f"{prefix}-{number:04d}",
            title=title,
            text=text,
            triples=tuple(
                Triple(subject=fact.subject.name, relation=fact.relation, object=fact.object)
                for fact in facts
            ),
        )
        for number, (title, text, facts) in enumerate(texts)
    ]


def _deal(
    world: FictionWorld, rng: random.Random
) -> tuple[list[_Draft], list[tuple[_Draft, _ArticleProse]]]:
    """Returns the facts of each page (in the order of the entities) and of each article."""
    pages = {entity.name: _Draft(capitalised(entity.name)) for entity in world.entities}
    away: list[FictionFact] = []
    for fact in world.facts:
        places = rng.choices(_PLACES, _PLACE_WEIGHTS, k=2 if rng.random() < _TWICE_SHARE else 1)
        for place in dict.fromkeys(places):
            page = pages.get(fact.object if place == "other" else fact.subject.name)
            if place == "article" or page is None or not page.take(fact):
                away.append(fact)
    rng.shuffle(away)
    articles: list[tuple[_Draft, _ArticleProse]] = []
    while away:
        form = rng.choice(fiction_prose().articles)
        draft = _Draft(_title(form, world, rng))
        count = rng.randint(*_ARTICLE_FACTS)
        taken, away = away[:count], away[count:]
        for fact in taken:
            # A pair that the article has already is left out: the world says less, nothing wrong.
            draft.take(fact)
        articles.append((draft, form))
    return list(pages.values()), articles


def _title(form: _ArticleProse, world: FictionWorld, rng: random.Random) -> str:
    names = {
        kind: rng.choice([e.name for e in world.entities if e.kind == kind])
        for kind in ("newspaper", "person")
    }
    date = f"{rng.randint(1, 28)} {rng.choice(('April', 'May', 'June', 'October'))} {NOW}"
    values = {
        "newspaper": names["newspaper"],
        "Newspaper": capitalised(names["newspaper"]),
        "person": names["person"],
        "date": date,
    }
    return fill(rng.choice(form.titles), values, {}, rng)


def _write_page(entity: Entity, facts: Sequence[FictionFact], rng: random.Random) -> str:
    prose = fiction_prose()
    values = {"s": entity.name, "S": capitalised(entity.name)}
    lead = fill(rng.choice(prose.leads[entity.kind]), values, prose.words, rng)
    body = [_sentence(fact, rng) for fact in facts]
    own, general = prose.fillers[entity.kind], prose.general
    templates = rng.sample(own, min(rng.randint(*_PAGE_FILLERS), len(own)))
    templates += rng.sample(general, rng.randint(*_GENERAL_FILLERS))
    body += [fill(template, values, prose.words, rng) for template in templates]
    rng.shuffle(body)
    return _paragraphs([lead, *body], rng)


def _write_article(form: _ArticleProse, facts: Sequence[FictionFact], rng: random.Random) -> str:
    words = fiction_prose().words
    count = min(rng.randint(*_ARTICLE_FILLERS), len(form.fillers))
    body = [_sentence(fact, rng) for fact in facts]
    body += [fill(t, {}, words, rng) for t in rng.sample(form.fillers, count)]
    rng.shuffle(body)
    opening = fill(rng.choice(form.openings), {}, words, rng)
    closing = fill(rng.choice(form.closings), {}, words, rng)
    return _paragraphs([opening, *body, closing], rng)


def _write_notice(rng: random.Random) -> str:
    prose = fiction_prose()
    return " ".join(
        fill(template, {}, prose.words, rng)
        for template in rng.sample(prose.notices, rng.randint(1, 3))
    )


def _sentence(fact: FictionFact, rng: random.Random) -> str:
    subject, object_ = fact.subject.name, fact.object
    values = {
        "s": subject,
        "S": capitalised(subject),
        "o": object_,
        "O": capitalised(object_),
    }
    return fill(rng.choice(fiction_prose().facts[fact.relation]), values, {}, rng)


def _paragraphs(sentences: Sequence[str], rng: random.Random) -> str:
    """Returns the sentences as paragraphs of three to six."""
    paragraphs: list[str] = []
    start = 0
    while start < len(sentences):
        end = start + rng.randint(3, 6)
        paragraphs.append(" ".join(sentences[start:end]))
        start = end
    return "\n".join(paragraphs)
