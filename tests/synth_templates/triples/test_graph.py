from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.triples.graph import (
    Graph,
    find_mentions,
    find_support,
    normalise_entity,
    split_sentences,
)


def page(*triples: tuple[str, str, str], title: str = "Ada", text: str = "") -> Document:
    stated = tuple(Triple(subject=s, relation=r, object=o) for s, r, o in triples)
    return Document(id="d", title=title, text=text, triples=stated)


def relation_of(triple: Triple) -> str:
    return triple.relation


def test_dirty_triples_are_counted_and_not_fatal():
    document = page(
        ("Ada", "mentor", "Belo"),
        ("Ada", "mentor", "Belo"),
        ("Ada", "mentor", "the ada"),
        ("Ada", " ", "Belo"),
        ("Ada", "rival", "Nobody"),
        text="Ada's mentor is Belo.",
    )
    graph = Graph.build([document], relation_of)
    assert graph.counts == {
        "supported": 1,
        "repeated": 1,
        "self_loop": 1,
        "empty": 1,
        "unsupported": 1,
    }


def test_an_unsupported_triple_is_no_evidence_but_breaks_uniqueness():
    document = page(("Ada", "rival", "Belo"), ("Ada", "rival", "Karo"), text="Ada's rival is Belo.")
    graph = Graph.build([document], relation_of)
    assert [edge.object for edge in graph.edges["ada"]["rival"]] == ["belo"]
    assert not graph.is_functional("ada", "rival")
    assert graph.follow("ada", [("rival", False)]) == {"belo", "karo"}


def test_the_passage_is_the_sentence_that_states_the_relation():
    text = "Ada's mentor is Belo. Ada's rival is Belo."
    triple = Triple(subject="Ada", relation="rival", object="Belo")
    start, end = find_support(page(text=text), triple, split_sentences(text)) or (0, 0)
    assert text[start:end] == "Ada's rival is Belo."


def test_a_page_may_leave_its_subject_to_the_title():
    text = "It was founded in 1920. It is large."
    triple = Triple(subject="Acme", relation="founded in", object="1920")
    support = find_support(page(title="Acme", text=text), triple, split_sentences(text))
    assert support == (0, 23)
    assert find_support(page(title="Other", text=text), triple, split_sentences(text)) is None


def test_a_passage_does_not_cut_a_name():
    text = "The school was named after Owner X. Ylop Smith. It is old."
    triple = Triple(subject="school", relation="named after", object="Owner X. Ylop Smith")
    start, end = find_support(page(text=text), triple, split_sentences(text)) or (0, 0)
    assert "Owner X. Ylop Smith" in text[start:end]


def test_initials_and_abbreviations_end_no_sentence():
    text = "Charles L. McNary met Dr. Who at St. Louis. He left."
    assert [text[a:b] for a, b in split_sentences(text)] == [
        "Charles L. McNary met Dr. Who at St. Louis.",
        "He left.",
    ]


def test_mentions_are_whole_words():
    assert find_mentions("Rome", "Jerome saw Rome; rome.") == [11]
    assert find_mentions("ROME", "in rome") == [3]
    assert find_mentions("", "anything") == []


def test_normalisation_is_conservative():
    assert normalise_entity("  The  Beatles. ") == "beatles"
    assert normalise_entity("New York") != normalise_entity("New York City")


words = st.lists(st.sampled_from(["New", "York", "City", "Ada"]), min_size=1, max_size=4)


@given(words, st.sampled_from(["", "the ", "The  ", "a "]), st.sampled_from([" ", "  ", "\n"]))
def test_case_white_space_and_articles_do_not_make_another_entity(names, article, gap):
    assert normalise_entity(article + gap.join(names)) == " ".join(names).lower()


@given(st.text(alphabet="ab .A!\n", max_size=60))
def test_sentences_are_ordered_and_hold_every_letter(text: str):
    spans = split_sentences(text)
    assert all(one[1] <= two[0] for one, two in zip(spans, spans[1:], strict=False))
    held = "".join(text[start:end] for start, end in spans)
    assert [c for c in held if c.isalpha()] == [c for c in text if c.isalpha()]
