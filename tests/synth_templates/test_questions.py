import random

import pytest
from pydantic import TypeAdapter

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind_files import Kinds, world_relations
from longspan.synth_templates.questions import Worded, draw, word
from longspan.synth_templates.shapes.draft import Draft, Rejected
from longspan.synth_templates.shapes.path import path_phrase
from longspan.synth_templates.shapes.registry import Kind
from longspan.synth_templates.triples.graph import Edge
from longspan.synth_templates.triples.paths import Hop
from longspan.synth_templates.triples.relations import Lexicon, RelationForm
from longspan.synth_templates.worlds import world as w

NUM_DRAWS = 25


def drafts(kind: Kind, corpus: Corpus) -> list[tuple[Draft, Worded]]:
    found = []
    for seed in range(NUM_DRAWS):
        rng = random.Random(seed)
        draft = draw(kind, corpus, rng)
        if isinstance(draft, Draft):
            worded = word(draft, corpus, corpus.documents, rng)
            if isinstance(worded, Worded):
                found.append((draft, worded))
    return found


def test_every_world_kind_gives_questions_with_quoted_evidence(world: Corpus, world_kinds: Kinds):
    for kind in world_kinds.kinds:
        found = drafts(kind, world)
        assert len(found) > NUM_DRAWS // 2, kind.name
        for draft, _ in found:
            for span in draft.evidence:
                assert world.by_id[span.document].text[span.start : span.end] == span.quote


def test_hops_are_as_declared(world: Corpus, world_kinds: Kinds):
    for name, hops in (("world_hop1", 1), ("world_hop2", 2), ("world_hop3", 3)):
        assert {draft.hops for draft, _ in drafts(world_kinds.by_name()[name], world)} == {hops}


def test_world_answers_agree_with_the_world_itself(world_kinds: Kinds):
    drawn = w.draw_world(random.Random(5), w.WorldSize())
    facts = {(f.subject, f.relation): f.object for f in (*drawn.facts, *drawn.messages)}
    corpus = Corpus("w", drawn.documents("w"), world_kinds.lexicon())
    for draft, worded in drafts(world_kinds.by_name()["world_hop3"], corpus):
        subject = draft.proof.steps[0].subject
        for step in draft.proof.steps:
            subject = facts[subject, step.relation]
        assert worded.target == subject
    for draft, worded in drafts(world_kinds.by_name()["world_compare"], corpus):
        ages = {s.subject: int(facts[s.subject, "age"]) for s in draft.proof.steps}
        assert worded.target == max(ages, key=lambda name: ages[name])
    tables = {table.company: dict(table.rows) for table in drawn.tables}
    for draft, worded in drafts(world_kinds.by_name()["world_sales_count"], corpus):
        values = tables[draft.proof.subject].values()
        assert int(worded.target) == sum(value > draft.proof.threshold for value in values)


def test_options_hold_the_answer_once_under_its_letter(world: Corpus, world_kinds: Kinds):
    for draft, worded in drafts(world_kinds.by_name()["world_choice2"], world):
        assert len(set(worded.options)) == 4
        assert worded.options["ABCD".index(worded.target)] == draft.answer
        assert f"{draft.answer} ({worded.target})" in worded.question


def test_a_repeat_asks_for_the_sentence_word_for_word(world: Corpus, world_kinds: Kinds):
    for draft, worded in drafts(world_kinds.by_name()["world_repeat"], world):
        assert draft.evidence[0].quote == worded.target + "."
        assert worded.question.startswith("Repeat ")


def test_phrases_nest_from_the_start_outwards():
    lexicon = Lexicon(world_relations())
    mayor, town = hop("birthplace", "Dresex", "Boton"), hop("mayor", "Boton", "Kal")
    assert path_phrase(lexicon, [mayor, town], "Dresex") == "Dresex's birthplace's mayor"


def hop(relation: str, subject: str, object_: str) -> Hop:
    stated = Triple(subject=subject, relation=relation, object=object_)
    return Hop(Edge(subject.lower(), relation, object_.lower(), stated, "d", 0, 1))


def chain(answer: str) -> Corpus:
    triple = Triple(subject="Ada Town", relation="mayor", object=answer)
    text = f"Ada Town's mayor is {answer}."
    document = Document(id="d", title="Ada Town", text=text, triples=(triple,))
    return Corpus("g", [document], Lexicon(world_relations()))


def kind_of(shape: str, **fields) -> Kind:
    content = {"name": "x", "task_type": "multi_hop", "question": "What is {{ path }}?"}
    return TypeAdapter(Kind).validate_python(
        {**content, "scorer": "exact_match", "shape": shape, **fields}
    )


def one_hop() -> Kind:
    return kind_of("path")


def test_an_answer_that_stands_in_the_question_is_rejected():
    corpus = chain("Ada")
    draft = draw(one_hop(), corpus, random.Random(0))
    assert isinstance(draft, Draft)
    assert word(draft, corpus, corpus.documents, random.Random(0)) == Rejected("answer in question")


@pytest.mark.parametrize(
    "kind",
    [
        kind_of("path"),
        kind_of("table", operation="max"),
        kind_of("compare", relation="age"),
        kind_of("select"),
    ],
    ids=lambda kind: kind.shape,
)
def test_a_corpus_with_nothing_to_ask_says_so_for_good(kind):
    corpus = Corpus("g", [Document(id="d", text="nothing")], Lexicon(world_relations()))
    rejected = draw(kind, corpus, random.Random(0))
    assert isinstance(rejected, Rejected) and rejected.is_final


def statement(title: str, text: str, subject: str) -> Corpus:
    triple = Triple(subject=subject, relation="seat", object="Rome")
    document = Document(id="d", title=title, text=text, triples=(triple,))
    extracted = RelationForm(name="seat", stated=("seat",), phrase="the seat of {{ inner }}")
    return Corpus("g", [document], Lexicon([extracted]))


def test_a_statement_turned_round_is_not_asked_about():
    right = statement("Senate", "In Acme Corp the seat was Rome.", "Acme Corp")
    turned = statement("Senate", "Rome was home of Acme Corp.", "Acme Corp")
    assert isinstance(draw(one_hop(), right, random.Random(0)), Draft)
    assert isinstance(draw(one_hop(), turned, random.Random(0)), Rejected)


def test_a_word_that_the_corpus_writes_small_is_no_name():
    corpus = statement("Church", "The Church is old. Church seat: Rome. A church.", "Church")
    assert isinstance(draw(one_hop(), corpus, random.Random(0)), Rejected)
