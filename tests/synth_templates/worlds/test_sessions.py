from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.worlds.sessions import (
    Sessions,
    date_of,
    find_statement,
    is_session,
    turns_of,
)


def session(number: int, text: str, *facts: tuple[str, str, str]) -> Document:
    triples = tuple(Triple(subject=s, relation=r, object=o) for s, r, o in facts)
    title = f"Session {number} of Ada Velm, {number} May 2031"
    return Document(id=f"s{number}", title=title, text=text, triples=triples)


POEM = "User: Write a poem.\nAssistant: One\nUser-friendly line\nUser: Thanks.\nAssistant: Bye."


def test_turns_hold_what_was_said_over_several_lines():
    document = session(1, POEM)
    said = [(turn.role, document.text[turn.start : turn.end]) for turn in turns_of(document)]
    assert said == [
        ("User", "Write a poem."),
        ("Assistant", "One\nUser-friendly line"),
        ("User", "Thanks."),
        ("Assistant", "Bye."),
    ]


def test_a_session_has_turns_and_a_date():
    assert Sessions([session(1, POEM)]).user == "Ada Velm" and Sessions([]).user == ""
    assert is_session(session(1, POEM)) and date_of(session(3, POEM)) == "3 May 2031"
    assert not is_session(Document(id="d", title="Notes", text=POEM))
    assert not is_session(Document(id="d", title="Session 1 of Ada, 3 May 2031", text="A page."))


def test_only_what_the_user_says_is_a_statement():
    fact = ("me", "bank", "Orlen")
    text = "User: Hello.\nAssistant: Your bank is Orlen.\nUser: Yes. My bank is Orlen. Good."
    document = session(1, text, fact)
    start, end = find_statement(document, document.triples[0]) or (0, 0)
    assert text[start:end] == "My bank is Orlen."
    silent = session(1, "User: Hello.\nAssistant: Your bank is Orlen.", fact)
    assert find_statement(silent, silent.triples[0]) is None


def test_histories_are_in_order_of_the_sessions():
    first = session(1, "User: My bank is Orlen.\nAssistant: Ok.", ("me", "bank", "Orlen"))
    second = session(2, "User: My bank is Velm.\nAssistant: Ok.", ("me", "bank", "Velm"))
    sessions = Sessions([first, Document(id="p", title="P", text="Page."), second])
    assert [m.stated.object for m in sessions.histories["me", "bank"]] == ["Orlen", "Velm"]
    assert sessions.in_order(["s1", "s2"])
    assert not sessions.in_order(["s2", "s1"])
    assert not sessions.in_order(["s1", "p"]) and not sessions.in_order(["p"])
    assert sessions.is_first_mention("Velm", "s2") and not sessions.is_first_mention("Orlen", "s2")


def test_a_request_within_a_longer_message_makes_the_order_of_replies_unclear():
    one = session(1, "User: Sing.\nAssistant: La.")
    two = session(2, "User: Sing.\nAssistant: Li.")
    assert [r.document for r in Sessions([one, two]).requests["Sing."]] == ["s1", "s2"]
    other = session(3, "User: Please wait. Sing.\nAssistant: Lo.")
    assert Sessions([one, two, other]).requests == {}
