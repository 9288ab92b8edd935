import random

from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.synth_templates.triples.dates import parse_date
from longspan.synth_templates.worlds.fiction import (
    COUNTED,
    DATED,
    LINKS,
    NOW,
    FictionWorld,
    draw_fiction,
)
from longspan.synth_templates.worlds.fiction_names import Names

seeds = st.integers(0, 10_000)


def world(seed: int, size: int = 100) -> FictionWorld:
    rng = random.Random(seed)
    return draw_fiction(rng, Names(rng), size)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_a_relation_of_a_subject_has_one_object(seed):
    facts = world(seed).facts
    keys = [(fact.subject.name, fact.relation) for fact in facts]
    assert len(set(keys)) == len(keys)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_world_agrees_with_itself(seed):
    drawn = world(seed)
    by_name = {entity.name: entity for entity in drawn.entities}
    objects = {(f.subject.name, f.relation): f.object for f in drawn.facts}
    for fact in drawn.facts:
        subject, other = fact.subject, by_name.get(fact.object)
        if fact.relation in ("founder", "author", "architect", "captain", "film director"):
            assert other.began.year + 20 <= subject.began.year
            assert other.ended is None or other.ended.year >= subject.began.year
        if fact.relation in ("mayor", "president", "rector", "employer"):
            assert other.ended is None
        if fact.relation == "father":
            assert 22 <= subject.began.year - other.began.year <= 45
        if fact.relation == "cause":
            assert other.began < subject.began
        if fact.relation == "regional capital":
            assert objects[fact.object, "region"] == subject.name
        if fact.relation == "national capital":
            assert objects[objects[fact.object, "region"], "country"] == subject.name
        if fact.relation == DATED.get(subject.kind):
            assert parse_date(fact.object) == subject.began
        assert subject.began.year <= NOW


def test_nobody_holds_an_office_twice():
    facts = world(3, 400).facts
    for relation in {link.relation for link in LINKS if link.is_office}:
        holders = [fact.object for fact in facts if fact.relation == relation]
        assert len(set(holders)) == len(holders), relation


def test_a_number_cannot_be_read_as_a_year():
    low = [bounds[1] for bounds in COUNTED.values()]
    assert all(n < 1000 or n >= 2100 for n in low)
    counted = {relation for relation, _, _ in COUNTED.values()}
    for fact in world(5, 500).facts:
        if fact.relation in counted:
            assert len(fact.object) < 4 or "," in fact.object


def test_every_relation_occurs_in_a_large_world():
    relations = {fact.relation for fact in world(1, 400).facts}
    declared = {link.relation for link in LINKS} | set(DATED.values())
    declared |= {relation for relation, _, _ in COUNTED.values()}
    assert relations == declared | {"father", "cause", "death date"} | {
        "region",
        "country",
        "regional capital",
        "national capital",
    }


def test_worlds_have_the_size_that_was_asked_for():
    assert abs(len(world(0, 1000).entities) - 1000) < 20
