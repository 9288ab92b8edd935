"""A rich fictional world: people, places, organisations, works and events, with dates and numbers.

The world is a graph whose parts agree with each other: nobody founds a company before being grown
up, causes come before their effects, office-holders are alive. Every relation of a subject has one
object. Documents are written from it by `fiction_pages`.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from longspan.synth_templates.triples.dates import format_date
from longspan.synth_templates.worlds.fiction_names import NameKind, Names

NOW = 1998
"""The year in which the documents are written."""
Era = Literal["any", "then", "youth", "now", "past"]
"""When an object must have been around: at any time; in the subject's year (for people: grown up);
when the subject was young; at present, like the subject itself; at any time, for subjects that are
dead."""

_BIRTH_YEARS = (1850, 1970)
_LIVING_SINCE = 1925
_LONGEST_CAREER = 60
_GROWN_UP = 20
_NUM_TRIES = 8
_CHILD_SHARE, _EFFECT_SHARE = 0.35, 0.6


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with a page.

    Attributes:
        kind: What it is.
        name: Its name, with the article where it takes one.
        began: Birth, foundation, publication, beginning of an event.
        ended: Death; None for what still is.
    """

    kind: NameKind
    name: str
    began: datetime.date
    ended: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class FictionFact:
    """One statement of the world."""

    subject: Entity
    relation: str
    object: str


@dataclass(frozen=True, slots=True)
class Link:
    """A relation between entities: a `share` of the subjects has it."""

    relation: str
    subject: NameKind
    objects: tuple[NameKind, ...]
    share: float = 0.8
    era: Era = "any"

    @property
    def is_office(self) -> bool:
        """Whether an object can be so related to one subject only: nobody is mayor twice."""
        return self.era == "now" and self.objects == ("person",) or self.relation == "anthem"


_ORGANISATIONS: tuple[NameKind, ...] = ("company", "university", "museum", "newspaper")
LINKS: tuple[Link, ...] = (
    Link("birthplace", "person", ("town",), 0.9),
    Link("residence", "person", ("town",), 0.6, "now"),
    Link("death place", "person", ("town",), 0.6, "past"),
    Link("teacher", "person", ("person",), 0.5, "youth"),
    Link("alma mater", "person", ("university",), 0.6, "youth"),
    Link("employer", "person", _ORGANISATIONS, 0.7, "now"),
    Link("mayor", "town", ("person",), 0.8, "now"),
    Link("largest employer", "town", ("company",), 0.5, "now"),
    Link("governor", "region", ("person",), 0.9, "now"),
    Link("president", "country", ("person",), 0.95, "now"),
    Link("anthem", "country", ("song",), 0.8),
    *(Link("founder", kind, ("person",), 0.75, "then") for kind in _ORGANISATIONS),
    Link("headquarters", "company", ("town",), 0.9),
    Link("chief executive", "company", ("person",), 0.7, "now"),
    Link("owner", "company", ("company",), 0.3, "then"),
    Link("university town", "university", ("town",), 0.95),
    Link("rector", "university", ("person",), 0.8, "now"),
    Link("museum town", "museum", ("town",), 0.95),
    Link("museum director", "museum", ("person",), 0.8, "now"),
    Link("chief editor", "newspaper", ("person",), 0.8, "now"),
    Link("place of publication", "newspaper", ("town",), 0.9),
    Link("owner", "newspaper", ("company",), 0.6, "now"),
    Link("author", "book", ("person",), 0.95, "then"),
    Link("publisher", "book", ("company",), 0.8, "then"),
    Link("setting", "book", ("town",), 0.6),
    Link("dedicatee", "book", ("person",), 0.4, "then"),
    Link("film director", "film", ("person",), 0.95, "then"),
    Link("source", "film", ("book",), 0.6, "then"),
    Link("lead actor", "film", ("person",), 0.8, "then"),
    Link("producer", "film", ("company",), 0.6, "then"),
    Link("composer", "song", ("person",), 0.95, "then"),
    Link("dedicatee", "song", ("person",), 0.5, "then"),
    Link("architect", "building", ("person",), 0.9, "then"),
    Link("location", "building", ("town",), 0.95),
    Link("namesake", "building", ("person",), 0.5, "then"),
    Link("shipbuilder", "ship", ("company",), 0.9, "then"),
    Link("captain", "ship", ("person",), 0.8, "then"),
    Link("home port", "ship", ("town",), 0.8),
    Link("place", "event", ("town",), 0.9),
    Link("leader", "event", ("person",), 0.8, "then"),
)
DATED: dict[NameKind, str] = {
    "person": "birth date",
    "town": "charter date",
    **dict.fromkeys(_ORGANISATIONS, "founding date"),
    "book": "publication date",
    "film": "release date",
    "song": "premiere date",
    "building": "completion date",
    "ship": "launch date",
    "event": "event date",
}
"""Kind -> the relation that dates its beginning."""
_DATED_SHARE = 0.85
COUNTED: dict[NameKind, tuple[str, int, int]] = {
    "town": ("population", 2_100, 900_000),
    "region": ("area", 2_100, 90_000),
    "company": ("workforce", 2_100, 60_000),
    "university": ("enrolment", 2_100, 40_000),
    "museum": ("visitors", 2_100, 800_000),
    "newspaper": ("circulation", 2_100, 500_000),
    "book": ("pages", 120, 900),
    "film": ("running time", 70, 220),
    "building": ("height", 12, 300),
    "event": ("participants", 100, 90_000),
}
"""Kind -> a relation to a number, its least and greatest value."""
_COUNTED_SHARE = 0.85
_YEARS: dict[NameKind, tuple[int, int]] = {
    "town": (1210, 1690),
    "region": (1100, 1500),
    "country": (1100, 1500),
    "company": (1878, 1975),
    "university": (1876, 1960),
    "museum": (1880, 1975),
    "newspaper": (1880, 1980),
    "book": (1890, 1990),
    "film": (1925, 1996),
    "song": (1880, 1990),
    "building": (1880, 1992),
    "ship": (1890, 1985),
    "event": (1885, 1990),
}
_PER_HUNDRED: dict[NameKind, int] = {
    "person": 30,
    "town": 14,
    "region": 4,
    "country": 2,
    "company": 9,
    "university": 3,
    "museum": 3,
    "newspaper": 3,
    "book": 8,
    "film": 5,
    "song": 3,
    "building": 5,
    "ship": 4,
    "event": 18,
}
"""Entities of each kind among a hundred and eleven; at least two of each."""


