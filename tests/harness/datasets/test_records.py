"""Records: rows are counted, clusters are connected."""

import json
import logging
from dataclasses import replace

import pytest

from longspan.harness.datasets.data import Data
from longspan.harness.datasets.documents import Document, resolve_context
from longspan.harness.datasets.records import (
    Record,
    document_groups,
    read_samples,
    to_sample,
)
from longspan.harness.errors import DataError
from longspan.harness.spec import TaskSpec

SPEC = TaskSpec.model_validate(
    {
        "name": "towns",
        "description": "Questions on towns",
        "dataset": {"files": ["first.jsonl", "second.jsonl"], "source": "the town hall"},
        "task_type": "multi_hop",
        "question": "Say: {{ question }}",
        "instructions": "Be brief.",
        "scorer": "longspan/cover_exact_match",
    }
)


def record(name, *supporting):
    document = Document(id="d", title="Karo", text="A town.")
    return Record(name, {"question": f"{name}?"}, ("gold",), (document,), supporting, hops=2)


def test_a_sample_has_the_question_as_input_and_the_document_in_its_metadata():
    sample = to_sample(record("r1"), SPEC, "group")
    assert sample.input == "Say: r1?\n\nBe brief."
    assert (sample.id, sample.target) == ("r1", "gold")
    assert resolve_context(sample.metadata) == "Karo\nA town."
    assert {key: sample.metadata[key] for key in ("question", "instructions", "scorer")} == {
        "question": "Say: r1?",
        "instructions": "Be brief.",
        "scorer": "cover_exact_match",
    }
    assert sample.metadata["advantage_group"] == "multi_hop/cover_exact_match"
    assert (sample.metadata["hops"], sample.metadata["document_group"]) == (2, "group")


def test_clusters_are_connected_through_shared_documents():
    records = [record("a", "1"), record("b", "2"), record("c", "2", "1"), record("d"), record("e")]
    groups = document_groups(records)
    assert groups["a"] == groups["b"] == groups["c"]
    assert len({groups["a"], groups["d"], groups["e"]}) == 3


def test_rows_left_out_are_counted_with_number_and_reason(tmp_path, caplog):
    rows = [{"id": "a"}, {"id": "b"}, {"id": "a"}, {"x": 1}, {"id": "bad"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\nno json\n")

    def read(row):
        if row["id"] == "bad":
            raise ValueError("not answerable")
        return record(row["id"])

    with caplog.at_level(logging.WARNING):
        reading = read_samples(SPEC, Data((path,)), lambda rows: read)
    assert [sample.id for sample in reading.samples] == ["a", "b"]
    assert [str(problem) for problem in reading.problems][1:] == [
        "rows.jsonl row 3: repeats id: 'a'",
        "rows.jsonl row 4: field 'id' is missing",
        "rows.jsonl row 5: not answerable",
    ]
    assert reading.summary()["num_rows_left_out"] == 4
    assert "towns: 1 rows left out: not answerable (rows.jsonl row 5)" in caplog.text


def test_every_reason_is_in_the_log_and_on_the_console_with_its_count_and_first_rows(
    tmp_path, caplog
):
    path = tmp_path / "rows.jsonl"
    rows = [{"id": "a"}, *({"id": "a"} for _ in range(30)), {"no": 1}, {"id": "good"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with caplog.at_level(logging.WARNING):
        reading = read_samples(SPEC, Data((path,)), lambda rows: lambda row: record(row["id"]))
    assert reading.summary()["reasons_left_out"] == [
        {
            "reason": "repeats id: 'a'",
            "num_rows": 30,
            "first_rows": [f"rows.jsonl row {number}" for number in range(2, 7)],
        },
        {"reason": "field 'id' is missing", "num_rows": 1, "first_rows": ["rows.jsonl row 32"]},
    ]
    assert len(caplog.messages) == 2
    assert "30 rows left out: repeats id: 'a' (rows.jsonl row 2" in caplog.messages[0]
    assert "1 rows left out: field 'id' is missing (rows.jsonl row 32)" in caplog.messages[1]


def test_a_row_on_which_the_tasks_template_fails_is_one_bad_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n{"id": "b"}\n')
    spec = SPEC.model_copy(update={"question": "{{ question }} {{ choices[1] }}"})

    def read(row):
        values = {"question": "?", "choices": ["x", "y"][: 1 + (row["id"] == "b")]}
        return replace(record(row["id"]), values=values)

    reading = read_samples(spec, Data((path,)), lambda rows: read)
    assert [sample.id for sample in reading.samples] == ["b"]
    assert "template cannot be filled" in str(reading.problems[0])


def test_half_a_character_is_a_bad_row_and_breaks_no_log(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a\\ud800"}\n{"id": "b"}\n')
    reading = read_samples(SPEC, Data((path,)), lambda rows: lambda row: record(row["id"]))
    assert [sample.id for sample in reading.samples] == ["b"]
    assert "cannot be written" in reading.problems[0].reason


def test_a_file_without_a_usable_row_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n')

    def read(row):
        raise ValueError("not answerable")

    with pytest.raises(DataError, match="no usable row in .*row 1: not answerable"):
        read_samples(SPEC, Data((path,)), lambda rows: read)


def test_rows_that_the_options_do_not_choose_are_counted_and_no_problem(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n{"id": "b"}\n{"id": "c"}\n')

    def choosing(*ids):
        return lambda rows: lambda row: record(row["id"]) if row["id"] in ids else None

    reading = read_samples(SPEC, Data((path,)), choosing("b"))
    assert [sample.id for sample in reading.samples] == ["b"]
    assert (reading.summary()["num_rows_not_chosen"], reading.problems) == (2, [])
    with pytest.raises(DataError, match="options of task towns choose none of the 3 rows of rows"):
        read_samples(SPEC, Data((path,)), choosing())


def test_several_files_are_one_task_and_each_row_has_its_place(tmp_path):
    for name, rows in (
        ("a.jsonl", '{"id": "1"}\nbad\n'),
        ("b.jsonl", '{"id": "2"}\n{"id": "1"}\n'),
    ):
        (tmp_path / name).write_text(rows)
    data = Data((tmp_path / "a.jsonl", tmp_path / "b.jsonl"))
    reading = read_samples(SPEC, data, lambda rows: lambda row: record(row["id"]))
    assert [sample.id for sample in reading.samples] == ["1", "2"]
    places = [problem.place for problem in reading.problems]
    assert places == ["a.jsonl row 2", "b.jsonl row 2"]
