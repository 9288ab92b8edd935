"""The record beside lm-eval's files: it makes a folder whole, and sees what was changed."""

from __future__ import annotations

import pytest

from longspan.harness.errors import DataError
from longspan.harness.lm_eval.record import RECORD_FILE, LmEvalRecord, read_record, write_record

RECORD = LmEvalRecord(
    task="t",
    checkpoint="nano",
    checkpoint_hash="ab",
    model="longspan-local/nano",
    settings={"limit": None},
    versions={"lm_eval": "0.4.13"},
    files={},
)


@pytest.fixture
def folder(tmp_path):
    """Returns a folder with two files and their record."""
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "samples.jsonl").write_text("{}\n")
    write_record(tmp_path, RECORD)
    return tmp_path


def test_a_whole_folder_has_its_record_back(folder):
    record = read_record(folder)
    assert record is not None and set(record.files) == {"results.json", "samples.jsonl"}
    assert record.model_copy(update={"files": {}}) == RECORD


def test_a_folder_without_a_record_has_none(tmp_path):
    assert read_record(tmp_path) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "samples.jsonl").write_text("{"), "samples.jsonl is not as"),
        (lambda folder: (folder / "results.json").unlink(), "results.json is missing"),
        (lambda folder: (folder / RECORD_FILE).write_text("{"), "damaged longspan.json"),
        (lambda folder: (folder / RECORD_FILE).write_bytes(b"\0"), "not UTF-8 text"),
        (lambda folder: (folder / RECORD_FILE).write_text("[]"), "damaged longspan.json"),
    ],
)
def test_what_is_not_as_it_was_written_is_damaged(folder, damage, message):
    damage(folder)
    with pytest.raises(DataError, match=message):
        read_record(folder)


def test_a_record_names_no_file_outside_its_folder(folder):
    text = (folder / RECORD_FILE).read_text().replace("results.json", "/etc/passwd")
    (folder / RECORD_FILE).write_text(text)
    with pytest.raises(DataError, match="passwd is missing"):
        read_record(folder)