@dataclass(frozen=True, slots=True)
class FictionWorld:
    """A drawn world."""

    entities: tuple[Entity, ...]
    facts: tuple[FictionFact, ...]


def draw_fiction(rng: random.Random, names: Names, num_entities: int) -> FictionWorld:
    """Returns a world of about `num_entities` entities, drawn from `rng`."""
    entities: dict[NameKind, list[Entity]] = {}
    facts: list[FictionFact] = []
    for kind, share in _PER_HUNDRED.items():
        count = max(2, round(num_entities * share / sum(_PER_HUNDRED.values())))
        if kind == "person":
            entities[kind] = _draw_persons(rng, names, count, facts)
        elif kind == "event":
            entities[kind] = _draw_events(rng, names, count, facts)
        else:
            entities[kind] = [
                Entity(kind, names.draw(kind), _date_in(rng, *_YEARS[kind])) for _ in range(count)
            ]
    facts += _draw_map(rng, entities)
    _draw_links(rng, entities, facts)
    everything = tuple(entity for group in entities.values() for entity in group)
    for entity in everything:
        facts.extend(_draw_values(rng, entity))
    return FictionWorld(everything, tuple(facts))


def _draw_persons(
    rng: random.Random, names: Names, count: int, facts: list[FictionFact]
) -> list[Entity]:
    """Returns people in the order of their births; some are children of earlier ones."""
    births = sorted(_date_in(rng, *_BIRTH_YEARS) for _ in range(count))
    persons: list[Entity] = []
    for born in births:
        died = None
        if born.year < _LIVING_SINCE:
            died = _date_in(rng, born.year + 62, min(born.year + 92, NOW - 1))
        father = None
        if rng.random() < _CHILD_SHARE:
            father = _pick(rng, persons, partial(_may_be_father, born=born))
        name = names.kin(father.name) if father else names.draw("person")
        persons.append(Entity("person", name, born, died))
        if father:
            facts.append(FictionFact(persons[-1], "father", father.name))
    return persons


