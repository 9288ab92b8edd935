"""A generated fictional world: people, towns, companies, relations, sales tables and dialogues.

Documents are written from the world's graph, so every question has a proof and no model can know
the answer beforehand. Everything is drawn from a seed. One relation of one subject has exactly one
object.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from longspan.harness.datasets.documents import Document, Triple

EntityType = Literal["person", "town", "company", "number", "colour"]
NamePool = Literal["train", "all"]

_ONSETS = "b d f g k l m n p r s t v z br dr kr st".split()  # noqa: SIM905
_VOWELS = "a e i o u".split()  # noqa: SIM905
_CODAS = "l n r s t k m x".split()  # noqa: SIM905
_NAME_SEED = 7
_NUM_NAMES = {"person": 128, "town": 64, "company": 64}
_SUFFIX = {"person": "", "town": "ton", "company": "Co"}
_HELD_OUT_SHARE = 4  # every fourth name is never used where names="train"

COLOURS = tuple("red blue green black white grey brown pink gold silver purple orange".split())  # noqa: SIM905
ITEMS = tuple("lamp boat clock coat ring drum book flute".split())  # noqa: SIM905
AGES = range(20, 60)
SALES = range(1, 31)
SALES_ROWS = (3, 6)


@dataclass(frozen=True)
class Relation:
    """One relation of the world.

    A document says `{subject}{statement} {object}.`, a question `{subject}{possessive}`.
    """

    name: str
    subject: EntityType
    object: EntityType
    statement: str
    possessive: str


def _possessive(name: str, subject: EntityType, object_: EntityType) -> Relation:
    return Relation(name, subject, object_, f"'s {name} is", f"'s {name}")


def _message(item: str) -> Relation:
    return Relation(
        f"message about the {item}",
        "person",
        "colour",
        f" said: my {item} is",
        f"'s message about the {item}",
    )


ENTITY_RELATIONS: tuple[Relation, ...] = (
    _possessive("birthplace", "person", "town"),
    _possessive("home town", "person", "town"),
    _possessive("employer", "person", "company"),
    _possessive("mentor", "person", "person"),
    _possessive("rival", "person", "person"),
    _possessive("age", "person", "number"),
    _possessive("mayor", "town", "person"),
    _possessive("patron", "town", "person"),
    _possessive("twin town", "town", "town"),
    _possessive("main firm", "town", "company"),
    _possessive("seat", "company", "town"),
    _possessive("director", "company", "person"),
    _possessive("owner", "company", "person"),
    _possessive("main customer", "company", "company"),
)
MESSAGE_RELATIONS: tuple[Relation, ...] = tuple(_message(item) for item in ITEMS)
RELATIONS: dict[str, Relation] = {r.name: r for r in (*ENTITY_RELATIONS, *MESSAGE_RELATIONS)}
SALES_STATEMENT = "'s sales are:"
SALES_POSSESSIVE = "'s sales"


def _draw_names() -> dict[str, tuple[str, ...]]:
    rng = random.Random(_NAME_SEED)
    seen: set[str] = set()
    names: dict[str, tuple[str, ...]] = {}
    for kind, count in _NUM_NAMES.items():
        drawn: list[str] = []
        while len(drawn) < count:
            syllables = (_ONSETS, _VOWELS, _ONSETS, _VOWELS, _CODAS)
            stem = "".join(rng.choice(part) for part in syllables).capitalize()
            if stem not in seen:
                seen.add(stem)
                drawn.append(stem + _SUFFIX[kind])
        names[kind] = tuple(drawn)
    return names


NAMES: dict[str, tuple[str, ...]] = _draw_names()


def names_of(entity_type: str, pool: NamePool) -> tuple[str, ...]:
    """Returns the names of a type; `train` leaves out the held-out quarter."""
    names = NAMES[entity_type]
    if pool == "all":
        return names
    return tuple(name for i, name in enumerate(names) if i % _HELD_OUT_SHARE)


@dataclass(frozen=True)
class Fact:
    """One statement of the world."""

    relation: str
    subject: str
    object: str

    def sentence(self) -> str:
        """Returns the statement as it stands in a document."""
        return f"{self.subject}{RELATIONS[self.relation].statement} {self.object}."


@dataclass(frozen=True)
class SalesTable:
    """Sales of one company by town."""

    company: str
    rows: tuple[tuple[str, int], ...]

    def sentence(self) -> str:
        """Returns the table as it stands in a document."""
        rows = " ".join(f"{town} {value};" for town, value in self.rows)
        return f"{self.company}{SALES_STATEMENT} {rows[:-1]}."


@dataclass(frozen=True)
class WorldSize:
    """How many entities a world has, and what share of possible facts is stated."""

    persons: int = 24
    towns: int = 12
    companies: int = 12
    messages: int = 32
    coverage: float = 0.85


@dataclass(frozen=True)
class World:
    """A drawn world: facts per entity, sales tables, dialogue messages."""

    facts: tuple[Fact, ...]
    tables: tuple[SalesTable, ...]
    messages: tuple[Fact, ...]

    def documents(self, prefix: str = "world") -> list[Document]:
        """Returns a page per entity, a document per sales table and one per dialogue session."""
        pages: dict[str, list[Fact]] = {}
        for fact in self.facts:
            pages.setdefault(fact.subject, []).append(fact)
        drafts = [
            (subject, page, " ".join(f.sentence() for f in page)) for subject, page in pages.items()
        ]
        drafts += [(table.company, [], table.sentence()) for table in self.tables]
        for start in range(0, len(self.messages), MESSAGES_PER_SESSION):
            session = self.messages[start : start + MESSAGES_PER_SESSION]
            drafts.append(("Dialogue", list(session), " ".join(f.sentence() for f in session)))
        return [
            Document(
                id=f"{prefix}-{i:04d}",
                title=title,
                text=text,
                triples=tuple(
                    Triple(subject=f.subject, relation=f.relation, object=f.object) for f in facts
                ),
            )
            for i, (title, facts, text) in enumerate(drafts)
        ]


MESSAGES_PER_SESSION = 4


def draw_world(rng: random.Random, size: WorldSize, pool: NamePool = "all") -> World:
    """Returns a world drawn from `rng`."""
    counts = {"person": size.persons, "town": size.towns, "company": size.companies}
    entities: dict[str, list[str]] = {}
    for kind, count in counts.items():
        names = names_of(kind, pool)
        entities[kind] = rng.sample(names, min(count, len(names)))
    facts = [
        Fact(relation.name, subject, _draw_object(rng, relation, subject, entities))
        for kind in counts
        for subject in entities[kind]
        for relation in _shuffled(rng, [r for r in ENTITY_RELATIONS if r.subject == kind])
        if rng.random() < size.coverage
    ]
    tables = tuple(_draw_table(rng, company, entities["town"]) for company in entities["company"])
    return World(tuple(facts), tables, _draw_messages(rng, entities["person"], size.messages))


def _shuffled(rng: random.Random, items: list[Relation]) -> list[Relation]:
    rng.shuffle(items)
    return items


def _draw_object(
    rng: random.Random, relation: Relation, subject: str, entities: dict[str, list[str]]
) -> str:
    if relation.object == "number":
        return str(rng.choice(AGES))
    candidates = [name for name in entities[relation.object] if name != subject]
    return rng.choice(candidates or [n for n in NAMES[relation.object] if n != subject])


def _draw_table(rng: random.Random, company: str, towns: Sequence[str]) -> SalesTable:
    num_rows = min(rng.randint(*SALES_ROWS), len(towns))
    values = rng.sample(list(SALES), num_rows)
    return SalesTable(company, tuple(zip(rng.sample(list(towns), num_rows), values, strict=True)))


def _draw_messages(rng: random.Random, persons: Sequence[str], count: int) -> tuple[Fact, ...]:
    keys = [(person, relation.name) for person in persons for relation in MESSAGE_RELATIONS]
    chosen = rng.sample(keys, min(count, len(keys)))
    return tuple(Fact(name, person, rng.choice(COLOURS)) for person, name in chosen)
