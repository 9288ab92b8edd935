"""Records: data are found where the message says, rows are counted, clusters are connected."""

import json
import logging

import pytest

from longspan.harness.documents import Document, resolve_context
from longspan.harness.errors import DataError
from longspan.harness.records import (
    Record,
    document_groups,
    find_data,
    read_samples,
    to_sample,
)
from longspan.harness.spec import SpecFile, TaskSpec

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


def test_data_are_found_in_the_folder_of_the_variable_then_beside_the_spec(tmp_path, monkeypatch):
    data, specs = tmp_path / "data", tmp_path / "specs"
    data.mkdir(), specs.mkdir()
    file = SpecFile(spec=SPEC, path=specs / "towns.yaml")
    monkeypatch.delenv("LONGSPAN_DATA", raising=False)
    with pytest.raises(DataError, match="needs first.jsonl or second.jsonl .the town hall.: .*not"):
        find_data(file)
    (specs / "first.jsonl").touch()
    assert find_data(file) == specs / "first.jsonl"
    monkeypatch.setenv("LONGSPAN_DATA", str(data))
    (data / "second.jsonl").touch()
    assert find_data(file) == data / "second.jsonl"
    (data / "first.jsonl").touch()
    assert find_data(file) == data / "first.jsonl"
    assert find_data(file, str(specs / "first.jsonl")) == specs / "first.jsonl"
    with pytest.raises(DataError, match="no data file at"):
        find_data(file, str(tmp_path / "none"))


def test_a_file_of_the_hub_that_cannot_be_fetched_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = {"repository": "no/such", "revision": "0" * 40, "file": "a.jsonl"}
    spec = SPEC.model_copy(update={"dataset": SPEC.dataset.model_validate({"hub": hub})})
    with pytest.raises(DataError, match="cannot fetch a.jsonl of no/such at 00000000"):
        find_data(SpecFile(spec=spec, path=tmp_path / "towns.yaml"))


def test_rows_left_out_are_counted_with_number_and_reason(tmp_path, caplog):
    rows = [{"id": "a"}, {"id": "b"}, {"id": "a"}, {"x": 1}, {"id": "bad"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\nno json\n")

    def read(row):
        if row["id"] == "bad":
            raise ValueError("not answerable")
        return record(row["id"])

    with caplog.at_level(logging.WARNING):
        reading = read_samples(SPEC, path, lambda rows: read)
    assert [sample.id for sample in reading.samples] == ["a", "b"]
    assert [str(problem) for problem in reading.problems][1:] == [
        "rows.jsonl row 3: repeats id 'a'",
        "rows.jsonl row 4: field 'id' is missing",
        "rows.jsonl row 5: not answerable",
    ]
    assert reading.summary()["num_rows_left_out"] == 4
    assert "4 rows of rows.jsonl left out" in caplog.text


def test_a_file_without_a_usable_row_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n')

    def read(row):
        raise ValueError("not answerable")

    with pytest.raises(DataError, match="no usable row in .*row 1: not answerable"):
        read_samples(SPEC, path, lambda rows: read)