def _draw_events(
    rng: random.Random, names: Names, count: int, facts: list[FictionFact]
) -> list[Entity]:
    """Returns events, of which some were caused by others, at most three years before."""
    events: list[Entity] = []
    for _ in range(count):
        cause = None
        if events and rng.random() < _EFFECT_SHARE:
            cause = rng.choice(events)
        began = (
            cause.began + datetime.timedelta(days=rng.randint(20, 1000))
            if cause
            else _date_in(rng, *_YEARS["event"])
        )
        if began.year >= NOW:
            cause, began = None, _date_in(rng, *_YEARS["event"])
        events.append(Entity("event", names.draw("event"), began))
        if cause:
            facts.append(FictionFact(events[-1], "cause", cause.name))
    return events


def _draw_map(rng: random.Random, entities: dict[NameKind, list[Entity]]) -> list[FictionFact]:
    """Returns which town lies in which region and country; capitals lie in what they are of."""
    facts: list[FictionFact] = []
    towns_of: dict[str, list[Entity]] = {}
    country_of = {region.name: rng.choice(entities["country"]) for region in entities["region"]}
    for town in entities["town"]:
        region = rng.choice(entities["region"])
        for area in (region, country_of[region.name]):
            towns_of.setdefault(area.name, []).append(town)
        facts.append(FictionFact(town, "region", region.name))
    for region in entities["region"]:
        facts.append(FictionFact(region, "country", country_of[region.name].name))
    for relation, kind in (("regional capital", "region"), ("national capital", "country")):
        for area in entities[kind]:  # type: ignore[index]
            if area.name in towns_of:
                facts.append(FictionFact(area, relation, rng.choice(towns_of[area.name]).name))
    return facts


def _draw_links(
    rng: random.Random, entities: dict[NameKind, list[Entity]], facts: list[FictionFact]
) -> None:
    for link in LINKS:
        pool = [entity for kind in link.objects for entity in entities[kind]]
        in_office: set[str] = set()
        for subject in entities[link.subject]:
            if rng.random() >= link.share or not _may_have(subject, link.era):
                continue
            found = _pick(rng, pool, partial(_fits, subject=subject, era=link.era))
            if found is None or found.name in in_office:
                continue
            if link.is_office:
                in_office.add(found.name)
            facts.append(FictionFact(subject, link.relation, found.name))


def _draw_values(rng: random.Random, entity: Entity) -> list[FictionFact]:
    found: list[FictionFact] = []
    if entity.kind in DATED and rng.random() < _DATED_SHARE:
        found.append(FictionFact(entity, DATED[entity.kind], format_date(entity.began)))
    if entity.ended is not None and rng.random() < _DATED_SHARE:
        found.append(FictionFact(entity, "death date", format_date(entity.ended)))
    if entity.kind in COUNTED and rng.random() < _COUNTED_SHARE:
        relation, low, high = COUNTED[entity.kind]
        value = int(low * (high / low) ** rng.random())
        # Four digits without a comma would read as a year.
        found.append(FictionFact(entity, relation, f"{value:,}"))
    return found


def _pick(
    rng: random.Random, pool: Sequence[Entity], fits: Callable[[Entity], bool]
) -> Entity | None:
    """Returns a random member that fits, None where a few tries found none."""
    for _ in range(_NUM_TRIES if pool else 0):
        found = pool[int(rng.random() * len(pool))]
        if fits(found):
            return found
    return None


def _may_be_father(entity: Entity, born: datetime.date) -> bool:
    return 22 <= born.year - entity.began.year <= 45


def _may_have(subject: Entity, era: Era) -> bool:
    if era == "past":
        return subject.ended is not None
    return era != "now" or _is_living(subject)


def _fits(entity: Entity, subject: Entity, era: Era) -> bool:
    if entity is subject:
        return False
    if era in ("any", "past"):
        return True
    if era == "now":
        return _is_living(entity)
    year = subject.began.year + (_GROWN_UP if era == "youth" else 0)
    if entity.kind != "person":
        return entity.began.year < year
    age = year - entity.began.year
    is_alive = entity.ended is None or entity.ended.year >= year
    return _GROWN_UP <= age <= _LONGEST_CAREER and is_alive


def _is_living(entity: Entity) -> bool:
    """Whether something is around at present; people also grown up."""
    return entity.ended is None and entity.began.year <= NOW - _GROWN_UP - 5


def _date_in(rng: random.Random, first: int, last: int) -> datetime.date:
    return datetime.date(rng.randint(first, last), rng.randint(1, 12), rng.randint(1, 28))
