"""Readers of document benchmarks: what a row in the exact schema becomes, and what is refused."""

import math

import pytest

from longspan.harness.datasets.documents import render_context
from longspan.harness.datasets.readers import READERS
from longspan.harness.errors import DataError

LONGBENCH = {
    "input": "Which river does the bridge designed by Ana Ruiz cross?",
    "context": "Passage 1:\nAna Ruiz\nAna Ruiz designed the Oro Bridge.\n\nPassage 2:\nOro Bridge\n"
    "It crosses the Lima.\n",
    "answers": ["the Lima", "Lima", "the Lima"],
    "length": 17,
    "dataset": "hotpotqa",
    "language": "en",
    "all_classes": None,
    "_id": "synthetic0001",
}
LONGBENCH_V2 = {
    "_id": "synthetic01",
    "domain": "Single-Document QA",
    "sub_domain": "Financial",
    "difficulty": "hard",
    "length": "short",
    "question": "Which segment shrank? ",
    "choice_A": "North",
    "choice_B": "South",
    "choice_C": "East",
    "choice_D": "West",
    "answer": "B",
    "context": "A long text.",
}
FRAMES = {
    "Unnamed: 0": 0,
    "Prompt": "Who chaired the club whose stadium opened when Ana was born?",
    "Answer": "Jane Roe",
    "wikipedia_link_1": "https://en.wikipedia.org/wiki/Example",
    "reasoning_types": "Multiple constraints | Temporal reasoning",
    "wiki_links": "['https://en.wikipedia.org/wiki/Example']",
    "wiki_items": [{"title": "Example", "text": "A club."}, {"title": "Two", "text": "Jane Roe."}],
}
DOCMATH = {
    "question_id": "simpshort-testmini-7",
    "source": "finqa",
    "original_question_id": "x",
    "question": "What is the change in revenue, in millions?",
    "paragraphs": ["| |2019|2018|\n|Revenue|120.5|100.0|", "Revenue grew."],
    "table_evidence": [0],
    "paragraph_evidence": [],
    "python_solution": "def solution():\n    return 120.5-100.0",
    "ground_truth": 20.5,
}
TWOWIKI = {
    "_id": "w1",
    "type": "compositional",
    "question": "Who is the mother of the founder of Karo?",
    "context": [
        ["Karo", ["Karo was founded by Tomi.", " It is old."]],
        ["Tomi", ["His mother is An."]],
    ],
    "supporting_facts": [["Karo", 0], ["Tomi", 0]],
    "evidences": [["Karo", "founder", "Tomi"], ["Tomi", "mother", "An"]],
    "answer": "An",
}


def read(name, row, **options):
    return READERS[name].read([row], READERS[name].options(**options))(row)


def test_longbench_keeps_every_gold_answer_the_first_one_first():
    record = read("longbench", LONGBENCH)
    assert record.targets == ("the Lima", "Lima") and record.id == "synthetic0001"
    assert render_context(record.documents) == LONGBENCH["context"].strip()
    assert record.values["question"] == LONGBENCH["input"]
    assert record.extra == {"dataset": "hotpotqa", "length_words": 17}


def test_longbench_of_the_mirror_names_the_question_otherwise():
    row = {"question": LONGBENCH["input"], "context": "c", "answers": ["a"]}
    assert read("longbench", row).values == read("longbench", LONGBENCH).values
    assert read("longbench", row).id == read("longbench", row).id


def test_longbench_v2():
    record = read("longbench_v2", LONGBENCH_V2)
    assert record.targets == ("B",)
    assert record.values["choices"] == ["North", "South", "East", "West"]
    assert record.extra == {
        "domain": "Single-Document QA",
        "sub_domain": "Financial",
        "difficulty": "hard",
        "length": "short",
    }


def test_frames_is_the_articles_joined_as_the_released_code_joins_them():
    record = read("frames", FRAMES)
    assert render_context(record.documents) == "Example\nA club.\nTwo\nJane Roe."
    assert record.targets == ("Jane Roe",) and len(record.supporting) == 2
    assert record.extra["reasoning_types"] == ["Multiple constraints", "Temporal reasoning"]


