"""Formats: what kind of document each file becomes."""

import json

import pytest

from longspan.harness.datasets.document_files import read_documents

TURNS = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."}]


def only(path):
    (document,) = read_documents(path).documents
    return document


@pytest.mark.parametrize(("name", "text"), [("csv", "town,people\nKaro,5"), ("tsv", "a\tb\n1\t2")])
def test_a_table_is_its_text_under_the_name_of_its_file(tmp_path, name, text):
    (tmp_path / f"towns_of_karo.{name}").write_text(text + "\n")
    document = only(tmp_path)
    assert (document.title, document.text, document.format) == ("towns of karo", text, name)


def test_the_title_of_python_is_its_module_and_the_text_is_verbatim(tmp_path):
    (tmp_path / "pack" / "sub").mkdir(parents=True)
    source = "\nimport os\n\n\ndef f(:\n"
    (tmp_path / "pack" / "sub" / "mod.py").write_text(source)
    (tmp_path / "pack" / "__init__.py").write_text("X = 1\n")
    found = {d.title: d for d in read_documents(tmp_path).documents}
    assert set(found) == {"pack", "pack.sub.mod"}
    assert found["pack.sub.mod"].text == source
    assert found["pack.sub.mod"].format == "python"
    assert found["pack"].format == "python_package"
    assert {d.title for d in read_documents(tmp_path / "pack").documents} == set(found)


def test_python_is_decoded_as_it_declares_itself(tmp_path):
    latin = "# -*- coding: latin-1 -*-\nNAME = 'Caf\u00e9'\n"
    (tmp_path / "a.py").write_bytes(latin.encode("latin-1"))
    assert only(tmp_path).text == latin


@pytest.mark.parametrize("cookie", ["hex", "none-such", "utf-8"])
def test_python_that_declares_nonsense_costs_one_line(tmp_path, cookie):
    (tmp_path / "a.py").write_bytes(f"# coding: {cookie}\nX = '\xe9'\n".encode("latin-1"))
    (tmp_path / "b.py").write_text("X = 1\n")
    reading = read_documents(tmp_path)
    assert [d.title for d in reading.documents] == ["b"]
    assert [p.place for p in reading.problems] == ["a.py"]


@pytest.mark.parametrize(
    "content", [{"messages": TURNS}, [{"messages": TURNS}], TURNS, {"text": "", "messages": TURNS}]
)
def test_json_with_turns_is_a_dialogue(tmp_path, content):
    (tmp_path / "chat_1.json").write_text(json.dumps(content))
    document = only(tmp_path)
    assert document.format == "dialogue" and document.title == "chat 1"
    assert document.text == "user: Hello.\nassistant: Good day."


def test_json_lines_mix_dialogues_and_texts(tmp_path):
    rows = [{"title": "First", "messages": TURNS}, {"text": "Text."}, {"messages": "no"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reading = read_documents(tmp_path)
    assert [(d.title, d.format) for d in reading.documents] == [("First", "dialogue"), ("", "text")]
    assert [p.place for p in reading.problems] == ["a.jsonl row 3"]


def test_a_json_list_of_documents_is_read_as_rows(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"text": "One."}, {"text": "Two."}, 3]))
    reading = read_documents(tmp_path)
    assert [d.text for d in reading.documents] == ["One.", "Two."]
    assert [str(p) for p in reading.problems] == ["a.json row 3: not a JSON object but int"]


def test_html_and_pdf_are_text_under_their_own_title(tmp_path):
    pytest.importorskip("trafilatura", reason="the synth extra is not installed")
    from tests.harness.datasets.pdf_files import pdf

    (tmp_path / "a.html").write_text("<title>A page</title><p>Text of the page.</p>")
    (tmp_path / "b_file.pdf").write_bytes(pdf("Text of the file."))
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.4 broken")
    reading = read_documents(tmp_path)
    assert [(d.title, d.text) for d in reading.documents] == [
        ("A page", "Text of the page."),
        ("b file", "Text of the file."),
    ]
    assert {d.format for d in reading.documents} == {"text"}
    assert [p.place for p in reading.problems] == ["c.pdf"]


def test_compressed_files_are_read_like_others(tmp_path):
    import gzip

    (tmp_path / "pack.py.gz").write_bytes(gzip.compress(b"X = 1\n"))
    assert (only(tmp_path).title, only(tmp_path).format) == ("pack", "python")
