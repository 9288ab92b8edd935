"""Documents: rendering and offsets agree, references resolve, nothing is left out in silence."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import (
    Document,
    Triple,
    context_offsets,
    document_id,
    load_documents,
    read_documents,
    render_context,
    resolve_context,
    resolve_documents,
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
    assert resolve_documents(by_reference)[1].triples == (
        Triple(subject="Karo", relation="is", object="town"),
    )


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


def test_a_folder_is_read_with_its_subfolders_in_the_order_of_names(tmp_path):
    (tmp_path / "b_town.txt").write_text("Town b.\n")
    (tmp_path / "a.md").write_text("# The Title\n\nBody.\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "rows.jsonl.gz").write_bytes(
        gzip.compress(b'{"title": "T", "text": "Row.", "triples": [["s", "r", "o"]]}\n')
    )
    (tmp_path / ".hidden.txt").write_text("hidden")
    reading = read_documents(tmp_path)
    assert [(d.title, d.text) for d in reading.documents] == [
        ("The Title", "Body."),
        ("b town", "Town b."),
        ("T", "Row."),
    ]
    assert reading.problems == ()
    assert reading.documents[2].triples == (Triple(subject="s", relation="r", object="o"),)


def test_ids_depend_on_title_and_text_only_and_are_no_paths(tmp_path):
    (tmp_path / "x.txt").write_text("One text.")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.txt").write_text("One text.")
    reading = read_documents(tmp_path)
    assert [d.id for d in reading.documents] == [document_id("x", "One text.")]
    assert [str(p) for p in reading.problems] == ["x.txt: repeats an earlier document"]
    assert reading.documents[0].id.isalnum()


def test_dirty_rows_are_counted(tmp_path):
    rows = [
        {"title": "A", "text": "Text a.", "triples": [["s", "r"], ["s", "r", "o"], "no", 3]},
        {"title": "B"},
        {"title": 3, "text": "Text c."},
        {"text": "   "},
        {"text": "Text d.", "triples": {"s": "r"}},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\nno json\n")
    reading = read_documents(path)
    assert [d.text for d in reading.documents] == ["Text a.", "Text d."]
    assert [len(d.triples) for d in reading.documents] == [1, 0]
    assert [p.place for p in reading.problems] == [
        f"rows.jsonl row {n}" for n in (6, 1, 2, 3, 4, 5)
    ]
    assert "3 triples" in reading.problems[1].reason


def test_empty_files_and_other_kinds_are_left_out_and_reported(tmp_path):
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "b.txt").write_text("  \n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / "d.jsonl").write_text("\n")
    reading = read_documents(tmp_path)
    assert len(reading.documents) == 1
    assert [p.place for p in reading.problems] == ["b.txt", "c.png", "d.jsonl"]


@pytest.mark.parametrize("kind", ["missing", "empty", "only blank", "only other kinds"])
def test_no_documents_is_one_line_that_says_what_to_do(tmp_path, kind):
    folder = tmp_path / "docs"
    if kind != "missing":
        folder.mkdir()
    if kind == "only blank":
        (folder / "a.txt").write_text("\n")
    if kind == "only other kinds":
        (folder / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match="no documents (at|in)"):
        read_documents(folder)


def test_a_binary_file_among_the_documents_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "b.txt").write_bytes(b"\x00\x01\x02")
    with pytest.raises(DataError, match="not a text file.*b.txt"):
        read_documents(tmp_path)
