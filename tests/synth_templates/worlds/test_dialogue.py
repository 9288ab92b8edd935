import random

from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.triples.dates import parse_date
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.worlds.dialogue import dialogue_prose, draw_dialogue
from longspan.synth_templates.worlds.fiction_names import Names
from longspan.synth_templates.worlds.sessions import Sessions, date_of, is_session, turns_of


def dialogue(seed: int, num_sessions: int = 40) -> list[Document]:
    rng = random.Random(seed)
    return draw_dialogue(rng, Names(rng), num_sessions, "d")


@settings(max_examples=10, deadline=None)
@given(st.integers())
def test_every_statement_stands_in_a_sentence_of_the_user_and_nothing_else_names_it(seed):
    documents = dialogue(seed)
    assert all(map(is_session, documents))
    for document in documents:
        for triple in document.triples:
            assert len(find_mentions(triple.object, document.text)) == 1
    sessions = Sessions(documents)
    stated = sum(len(document.triples) for document in documents)
    assert sum(map(len, sessions.histories.values())) == stated > 20


@settings(max_examples=10, deadline=None)
@given(st.integers())
def test_a_value_belongs_to_one_thing(seed):
    owners: dict[str, tuple[str, str]] = {}
    for document in dialogue(seed):
        for triple in document.triples:
            key = (triple.subject, triple.relation)
            assert owners.setdefault(triple.object, key) == key


def test_a_list_only_grows_and_a_thing_is_said_once_a_session():
    prose = dialogue_prose()
    for (_, relation), history in Sessions(dialogue(1, 100)).histories.items():
        places = [mention.document for mention in history]
        assert len(set(places)) == len(places)
        if relation in prose.lists:
            assert len({m.stated.object for m in history}) == len(history)


def test_sessions_are_dated_in_order_and_turns_alternate():
    documents = dialogue(2)
    dates = [parse_date(date_of(document)) for document in documents]
    assert all(a < b for a, b in zip(dates, dates[1:], strict=False))
    for document in documents:
        roles = [turn.role for turn in turns_of(document)]
        assert roles == ["User", "Assistant"] * (len(roles) // 2)


def test_repeated_requests_get_different_texts_of_useful_length():
    sessions = Sessions(dialogue(3, 200))
    texts = {d.id: d.text for d in sessions.documents}
    generated = [
        replies
        for request, replies in sessions.requests.items()
        if request.startswith(("Write", "Tell", "Draft"))
    ]
    assert len(generated) > 10
    for replies in generated:
        told = [texts[reply.document][reply.start : reply.end] for reply in replies]
        assert len(set(told)) == len(told) >= 2
        assert all(40 <= len(text.split()) <= 120 for text in told)


def test_values_change_are_repeated_and_come_back():
    changes = repeats = returns = 0
    for history in Sessions(dialogue(4, 300)).histories.values():
        values = [mention.stated.object for mention in history]
        for i, value in enumerate(values[1:], 1):
            changes += value != values[i - 1]
            repeats += value == values[i - 1]
            returns += value != values[i - 1] and value in values[: i - 1]
    assert min(changes, repeats, returns) >= 5


def test_the_same_seed_gives_the_same_dialogue():
    assert dialogue(5) == dialogue(5) != dialogue(6)
