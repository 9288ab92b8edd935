"""HTML and PDF: the text and every table survive, and what cannot be read says why."""

import io
import re

import pytest
from matplotlib.figure import Figure

pytest.importorskip("trafilatura", reason="the synth extra is not installed")

from longspan.harness.datasets.input_files import UnreadableError  # noqa: E402
from longspan.harness.datasets.pages import html_text, pdf_text  # noqa: E402
from tests.harness.datasets.pdf_files import pdf  # noqa: E402

RIVERS = """<html><head><title>Rivers - Atlas</title></head><body>
<nav><a href="/">Home</a> <a href="/about">About us</a></nav>
<article><h1>Rivers of Karo</h1>
<p>Karo has many rivers. The longest of them is the <b>Tastal</b>, which flows to the sea.</p>
<table><caption>Longest rivers</caption>
<thead><tr><th>River</th><th>Length (km)</th><th>Left | right</th></tr></thead>
<tbody><tr><td>Tastal</td><td>1,200</td><td>left</td></tr>
<tr><td>Kukton</td><td>800</td><td></td></tr></tbody></table>
<p>Another paragraph says at some length what else there is to know of the country.</p>
</article>{more}<footer>Copyright</footer></body></html>"""


def rows(text: str) -> list[list[str]]:
    lines = [line.replace("\\|", "/") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_main_text_is_kept_and_the_frame_of_the_page_is_not():
    title, text = html_text(RIVERS.format(more="").encode())
    assert title == "Rivers of Karo"
    assert "flows to the sea" in text and "Another paragraph" in text
    assert "About us" not in text and "Copyright" not in text


def test_a_table_is_a_pipe_table_with_its_header_first_and_its_caption_before():
    _, text = html_text(RIVERS.format(more="").encode())
    assert rows(text) == [
        ["River", "Length (km)", "Left / right"],
        ["---", "---", "---"],
        ["Tastal", "1,200", "left"],
        ["Kukton", "800", ""],
    ]
    assert text.index("Longest rivers") < text.index("| River")


def test_the_sign_of_a_link_to_the_heading_is_no_part_of_the_title():
    page = "<html><body><article><h1>Rivers<a href='#r'>\u00b6</a></h1><p>Text here.</p></article>"
    assert html_text(page.encode())[0] == "Rivers"


def test_a_page_that_is_a_table_shows_it_once():
    page = b"<table><tr><th>Year</th><th>Floods</th></tr><tr><td>1990</td><td>3</td></tr></table>"
    assert html_text(page)[1] == "| Year | Floods |\n| --- | --- |\n| 1990 | 3 |"


def test_no_header_of_a_table_is_lost():
    """The extraction of main text drops short texts of signs, and all later headers would shift."""
    cells = "".join(f"<tr><th>{t}</th><td>.6</td><td>3</td></tr>" for t in ("NYY", "BOS", "OAK"))
    table = f"<table><tr><th>Tm</th><th>W-L%</th><th>RS</th></tr>{cells}</table>"
    _, text = html_text(RIVERS.format(more=table).encode())
    assert "| Tm | W-L% | RS |\n| --- | --- | --- |\n| NYY | .6 | 3 |" in text


def test_a_table_outside_the_main_text_is_appended_once():
    table = "<aside><table><tr><th>Year</th><th>Floods</th></tr><tr><td>1990</td><td>3</td></tr>"
    _, text = html_text(RIVERS.format(more=f"{table}</table></aside>").encode())
    assert rows(text).count(["1990", "3"]) == 1
    assert rows(text).count(["Tastal", "1,200", "left"]) == 1


def test_a_page_of_one_short_paragraph_has_a_text():
    title, text = html_text(b"<html><title>T</title><body><p>Short page.</p></body></html>")
    assert (title, text) == ("T", "Short page.")


def test_the_declared_encoding_of_a_page_counts():
    page = "<html><head><meta charset='iso-8859-1'></head><body><p>Caf\u00e9 au lait.</p></body>"
    assert "Caf\u00e9" in html_text(page.encode("latin-1"))[1]


def test_pages_of_a_pdf_are_separated_by_a_blank_line():
    assert pdf_text(pdf("Page one.", "Page two.", title="Report"), 10) == (
        "Report",
        "Page one.\n\nPage two.",
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: pdf("Secret.", password="x"), "encrypted"),
        (lambda: pdf("One.", "Two.", "Three."), "3 pages: more than 2"),
        (lambda: pdf(compressed=b"0 0 m"), "without text"),
        (lambda: b"%PDF-1.7 nothing more", "damaged"),
        (lambda: pdf("One.")[:200], "damaged"),
    ],
    ids=["encrypted", "long", "scanned", "empty", "cut"],
)
def test_a_pdf_that_cannot_be_read_says_why(data, reason):
    with pytest.raises(UnreadableError, match=reason):
        pdf_text(data(), 2)


def test_a_table_of_a_pdf_keeps_the_gaps_between_its_columns():
    cells = [["Kukton", "1,200"], ["Tastal by Sea", "70"], ["Orm", "-30"], ["Pelma", "(9)"]]
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    axes.axis("off")
    axes.table(cellText=cells, colLabels=["town", "sales"], loc="center")
    page = io.BytesIO()
    figure.savefig(page, format="pdf")
    lines = pdf_text(page.getvalue(), 9)[1].splitlines()
    assert [re.split(" {2,}", line) for line in lines] == [["town", "sales"], *cells]
