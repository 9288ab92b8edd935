"""Shapes over extracted statements: every sample holds, and every change of it is caught."""

import random

import pytest
from pydantic import TypeAdapter

from longspan.harness.passport import Passport
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.questions import Worded, draw, word
from longspan.synth_templates.shapes.draft import Draft, Rejected
from longspan.synth_templates.shapes.registry import Kind
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.verify import check_passport

KINDS = {
    "select": {"shape": "select", "question": "Which {{ clause }}: {{ candidates }}?"},
    "described": {"shape": "path", "obfuscated": True, "question": "{{ ask }}?"},
    "described_select": {
        "shape": "select",
        "obfuscated": True,
        "question": "Which {{ clause }}: {{ candidates }}?",
    },
    "path": {"shape": "path", "hops": 2, "question": "{{ ask }}?"},
    "backwards": {"shape": "path", "hops": 2, "inverse": "always", "question": "{{ ask }}?"},
    "first": {
        "shape": "compare",
        "relation": "release_date",
        "num_sides": 3,
        "pick": "smallest",
        "question": "{{ which }} {{ event }} first: {{ candidates }}?",
    },
    "bridged": {
        "shape": "compare",
        "relation": "birth_date",
        "num_bridged": 1,
        "question": "{{ which }} {{ event }} later, {{ candidates }}?",
    },
    "between": {
        "shape": "compare",
        "relation": "release_date",
        "pick": "difference",
        "question": "Years between {{ first }} and {{ second }}?",
    },
}


def kind_of(name: str) -> Kind:
    shared = {"name": name, "task_type": "multi_hop", "scorer": "cover_exact_match"}
    return TypeAdapter(Kind).validate_python({**shared, **KINDS[name]})


def samples(name: str, corpus: Corpus, num: int = 60) -> list[SampleRow]:
    rows = []
    for seed in range(num):
        rng = random.Random(seed)
        draft = draw(kind_of(name), corpus, rng)
        if isinstance(draft, Rejected):
            continue
        worded = word(draft, corpus, [], rng)
        if isinstance(worded, Worded):
            rows.append(row_of(draft, worded, corpus))
    return rows


def row_of(draft: Draft, worded: Worded, corpus: Corpus) -> SampleRow:
    return SampleRow(
        id="x",
        split="test",
        kind=draft.kind.name,
        task_type="multi_hop",
        question=worded.question,
        target=(worded.target,),
        scorer="cover_exact_match",
        documents=tuple(corpus.by_id),
        document_group="films",
        seed=0,
        hops=draft.hops,
        passport=Passport(
            evidence=draft.all_evidence, proof=draft.proof, obfuscations=draft.obfuscations
        ),
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_sample_holds_over_two_documents_or_more_statements(name, films: Corpus):
    rows = samples(name, films)
    assert len(rows) > 10
    for row in rows:
        assert check_passport(row, films) == []
        assert row.hops >= 2


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_answer_is_caught(name, films: Corpus):
    for row in samples(name, films, 10):
        wrong = row.model_copy(update={"target": ("Nobody",)})
        assert any("the proof gives" in problem for problem in check_passport(wrong, films))


@pytest.mark.parametrize("name", KINDS)
def test_an_invented_statement_is_caught_at_every_step(name, films: Corpus):
    row = samples(name, films)[0]
    evidence = row.passport.evidence
    for i, span in enumerate(evidence):
        other = next(d for d in films.documents if d.id != span.document)
        moved = span.model_copy(update={"document": other.id, "quote": other.text[:9], "start": 0})
        moved = moved.model_copy(update={"end": 9})
        changed = row.passport.model_copy(
            update={"evidence": (*evidence[:i], moved, *evidence[i + 1 :])}
        )
        assert check_passport(row.model_copy(update={"passport": changed}), films)


def test_selected_candidates_differ_and_only_one_is_right(films: Corpus):
    for row in samples("select", films):
        proof = row.passport.proof
        end = proof.path[-1].object
        objects = [step.object for step in proof.candidates]
        assert objects.count(end) == 1
        right = proof.candidates[objects.index(end)].subject
        assert row.target == (right,)
        for step in proof.candidates:
            if step.subject != right:
                assert not find_mentions(end, films.by_id[step.document].text)


def test_a_second_right_candidate_is_caught(films: Corpus):
    row = samples("select", films)[0]
    proof = row.passport.proof
    right = next(s for s in proof.candidates if s.subject == row.target[0])
    twice = proof.model_copy(update={"candidates": (right, right)})
    passport = row.passport.model_copy(update={"proof": twice})
    assert check_passport(row.model_copy(update={"passport": passport}), films)


def test_a_comparison_is_of_the_values_that_the_documents_state(films: Corpus):
    for row in samples("first", films):
        years = {s[-1].subject: int(s[-1].object) for s in row.passport.proof.sides}
        assert row.target[0] == min(years, key=lambda name: years[name])
    for row in samples("between", films):
        first, second = (int(side[-1].object) for side in row.passport.proof.sides)
        assert row.target == (str(abs(first - second)),)


def test_a_bridged_subject_is_not_named_but_reached(films: Corpus):
    for row in samples("bridged", films):
        chains = sorted(row.passport.proof.sides, key=len)
        assert [len(chain) for chain in chains] == [1, 2]
        assert not find_mentions(chains[1][1].subject, row.question)


def test_a_description_that_fits_another_entity_too_is_caught(films: Corpus):
    row = samples("described", films)[0]
    told = row.passport.obfuscations[0]
    twin_facts = [
        (f"Twin {i}", c.statement.relation, c.statement.object)
        for c in told.constraints
        for i in (1,)
    ]
    text = " ".join(f"{s} {r} {o}." for s, r, o in twin_facts)
    twin = films.documents[0].model_copy(
        update={
            "id": "twin",
            "title": "Twin 1",
            "text": text,
            "triples": tuple(
                films.documents[0]
                .triples[0]
                .model_copy(update={"subject": s, "relation": r, "object": o})
                for s, r, o in twin_facts
            ),
        }
    )
    wider = Corpus("films", [*films.documents, twin], films.lexicon)
    assert any("does not identify" in problem for problem in check_passport(row, wider))


def test_a_description_may_not_say_something_else(films: Corpus):
    row = samples("described", films)[0]
    told = row.passport.obfuscations[0]
    other = told.model_copy(update={"text": "the thing"})
    passport = row.passport.model_copy(update={"obfuscations": (other,)})
    problems = check_passport(row.model_copy(update={"passport": passport}), films)
    assert any("does not hold the description" in problem for problem in problems)
