import pytest
from pydantic import ValidationError

from longspan.harness.datasets.documents import Triple
from longspan.synth_templates.triples.relations import (
    Lexicon,
    RelationForm,
    is_name,
    normalise_relation,
    numeric_value,
    object_class,
)

BIRTHPLACE = RelationForm(
    name="birthplace", stated=("born in",), phrase="the birthplace of {{ inner }}", object=("name",)
)
BIRTH_DATE = RelationForm(
    name="birth_date", stated=("born in",), phrase="the birth of {{ inner }}", object=("date",)
)


def stated(relation: str, object_: str) -> Triple:
    return Triple(subject="Ada", relation=relation, object=object_)


def test_the_class_of_the_object_decides_between_relations_stated_alike():
    lexicon = Lexicon([BIRTHPLACE, BIRTH_DATE])
    assert lexicon.canonical(stated("was born in", "Rome")) == "birthplace"
    assert lexicon.canonical(stated("Born  in", "May 1950")) == "birth_date"


def test_relations_outside_the_lexicon_stay_apart_from_it():
    lexicon = Lexicon([BIRTHPLACE])
    assert lexicon.canonical(stated("birthplace", "Rome")) == "~birthplace"
    assert "~birthplace" not in lexicon.forms


def test_a_phrase_needs_a_place_for_the_rest_of_the_path():
    with pytest.raises(ValidationError, match="inner"):
        RelationForm(name="x", stated=("x",), phrase="the x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Springer Science+Business Media", "name"),
        ("the Isle of Man", "name"),
        ("10 March 1848", "date"),
        ("January 1960", "date"),
        ("the 1940s", "other"),
        ("1940s", "date"),
        ("1984", "date"),
        ("601,222", "number"),
        ("monthly publication in 1963", "other"),
        ("The film", "other"),
        ("It", "other"),
    ],
)
def test_objects_are_classed_by_their_look(text, expected):
    assert object_class(text) == expected


def test_long_phrases_are_no_names():
    assert not is_name("One Two Three Four Five Six Seven")


def test_values_are_numbers_or_single_years():
    assert numeric_value("601,222") == 601222
    assert numeric_value("10 March 1848") == 1848
    assert numeric_value("between 1848 and 1849") is None
    assert numeric_value("Rome") is None


def test_auxiliary_verbs_do_not_make_another_relation():
    assert normalise_relation("is Located_in") == normalise_relation("located in")
    assert normalise_relation("is") == "is"