def test_frames_without_articles_is_refused_as_a_file_and_counted_as_a_row():
    links = {key: value for key, value in FRAMES.items() if key != "wiki_items"}
    with pytest.raises(DataError, match="links only; use test.jsonl of Tongyi-Zhiwen/frames"):
        read("frames", links)
    with pytest.raises(ValueError, match="no articles .empty wiki_items.; -T allow_empty=true"):
        read("frames", {**FRAMES, "wiki_items": []})
    asked = read("frames", {**FRAMES, "wiki_items": []}, allow_empty=True)
    assert (asked.documents, asked.extra["num_articles"]) == ((), 0)


def test_docmath():
    record = read("docmath", DOCMATH)
    assert render_context(record.documents) == "\n".join(DOCMATH["paragraphs"])
    assert (record.targets, record.kind) == (("20.5",), "simpshort")
    assert record.extra["subset"] == "simpshort"


@pytest.mark.parametrize(
    ("gold", "text"),
    [(1e-05, "1e-05"), (True, "True"), (3, "3"), (-31.0, "-31.0"), (0.1 + 0.2, repr(0.1 + 0.2))]
    + [(False, "False"), (0, "0"), (0.0, "0.0"), ([1, 2.5], "[1, 2.5]"), (" 7.5 ", "7.5")],
)
def test_a_gold_number_is_written_without_losing_its_value(gold, text):
    assert read("docmath", {**DOCMATH, "ground_truth": gold}).targets == (text,)


def test_twowiki():
    record = read("twowiki", TWOWIKI)
    expected = "Karo\nKaro was founded by Tomi. It is old.\n\nTomi\nHis mother is An."
    assert render_context(record.documents) == expected
    assert (record.hops, record.kind, record.targets) == (2, "compositional", ("An",))
    assert record.supporting == tuple(document.id for document in record.documents)


@pytest.mark.parametrize(
    ("name", "row", "change", "reason"),
    [
        ("longbench", LONGBENCH, {"answers": []}, "'answers' holds no list"),
        ("longbench", LONGBENCH, {"answers": [" "]}, "no gold answer"),
        ("longbench", LONGBENCH, {"context": None}, "'context' holds no text"),
        ("longbench_v2", LONGBENCH_V2, {"choice_D": None}, "has choices ABC, expected ABCD"),
        ("longbench_v2", LONGBENCH_V2, {"choice_E": "Up"}, "has choices ABCDE, expected ABCD"),
        ("longbench_v2", LONGBENCH_V2, {"answer": "E"}, "none of the choices ABCD: 'E'"),
        ("longbench_v2", LONGBENCH_V2, {"answer": "AB"}, "none of the choices ABCD: 'AB'"),
        ("frames", FRAMES, {"Prompt": ""}, "'Prompt' holds no text"),
        ("docmath", DOCMATH, {"ground_truth": None}, "test splits come without"),
        ("docmath", DOCMATH, {"ground_truth": math.nan}, "no gold answer"),
        ("docmath", DOCMATH, {"paragraphs": "text"}, "'paragraphs' holds no list"),
        ("twowiki", TWOWIKI, {"answer": ""}, "no gold answer"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_with_a_reason(name, row, change, reason):
    with pytest.raises(ValueError, match=reason):
        read(name, {**row, **change})


@pytest.mark.parametrize(
    ("name", "row", "field"),
    [
        ("longbench", LONGBENCH, "context"),
        ("longbench_v2", LONGBENCH_V2, "answer"),
        ("docmath", DOCMATH, "paragraphs"),
        ("twowiki", TWOWIKI, "context"),
    ],
)
def test_a_missing_field_is_named(name, row, field):
    with pytest.raises(KeyError, match=field):
        read(name, {key: value for key, value in row.items() if key != field})
