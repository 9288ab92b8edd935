"""Passages: three forms of SQuAD say the same, and the nearest passages come first."""

import random

from longspan.harness.datasets.generated.passages import draft_question, read_hotpotqa, read_squad
from tests.harness.datasets.generated.material import hotpot_rows, squad_articles


def flat_rows(articles):
    """The same rows as the hub has them."""
    return [
        {
            "title": article["title"],
            "context": paragraph["context"],
            "question": question["question"],
            "answers": {"text": [answer["text"] for answer in question["answers"]]},
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def test_file_articles_and_rows_of_squad_are_read_alike():
    articles = squad_articles()
    read = read_squad(articles)
    assert read == read_squad([{"version": "v2.0", "data": articles}])
    assert read == read_squad(flat_rows(articles))
    questions, pool = read
    assert (len(questions), len(pool)) == (30, 30)
    assert [len(question.related) for question in questions] == [4] * 30


def test_hotpotqa_tells_supporting_paragraphs_from_the_others_of_a_row():
    questions, pool = read_hotpotqa(hotpot_rows())
    assert len(questions) == 6 and len(pool) == 60
    first = questions[0]
    assert {d.text.split("\n")[0] for d in first.supporting} == {"Land 0", "Town 0"}
    assert (len(first.supporting), len(first.related)) == (2, 8)
    assert first.answers == ("1700",)


def test_supporting_passages_come_first_then_related_ones_then_others_without_end():
    questions, pool = read_squad(squad_articles())
    question = questions[7]
    draft = draft_question(question, pool, 1, random.Random(1))
    assert [d.id for d in draft.build(draft.min_units)] == [question.supporting[0].id]
    near = {d.id for d in (*question.supporting, *question.related)}
    some = [d.id for d in draft.build(6 * draft.min_units)]
    assert question.supporting[0].id in some
    many = [d.id for d in draft.build(40_000)]
    assert near < set(many) == {d.id for d in pool}
    assert all(many.count(name) == 1 for name in near)
    assert max(map(many.count, many)) > 3
    assert draft.build(40_000) == draft.build(40_000)


def test_a_collection_of_one_row_has_no_others():
    questions, pool = read_hotpotqa(hotpot_rows(1))
    draft = draft_question(questions[0], pool, 2, random.Random(1))
    assert draft.max_units is not None
    assert len(draft.build(draft.max_units)) == 10
