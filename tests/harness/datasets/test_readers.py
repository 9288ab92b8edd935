"""Readers: what a row of each format means, and which rows are refused why."""

import re

import pytest

from longspan.harness.datasets.documents import render_context
from longspan.harness.datasets.fields import fields
from longspan.harness.datasets.readers import READERS, make_reader
from longspan.harness.errors import DataError, SpecError
from longspan.harness.spec import SpecFile, TaskSpec
from longspan.harness.tokens import EstimatedTokens, counting_for
from tests.harness.scripted import scripted_model

MUSIQUE = {
    "id": "2hop__1_2",
    "question": "Who founded the seat of Karo?",
    "answer": "Tomi",
    "answer_aliases": ["Tomi T.", "Tomi", ""],
    "answerable": True,
    "paragraphs": [
        {"idx": 0, "title": "Karo", "paragraph_text": "Seat: Bel.", "is_supporting": True},
        {"idx": 1, "title": "Other", "paragraph_text": "Nothing.", "is_supporting": False},
    ],
    "question_decomposition": [{}, {}],
}
HOTPOT = {
    "_id": "h1",
    "question": "Is Karo a town?",
    "answer": "yes",
    "type": "comparison",
    "level": "easy",
    "supporting_facts": [["Karo", 0], ["Karo", 1]],
    "context": [["Karo", ["Karo is", " a town."]], ["Bel", ["Bel is."]]],
}
KV = {"ordered_kv_records": [["a", "1"], ["b", "2"], ["c", "3"]], "key": "b", "value": "2"}


def nq_rows(count):
    return [
        {
            "question": f"who is number {i}",
            "answers": [f"Person{i}"],
            "ctxs": [{"title": f"T{i}", "text": f"It is Person{i}.", "isgold": True}],
        }
        for i in range(count)
    ]


def reader(name, rows, **options):
    return READERS[name].read(rows, READERS[name].options(**options))


def test_musique():
    record = reader("musique", [])(MUSIQUE)
    assert record.targets == ("Tomi", "Tomi T.")
    assert record.hops == 2 and record.id == "2hop__1_2"
    assert render_context(record.documents) == "Karo\nSeat: Bel.\n\nOther\nNothing."
    assert record.supporting == (record.documents[0].id,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answerable": False}, "not answerable"),
        ({"question": " "}, "holds no text"),
        ({"answer": None, "answer_aliases": []}, "no gold answer"),
    ],
)
def test_musique_rows_that_cannot_be_used(change, reason):
    with pytest.raises(ValueError, match=reason):
        reader("musique", [])({**MUSIQUE, **change})


def test_hotpotqa():
    record = reader("hotpotqa", [])(HOTPOT)
    assert render_context(record.documents) == "Karo\nKaro is a town.\n\nBel\nBel is."
    assert (record.hops, record.kind, record.extra) == (2, "comparison", {"level": "easy"})
    assert record.supporting == (record.documents[0].id,)


def test_key_value_pairs_are_shortened_around_the_pair_asked_for():
    whole = reader("kv_retrieval", [])(KV)
    assert whole.documents[0].text == '{"a": "1",\n "b": "2",\n "c": "3"}'
    assert (whole.targets, whole.values["key"]) == (("2",), "b")
    short = reader("kv_retrieval", [], num_pairs=2)(KV)
    assert '"b": "2"' in short.documents[0].text and short.extra == {"num_pairs": 2}
    with pytest.raises(ValueError, match="fewer pairs than num_pairs=4: 3"):
        reader("kv_retrieval", [], num_pairs=4)(KV)
    with pytest.raises(ValueError, match="not among the records"):
        reader("kv_retrieval", [])({**KV, "key": "x"})


def test_distractors_hold_no_answer_and_the_gold_passage_is_there():
    rows = nq_rows(12)
    rows.append(
        {
            "question": "trap",
            "answers": ["Person1", "Person2"],
            "ctxs": [{"title": "X", "text": "Person1 and Person2.", "isgold": True}],
        }
    )
    read = reader("nq_distractors", rows, num_documents=5)
    for row in rows:
        record = read(row)
        texts = [document.text for document in record.documents]
        holding = [text for text in texts if set(row["answers"]) & set(re.findall(r"\w+", text))]
        assert len(texts) == len(set(texts)) == 5
        assert holding == [row["ctxs"][0]["text"]]
    assert read(rows[0]).values["question"] == "who is number 0?"


