"""Pages are read in a process of their own: a hostile one costs itself."""

import sys

import pytest

pytest.importorskip("trafilatura", reason="the synth extra is not installed")

from longspan.harness.datasets.input_files import UnreadableError  # noqa: E402
from longspan.harness.datasets.isolated import PageReader, _answer  # noqa: E402
from tests.harness.datasets.pdf_files import pdf  # noqa: E402

GOOD = b"<html><title>Good</title><body><p>A good page.</p></body></html>"


@pytest.fixture
def reader():
    with PageReader(timeout_seconds=50, max_pages=10) as pages:
        yield pages


def test_pages_are_read_one_after_the_other(reader):
    assert reader.read(GOOD, "html") == ("Good", "A good page.")
    assert reader.read(pdf("Line one."), "pdf") == ("", "Line one.")
    assert reader.read(GOOD, "html") == ("Good", "A good page.")


@pytest.mark.parametrize(
    ("data", "page_format"),
    [
        (b"<div>" * 300_000 + b"x", "html"),
        (b"\x00\x01\x02" * 1000, "html"),
        (b"", "html"),
        (b"%PDF-1.4\n" + b"[" * 100_000, "pdf"),
        (b"no pdf", "pdf"),
        (lambda: pdf(compressed=b" " * (200 << 20)), "pdf"),
    ],
    ids=["nested html", "binary html", "empty html", "nested pdf", "no pdf", "pdf bomb"],
)
def test_after_a_hostile_page_the_next_one_is_read(reader, data, page_format):
    try:
        reader.read(data() if callable(data) else data, page_format)
    except UnreadableError as error:
        assert "\n" not in str(error) and len(str(error)) <= 200
    assert reader.read(GOOD, "html") == ("Good", "A good page.")


def test_a_page_that_takes_too_long_is_given_up():
    with PageReader(timeout_seconds=0.001, max_pages=10) as pages:
        with pytest.raises(UnreadableError, match="not read within 0.001 s"):
            pages.read(GOOD, "html")
        pages._timeout_seconds = 50
        assert pages.read(GOOD, "html") == ("Good", "A good page.")


def test_a_reader_that_dies_costs_one_page(reader):
    reader.read(GOOD, "html")
    reader._process.kill()
    with pytest.raises(UnreadableError, match="crashed"):
        reader.read(GOOD, "html")
    assert reader.read(GOOD, "html") == ("Good", "A good page.")


def test_the_current_folder_is_not_imported_from(tmp_path, monkeypatch):
    (tmp_path / "trafilatura.py").write_text("raise SystemExit('imported from the documents')")
    monkeypatch.chdir(tmp_path)
    with PageReader(timeout_seconds=50, max_pages=10) as pages:
        assert pages.read(GOOD, "html") == ("Good", "A good page.")


def test_a_missing_extra_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    request = {"format": "html", "max_pages": 1}
    assert _answer(request, GOOD) == {"reason": "needs trafilatura: pip install longspan[synth]"}
