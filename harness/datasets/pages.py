"""HTML and PDF pages as text, by the libraries of the `synth` extra.

Hostile pages can take any time and memory, so `isolated` runs these functions in a process of their
own; this module knows nothing of that.
"""

from __future__ import annotations

import hashlib
import io
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from longspan.harness.datasets.html_tables import data_tables, table_markdown
from longspan.harness.datasets.input_files import UnreadableError

if TYPE_CHECKING:
    from lxml.html import HtmlElement
    from pypdf import PageObject

_SPACE = re.compile(r"\s+")
_AROUND_TITLE = " ¶#\uf0c1"
"""Signs of links to a heading itself, which generators of documentation put after it."""
_BLANK_LINES = re.compile(r"\n{3,}")
_GAP = re.compile(r" {2,}")
_NUMBER_CELL = re.compile(r"[($€£¥+-]*\d[\d.,]*[%)]*")
_NUMBER_ENDS = frozenset("0123456789%)")
_MIN_NUMBER_ROWS = 4
"""Rows under each other that end with a number, from which a PDF page holds a table."""
MAX_TEXT_CHARS = 20_000_000
"""Of one page or PDF; more is no document."""


def html_text(data: bytes) -> tuple[str, str]:
    """Returns title and main text of an HTML page (Markdown; tables as pipe tables).

    Data tables are kept from the extraction of the main text, which loses cells of them: a mark
    stands in their place. Those whose mark is lost come after the text.

    Raises:
        ImportError: the `synth` extra is not installed.
        UnreadableError: there is no page.
    """
    import trafilatura  # optional: the `synth` extra

    tree = trafilatura.load_html(data)
    if tree is None:
        raise UnreadableError("not an HTML page")
    tree = tree.getroottree().getroot()  # of a page that is one element, that one is given
    title = _title(tree)
    name = f"table-{hashlib.blake2b(data, digest_size=8).hexdigest()}"
    tables = _take_tables(tree, name)
    options: dict[str, Any] = {"output_format": "markdown", "include_comments": False}
    text = trafilatura.extract(tree, favor_recall=True, **options)
    text = text or trafilatura.html2txt(tree)
    lines = [line.rstrip() for line in text.splitlines()]
    placed = {line.strip() for line in lines} & tables.keys()
    lines = [f"\n{tables[mark]}\n" if (mark := line.strip()) in placed else line for line in lines]
    text = "\n".join(lines)
    text = re.sub(rf"{name}-\d+", "", text)
    lost = [table for mark, table in tables.items() if table and mark not in placed]
    return title, _BLANK_LINES.sub("\n\n", "\n\n".join([text, *lost])).strip()


def pdf_text(data: bytes, max_pages: int) -> tuple[str, str]:
    """Returns title and text of a PDF, pages separated by a blank line.

    Raises:
        ImportError: the `synth` extra is not installed.
        UnreadableError: it is encrypted, damaged, has too many pages, or no text.
    """
    import pypdf  # optional: the `synth` extra
    from pypdf.errors import PyPdfError

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("an encrypted PDF")
        num_pages = len(reader.pages)
        if num_pages > max_pages:
            raise UnreadableError(f"a PDF of {num_pages} pages: more than {max_pages}")
        pages: list[str] = []
        for page in reader.pages:
            pages.append(_page_text(page))
            if sum(map(len, pages)) > MAX_TEXT_CHARS:
                raise UnreadableError(f"a PDF of more than {MAX_TEXT_CHARS} characters")
        title = reader.metadata.title if reader.metadata else None
    except UnreadableError:
        raise
    except PyPdfError as error:
        raise UnreadableError(f"a damaged PDF: {error}") from error
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise UnreadableError("a PDF without text: scanned pages are not read")
    return str(title or ""), text


def _page_text(page: PageObject) -> str:
    """Returns the text of a page, with the gaps between columns where it holds a table of numbers.

    Prose in two columns would be torn apart by its layout; rows of numbers mean nothing without it.
    """
    plain: str = page.extract_text().strip()
    if sum(line[-1:] in _NUMBER_ENDS for line in plain.splitlines()) < _MIN_NUMBER_ROWS:
        return plain
    laid_out = page.extract_text(extraction_mode="layout")
    lines = [line.strip() for line in laid_out.splitlines()]
    run = widest = 0
    for before, line in pairwise(["", *lines]):
        cells = _GAP.split(line)
        same = len(cells) == len(_GAP.split(before)) > 1
        is_row = len(cells) > 1 and bool(_NUMBER_CELL.fullmatch(cells[-1]))
        run = (run + 1 if same else 1) if is_row else 0
        widest = max(widest, run)
    return "\n".join(lines).strip() if widest >= _MIN_NUMBER_ROWS else plain


def _title(tree: HtmlElement) -> str:
    """Returns the page's only main heading, else its title."""
    for path in ("//h1", "//title"):
        found = [_SPACE.sub(" ", e.text_content()).strip(_AROUND_TITLE) for e in tree.xpath(path)]
        if len(found) == 1 and found[0]:
            return found[0]
    return ""


def _take_tables(tree: HtmlElement, name: str) -> dict[str, str]:
    """Puts a mark in the place of each data table; returns the tables by their marks."""
    tables: dict[str, str] = {}
    for number, table in enumerate(data_tables(tree)):
        mark = f"{name}-{number}"
        tables[mark] = table_markdown(table)
        place = table.makeelement("p")
        place.text, place.tail = mark, table.tail
        table.getparent().replace(table, place)
    return tables