def test_a_draw_depends_on_seed_and_question_and_not_on_the_order_of_rows():
    rows = nq_rows(40)
    draw = reader("nq_distractors", rows)(rows[3])
    assert draw == reader("nq_distractors", rows[::-1])(rows[3])
    assert draw != reader("nq_distractors", rows, seed=1)(rows[3])
    positions = [
        [d.id for d in record.documents].index(record.supporting[0])
        for record in map(reader("nq_distractors", rows), rows)
    ]
    assert len(set(positions)) > 8


def test_the_gold_position_may_be_given():
    rows = nq_rows(9)
    record = reader("nq_distractors", rows, num_documents=4, gold_position=2)(rows[0])
    assert record.documents[2].id == record.supporting[0]
    with pytest.raises(DataError, match="gold_position must be below num_documents"):
        reader("nq_distractors", rows, num_documents=2, gold_position=2)(rows[0])
    with pytest.raises(DataError, match="num_documents is too large: got 20"):
        reader("nq_distractors", rows)(rows[0])


@pytest.fixture
def estimated():
    """Lengths are estimated, whichever model an earlier test of this process left active."""
    with counting_for(lambda: scripted_model("x")):
        yield


@pytest.mark.usefixtures("estimated")
@pytest.mark.parametrize("target", [400, 2000, 2001, 8000])
def test_a_context_is_filled_up_to_a_number_of_tokens(target):
    rows = nq_rows(200)
    for row in rows:
        row["ctxs"][0]["text"] += " x" * 200
    read = reader("nq_distractors", rows, target_tokens=target)
    for row in rows[:20]:
        record = read(row)
        size = EstimatedTokens().count(render_context(record.documents))
        assert target - 140 <= size <= target, "one more passage of 105 tokens would be too much"
        assert record.supporting[0] in [document.id for document in record.documents]
    longer = reader("nq_distractors", rows, target_tokens=target + 500)(rows[0])
    assert {d.id for d in read(rows[0]).documents} < {d.id for d in longer.documents}


@pytest.mark.usefixtures("estimated")
def test_lengths_that_cannot_be_had_are_said():
    rows = nq_rows(9)
    with pytest.raises(ValueError, match="gold passage exceeds target_tokens=2: 5 tokens"):
        reader("nq_distractors", rows, target_tokens=2)(rows[0])
    with pytest.raises(DataError, match="target_tokens is too large: got 999, the file has"):
        reader("nq_distractors", rows, target_tokens=999)(rows[0])


MAPPING = {"question": "q", "target": "meta.gold", "context": "docs", "id": "n", "hops": "h"}
ROW = {"q": "Where?", "meta": {"gold": ["Bel", "bel"]}, "docs": "A text.", "n": 7, "h": 2}


def test_fields_are_mapped():
    record = fields([], MAPPING)(ROW)
    assert (record.id, record.targets, record.hops) == ("7", ("Bel", "bel"), 2)
    assert render_context(record.documents) == "A text."
    several = fields([], MAPPING)({**ROW, "docs": ["One.", {"title": "T", "text": "Two."}]})
    assert render_context(several.documents) == "One.\n\nT\nTwo."


def test_a_row_without_an_id_gets_one_from_its_content():
    mapping = {name: path for name, path in MAPPING.items() if name != "id"}
    first = fields([], mapping)(ROW)
    assert first.id == fields([], mapping)({**ROW, "docs": "Other."}).id
    assert first.id != fields([], mapping)({**ROW, "q": "When?"}).id


@pytest.mark.parametrize(
    ("choices", "gold", "letter"),
    [
        (["Kukton", "Tastal"], "Tastal", "B"),
        (["Kukton", "Tastal"], "(b)", "B"),
        (["Kukton", "Tastal"], 1, "B"),
        ({"A": "Kukton", "B": "Tastal"}, "Kukton", "A"),
    ],
)
def test_choices_become_options_and_the_target_its_letter(choices, gold, letter):
    mapping = {"question": "q", "target": "gold", "context": "docs", "choices": "choices"}
    row = {"q": "Which?", "gold": gold, "docs": "A text.", "choices": choices}
    record = fields([], mapping)(row)
    assert record.targets == (letter,)
    assert record.values["options"] == "Kukton (A), Tastal (B)"
    with pytest.raises(ValueError, match="none of the choices"):
        fields([], mapping)({**row, "gold": "Dresex"})


