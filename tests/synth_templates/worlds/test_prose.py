import random

from hypothesis import given
from hypothesis import strategies as st

from longspan.synth_templates.worlds.dialogue import dialogue_prose
from longspan.synth_templates.worlds.fiction_pages import fiction_prose
from longspan.synth_templates.worlds.prose import capitalised, fields_of, fill


def test_given_values_come_before_drawn_words():
    words = {"colour": ("red",), "s": ("never",)}
    assert fill("{s} is {colour}.", {"s": "It"}, words, random.Random(0)) == "It is red."


@given(st.integers())
def test_a_word_is_never_twice_in_one_template(seed):
    words = {"w": ("a", "b", "c")}
    drawn = fill("{w} {w} {w}", {}, words, random.Random(seed)).split()
    assert sorted(drawn) == ["a", "b", "c"]


def test_values_are_not_templates():
    assert fill("{s}", {"s": "{w.__class__}"}, {}, random.Random(0)) == "{w.__class__}"


def test_a_capital_is_put_first_and_nothing_else_changes():
    assert [capitalised(t) for t in ("the Orlen", "a", "", "Ab c")] == [
        "The Orlen",
        "A",
        "",
        "Ab c",
    ]


def all_templates() -> list[tuple[str, set[str]]]:
    """Every packaged template with the names that it may use."""
    fiction, dialogue = fiction_prose(), dialogue_prose()
    page = {"s", "S", *fiction.words}
    found = [(t, {"s", "S", "o", "O"}) for group in fiction.facts.values() for t in group]
    found += [(t, page) for group in fiction.leads.values() for t in group]
    found += [(t, page) for group in fiction.fillers.values() for t in group]
    found += [(t, page) for t in fiction.general]
    for form in fiction.articles:
        found += [(t, {"newspaper", "Newspaper", "person", "date"}) for t in form.titles]
        texts = (*form.openings, *form.fillers, *form.closings)
        found += [(t, set(fiction.words)) for t in texts]
    found += [(t, set(fiction.words)) for t in fiction.notices]
    changing = (*dialogue.begin, *dialogue.change, *dialogue.again)
    found += [(t, {"my", "My", "slot", "v"}) for t in changing]
    found += [(t, {"did", "noun", "v"}) for t in dialogue.item]
    for name in dialogue.forms:
        lines = dialogue.forms[name].lines
        found += [(t, {"topic", "Topic", *dialogue.words}) for t in lines]
    found += [(t, set(dialogue.words)) for topic in dialogue.topics for t in topic.asks]
    return found


def test_every_name_in_a_template_is_known():
    for template, known in all_templates():
        assert fields_of(template) <= known, template


def test_a_fact_is_stated_by_one_sentence_with_both_names():
    for relation, sentences in fiction_prose().facts.items():
        assert len(sentences) >= 3, relation
        for sentence in sentences:
            names = fields_of(sentence)
            assert names & {"s", "S"} and names & {"o", "O"}, sentence
            assert sentence.endswith(".") and sentence.count(".") == 1, sentence


def test_the_article_fits_every_word_that_may_follow_it():
    prose, dialogue = fiction_prose(), dialogue_prose()
    for template, _ in all_templates():
        words = {**prose.words, **dialogue.words}
        for name in ("manner", "size", "profession", "water", "busy", "adjective", "thing"):
            if f"a {{{name}}}" in template:
                vowels = [word for word in words[name] if word[0] in "aeiou"]
                assert not vowels, (template, vowels)
