"""Documents: rendering and offsets agree, references resolve."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import (
    Document,
    Triple,
    context_offsets,
    load_documents,
    render_context,
    resolve_context,
    resolve_documents,
    stored_documents,
    text_offset,
)
from longspan.harness.errors import DataError

TWO = (
    Document(id="a", title="Karo", text="Karo is a town."),
    Document(id="b", text="No title."),
)


def write_documents(folder, rows):
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents.parquet")


def test_a_context_is_titles_and_texts_with_a_blank_line_between():
    assert render_context(TWO) == "Karo\nKaro is a town.\n\nNo title."


def test_offsets_by_hand():
    assert context_offsets(TWO) == [(0, 20), (22, 31)]
    assert text_offset(TWO[0]) == 5 and text_offset(TWO[1]) == 0


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=20)), max_size=5))
def test_offsets_cut_the_rendered_context_into_its_documents(parts):
    documents = [Document(id=str(i), title=t, text=x) for i, (t, x) in enumerate(parts)]
    context = render_context(documents)
    for document, (start, end) in zip(documents, context_offsets(documents), strict=True):
        assert context[start:end].endswith(document.text)
        assert context[start + text_offset(document) : end] == document.text


def test_a_context_by_value_and_by_reference_resolve_alike(tmp_path):
    rows = [
        {
            "id": "a",
            "title": "Karo",
            "text": "Karo is a town.",
            "triples": '[["Karo","is","town"]]',
        },
        {"id": "b", "title": "", "text": "No title.", "triples": None},
    ]
    write_documents(tmp_path, rows)
    by_reference = {"context": {"taskset": str(tmp_path), "documents": ["b", "a"]}}
    assert resolve_context(by_reference) == "No title.\n\nKaro\nKaro is a town."
    by_value = {"context": {"text": "No title.\n\nKaro\nKaro is a town."}}
    assert resolve_context(by_value) == resolve_context(by_reference)
    assert resolve_documents(by_reference)[1].triples == ()  # no context shows them
    statement = Triple(subject="Karo", relation="is", object="town")
    assert [document.triples for _, document in stored_documents(tmp_path)] == [(statement,), ()]


@pytest.mark.parametrize("metadata", [{}, {"context": None}, {"context": {}}, {"context": "text"}])
def test_a_sample_without_context_is_an_error(metadata):
    with pytest.raises(DataError, match="sample has no context"):
        resolve_context(metadata)


def test_a_missing_document_or_task_set_is_an_error(tmp_path):
    write_documents(tmp_path, [{"id": "a", "title": "", "text": "x", "triples": "[]"}])
    with pytest.raises(DataError, match="no document '../../etc/passwd'"):
        resolve_context({"context": {"taskset": str(tmp_path), "documents": ["../../etc/passwd"]}})
    with pytest.raises(DataError, match="no task set at"):
        load_documents(tmp_path / "none")


def test_a_rewritten_task_set_is_read_again(tmp_path):
    write_documents(tmp_path, [{"id": "a", "title": "", "text": "old", "triples": "[]"}])
    assert load_documents(tmp_path)["a"].text == "old"
    write_documents(tmp_path, [{"id": "a", "title": "", "text": "brand new", "triples": "[]"}])
    assert load_documents(tmp_path)["a"].text == "brand new"


def test_damaged_documents_are_an_error(tmp_path):
    (tmp_path / "documents.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="damaged documents"):
        load_documents(tmp_path)


def test_the_format_is_kept_and_older_task_sets_hold_text(tmp_path):
    row = {"id": "a", "title": "", "text": "x = 1", "triples": "[]"}
    write_documents(tmp_path, [row])
    assert load_documents(tmp_path)["a"].format == "text"
    write_documents(tmp_path, [{**row, "format": "python"}])
    assert load_documents(tmp_path)["a"].format == "python"
