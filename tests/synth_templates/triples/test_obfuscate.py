import random

import pytest

from longspan.harness.datasets.documents import Document, Triple
from longspan.harness.passport import Constraint, ProofStep
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.triples.graph import Edge
from longspan.synth_templates.triples.obfuscate import (
    describe,
    period,
    render_description,
    satisfying,
)
from longspan.synth_templates.triples.relations import Lexicon, RelationForm

FORMS = [
    RelationForm(
        name="director",
        stated=("directed by",),
        phrase="the director of {{ inner }}",
        object=("name",),
        noun="work",
        clause="was directed by {{ inner }}",
    ),
    RelationForm(
        name="release_date",
        stated=("released in",),
        phrase="the release date of {{ inner }}",
        object=("date", "other"),
        noun="work",
        event="was released",
    ),
]


def films(*facts: tuple[str, str, str]) -> Corpus:
    documents = [
        Document(
            id=title,
            title=title,
            text=f"{title} was directed by {director}. {title} was released in {date}.",
            triples=(
                Triple(subject=title, relation="directed by", object=director),
                Triple(subject=title, relation="released in", object=date),
            ),
        )
        for title, director, date in facts
    ]
    return Corpus("g", documents, Lexicon(FORMS))


def constraint(corpus: Corpus, subject: str, relation: str, years=None) -> Constraint:
    edges: list[Edge] = corpus.graph.edges[subject.casefold()][relation]
    stated = edges[0].stated
    step = ProofStep(
        subject=stated.subject,
        relation=stated.relation,
        object=stated.object,
        document=edges[0].document,
    )
    return Constraint(statement=step, years=years)


TWO_BY_ADA = films(("Red Sea", "Ada Bo", "1974"), ("Blue Sky", "Ada Bo", "1991"))


def test_a_description_names_a_relation_and_a_time():
    chosen = (
        constraint(TWO_BY_ADA, "Red Sea", "director"),
        constraint(TWO_BY_ADA, "Red Sea", "release_date", (1970, 1979)),
    )
    text = render_description(chosen, TWO_BY_ADA)
    assert text == "the work that was directed by Ada Bo and was released in the 1970s"
    assert satisfying(chosen, TWO_BY_ADA) == {"red sea"}


def test_what_two_entities_satisfy_describes_neither():
    both = (constraint(TWO_BY_ADA, "Red Sea", "director"),)
    assert satisfying(both, TWO_BY_ADA) == {"red sea", "blue sky"}
    for seed in range(30):
        found = describe("red sea", TWO_BY_ADA, random.Random(seed), [])
        assert found is None or len(found[0].constraints) == 2


def test_a_date_that_is_not_understood_may_be_any_date():
    unclear = films(("Red Sea", "Ada Bo", "1974"), ("Blue Sky", "Ada Bo", "that long winter"))
    chosen = (
        constraint(unclear, "Red Sea", "director"),
        constraint(unclear, "Red Sea", "release_date", (1970, 1979)),
    )
    assert satisfying(chosen, unclear) == {"red sea", "blue sky"}


def test_a_time_alone_is_no_description():
    alone = films(("Red Sea", "Ada Bo", "1974"), ("Blue Sky", "Kim Lo", "1991"))
    for seed in range(30):
        found = describe("red sea", alone, random.Random(seed), [])
        assert found is not None
        assert any(c.years is None for c in found[0].constraints)


def test_what_the_path_reaches_is_never_in_the_description():
    for seed in range(30):
        assert describe("red sea", TWO_BY_ADA, random.Random(seed), ["ada bo"]) is None


@pytest.mark.parametrize(
    ("years", "words"),
    [
        ((1979, 1979), "in 1979"),
        ((1970, 1979), "in the 1970s"),
        ((1901, 1933), "in the early 20th century"),
        ((1834, 1866), "in the mid 19th century"),
        ((1967, 2000), "in the late 20th century"),
        ((2001, 2033), "in the early 21st century"),
    ],
)
def test_times_in_words(years, words):
    assert period(years) == words