@pytest.mark.parametrize("bad", [{"q": ""}, {"q": 3}, {"docs": ""}, {"docs": []}, {"meta": {}}])
def test_rows_that_cannot_be_used_are_refused(bad):
    with pytest.raises((ValueError, KeyError)):
        fields([], MAPPING)({**ROW, **bad})


def spec(**dataset):
    content = {"name": "t", "description": "d", "scorer": "letter", "dataset": dataset}
    return SpecFile(spec=TaskSpec.model_validate(content), path="t.yaml")


def test_wrong_readers_and_options_are_one_line():
    with pytest.raises(SpecError, match="unknown reader 'csv' in t.yaml; choose one of fields"):
        make_reader(spec(reader="csv"), {})
    with pytest.raises(SpecError, match="task t: num_documents: .*got 0"):
        make_reader(spec(reader="nq_distractors"), {"num_documents": 0})
    with pytest.raises(SpecError, match="unknown key 'bogus'"):
        make_reader(spec(reader="musique"), {"bogus": 1})
    with pytest.raises(SpecError, match="lacks target, context"):
        make_reader(spec(reader="fields", fields={"question": "q"}), {})([])


CHOICES = {"question": "q", "target": "gold", "context": "docs", "choices": "choices"}


def choose(choices, gold):
    row = {"q": "Which?", "gold": gold, "docs": "A text.", "choices": choices}
    return fields([], CHOICES)(row).targets[0]


@pytest.mark.parametrize(
    ("choices", "gold", "reason"),
    [
        ([], "A", "fewer than 2 choices: 0"),
        (None, "A", "choices are no list .*: NoneType"),
        (["only"], "A", "fewer than 2 choices: 1"),
        ("Kukton, Tastal", "A", "choices are no list .*: str"),
        ([str(n) for n in range(27)], "A", "more than 26 choices: 27"),
        (["Kukton", ""], "A", "a choice holds no text: ''"),
        (["Kukton", None], "A", "a choice holds no text: None"),
        ({"text": ["a"], "label": ["A"]}, "A", "no letter from A to Z: 'LABEL'"),
        (["Kukton", "A"], "A", "may be option A or B: 'A'"),
        (["same", "same"], "same", "may be option A or B: 'same'"),
        (["1", "2", "3"], "2", "may be option B or C: '2'"),
        ([1, 2, 3], 2, "may be option B or C: '2'"),
        (["Kukton", "Tastal"], "Bel", "none of the choices: 'Bel'"),
        (["Kukton", "Tastal"], 2, "none of the choices: '2'"),
        (["Kukton", "Tastal"], ["A", "B"], "several gold answers where one choice"),
    ],
)
def test_a_row_whose_choices_or_target_say_nothing_is_refused(choices, gold, reason):
    with pytest.raises(ValueError, match=reason):
        choose(choices, gold)


def test_a_row_without_its_choices_is_refused_and_not_scored_as_text():
    row = {"q": "Which?", "gold": "Tastal", "docs": "A text."}
    with pytest.raises(KeyError, match="choices"):
        fields([], CHOICES)(row)


def test_the_type_of_a_target_tells_an_index_from_a_text():
    assert choose(["1", "2", "3"], 2) == "C"
    assert choose([10, 20, 30], 20) == "B"
    assert choose({"A": "Kukton", "B": "Tastal", "C": None}, "Tastal") == "B"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"docs": "  "}, "no context"),
        ({"docs": [{"title": "T", "text": None}]}, "the context holds no text: NoneType"),
        ({"docs": 7}, "the context holds no text: int"),
        ({"meta": {"gold": float("nan")}}, "neither text nor number: nan"),
        ({"meta": {"gold": [{"answer": "x"}]}}, "neither text nor number"),
        ({"meta": {"gold": []}}, "no gold answer"),
    ],
)
def test_a_row_whose_context_or_gold_is_no_text_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        fields([], MAPPING)({**ROW, **change})
