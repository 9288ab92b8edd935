"""Tables with typed columns, as documents show them, and where they stand.

Read are CSV and TSV documents, Markdown tables (HTML documents are turned into Markdown when they
are read), and columns aligned by two or more spaces, as PDF text has them. A table that could be
misunderstood is left out, and the reason counted: rows of several lengths, no header, two columns
of one name, a row of totals, too many rows. Years as headers make a *wide* table, which is turned
into rows of (label, year, value).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.tables.cells import (
    MAX_CELL_CHARS,
    TypedColumn,
    is_missing,
    parse_quantity,
    parse_year,
    type_column,
)

Layout = Literal["long", "wide"]

MIN_ROWS, MAX_ROWS, MAX_COLUMNS = 4, 2000, 80
MAX_WIDE_CELLS = 20_000
MIN_YEARS = 3
"""Headers that are years, from which a table is wide."""
MAX_CAPTION_CHARS = 120
YEAR_NAME, VALUE_NAME = "table_year", "table_value"
"""Columns that a wide table is turned into."""
LABELS_NAME = "table_labels"
"""A first column without a header."""
_DELIMITERS = {"csv": ",;|\t ", "tsv": "\t"}
_MARKDOWN_RULE = re.compile(r"^[ >]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)+\|?[ \t]*$", re.M)
_TOTALS = re.compile(
    r"(?:(?:grand |sub-?)?(?:totals?|sum|averages?|avg|mean|median|overall|all|career)\b"
    r"|(?:\S+ ){1,2}(?:totals?|averages?|avg)\b\.?$)",
    re.I,
)
_MARKS = re.compile(
    r"\\(?P<escaped>[^\sA-Za-z0-9])|\*\*|__|`|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|<br\s*/?>|¶"
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?: \"[^\"]*\")?\)")
_CAPTION = re.compile(r"(?:table\b|tab\.)\s*(?:[\w.-]*\d|[a-z]|[ivxlc]+)?\s*[.:]", re.I)
_CAPTION_MARK = "Table: "
"""What stands before the caption of an HTML table, which is no part of it."""
_GAP = re.compile(r" {2,}|\t+")
_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of a table.

    Attributes:
        header: As the document writes it; "" for what a wide table has no header for.
        name: Its normalised name: lower-case letters, digits, underscores; distinct in its table.
        data: Type and values.
    """

    header: str
    name: str
    data: TypedColumn


@dataclass(frozen=True, slots=True, eq=False)
class SourceTable:
    """A table of a document.

    Attributes:
        document: Document id.
        title: The document's title.
        caption: The heading or caption before the table, "" without one.
        start: First character of the table in the document's text.
        end: One past its last character.
        layout: Whether its headers are years.
        columns: Its columns, at least two, all of one length.
        is_named: Whether title and caption tell it from the document's other tables.
    """

    document: str
    title: str
    caption: str
    start: int
    end: int
    layout: Layout
    columns: tuple[Column, ...]
    is_named: bool = True

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].data.values)


@dataclass
class TableReading:
    """The tables of a document, and how many were left out for which reason."""

    tables: list[SourceTable] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The cells of a table before they have types; the first row is the header."""

    rows: list[list[str]]
    start: int
    end: int
    caption: str = ""


def read_tables(document: Document) -> TableReading:
    """Returns the tables of a document with typed columns."""
    reading = TableReading()
    grids = list(_find_grids(document, reading.left_out))
    captions = Counter(grid.caption.casefold() for grid in grids)
    captions[""] = 0
    for grid in grids:
        try:
            table = _type_grid(document, grid)
        except _LeftOut as reason:
            reading.left_out[str(reason)] += 1
            continue
        is_named = len(grids) == 1 or captions[grid.caption.casefold()] == 1
        reading.tables.append(replace(table, is_named=is_named))
    return reading


class _LeftOut(Exception):
    """Why a table is not used; counted, never shown as an error."""


def _find_grids(document: Document, left_out: Counter[str]) -> Iterator[_Grid]:
    form = getattr(document, "format", "text")
    if form in _DELIMITERS:
        rows = _read_delimited(document.text, _DELIMITERS[form])
        if rows is None:
            left_out["rows of several lengths"] += 1
        else:
            yield _Grid(rows, 0, len(document.text))
    elif form == "text":
        found = list(_markdown_grids(document.text))
        yield from found if found else _aligned_grids(document.text)


def _read_delimited(text: str, delimiters: str) -> list[list[str]] | None:
    """Returns the rows under the first delimiter that gives every row the same cells, 2 or more."""
    for delimiter in delimiters:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            rows = [row for row in reader if row]
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows):
            return rows
    return None


@cache
def _parser() -> MarkdownIt:
    # Blocks only: cells and headings are wanted as they are written.
    return MarkdownIt("commonmark").enable("table").disable("inline")


def _markdown_grids(text: str) -> Iterator[_Grid]:
    if not _MARKDOWN_RULE.search(text):
        return
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]
    caption, rows = "", list[list[str]]()
    tokens = _parser().parse(text)
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "paragraph_open"):
            text_before = tokens[place + 1].content
            if token.markup.startswith("#") or _CAPTION.match(_plain(text_before)):
                caption = _plain(text_before).removeprefix(_CAPTION_MARK)
        elif token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(_plain(tokens[place + 1].content))
        elif token.type == "table_close" and rows:
            first, last = _lines(tokens, place)
            start, end = starts[first], starts[min(last, len(starts) - 1)]
            usable = caption if len(caption) <= MAX_CAPTION_CHARS and '"' not in caption else ""
            yield _Grid(rows, start, start + len(text[start:end].rstrip()), usable.rstrip(" :"))
            caption = ""


def _lines(tokens: Sequence[Token], place: int) -> tuple[int, int]:
    opened = next(token for token in reversed(tokens[:place]) if token.type == "table_open")
    first, last = opened.map or (0, 0)
    return first, last


def _aligned_grids(text: str) -> Iterator[_Grid]:
    """Yields blocks of lines that split into the same number of cells at gaps of two spaces."""
    block: list[list[str]] = []
    start = end = offset = 0
    before = ""
    for line in [*text.splitlines(keepends=True), "\n"]:
        cells = _GAP.split(line.strip())
        if len(cells) > 1 and (not block or len(cells) == len(block[0])):
            start = start if block else offset
            end = offset + len(line.rstrip())
            block.append(cells)
        else:
            if len(block) > MIN_ROWS and _has_header(block):
                yield _Grid(block, start, end, before if _CAPTION.match(before) else "")
            block = []
            before = line.strip() or before
        offset += len(line)


def _has_header(block: list[list[str]]) -> bool:
    """Returns whether a block reads like a table: texts above, a column of numbers below."""
    header, *rows = block
    numeric = [all(parse_quantity(row[i]) for row in rows) for i in range(len(header))]
    return any(numeric) and not any(parse_quantity(cell) for cell in header)


def _plain(cell: str) -> str:
    """Returns the text of a cell or heading without marks of Markdown."""
    unlinked = _LINK.sub(r"\1", cell)
    return " ".join(_MARKS.sub(lambda found: found["escaped"] or "", unlinked).split())


def _type_grid(document: Document, grid: _Grid) -> SourceTable:
    header, *rows = grid.rows
    headers = [" ".join(cell.strip("\ufeff'\" ").split()) for cell in header]
    if not MIN_ROWS <= len(rows) <= MAX_ROWS or not 2 <= len(headers) <= MAX_COLUMNS:
        raise _LeftOut(f"not {MIN_ROWS} to {MAX_ROWS} rows and 2 to {MAX_COLUMNS} columns")
    if any(len(row) != len(headers) for row in rows):
        raise _LeftOut("rows of several lengths")
    if any(len(cell) > MAX_CELL_CHARS for row in rows for cell in row):
        raise _LeftOut(f"a cell of more than {MAX_CELL_CHARS} characters")
    columns = {i: [row[i] for row in rows] for i, name in enumerate(headers) if name or i == 0}
    years = [i for i in columns if parse_year(headers[i]) is not None]
    if any(parse_quantity(headers[i]) for i in columns if i not in years) or not columns:
        raise _LeftOut("no header")
    layout: Layout = "wide" if len(years) >= MIN_YEARS else "long"
    typed = (
        _melt(headers, columns, years)
        if layout == "wide"
        else [c for i, cells in columns.items() if (c := _column(headers[i], cells))]
    )
    names = Counter(column.name for column in typed)
    if len(typed) < 2 or any(count > 1 for count in names.values()) or "" in names:
        raise _LeftOut("two columns of one name, or fewer than two columns")
    if any(_has_totals(column) for column in typed):
        raise _LeftOut("a row of totals")
    columns_ = tuple(typed)
    return SourceTable(
        document.id, document.title, grid.caption, grid.start, grid.end, layout, columns_
    )


def _column(header: str, cells: Sequence[str]) -> Column | None:
    """Returns a column; the first may lack a header if it holds labels (numbers count rows)."""
    data = type_column(header, cells)
    if data is None or not (header or data.type == "text"):
        return None
    return Column(header, slug(header) if header else LABELS_NAME, data)


def _melt(headers: list[str], columns: dict[int, list[str]], years: list[int]) -> list[Column]:
    """Returns label columns, year and value: one row for each cell under a year that is there."""
    num_rows = len(columns[years[0]])
    if num_rows * len(years) > MAX_WIDE_CELLS:
        raise _LeftOut(f"more than {MAX_WIDE_CELLS} cells under years")
    places = [(r, i) for r in range(num_rows) for i in years if not is_missing(columns[i][r])]
    labels = [i for i in columns if i not in years]
    melted = [_column(headers[i], [columns[i][row] for row, _ in places]) for i in labels]
    values = type_column("", [columns[i][row] for row, i in places])
    if values is None or values.type != "number":
        raise _LeftOut("cells under years are no numbers of one unit")
    stated = tuple(parse_year(headers[i]) for _, i in places)
    year = Column("", YEAR_NAME, TypedColumn("year", "", 0, stated))
    return [*(c for c in melted if c), year, Column("", VALUE_NAME, values)]


def _has_totals(column: Column) -> bool:
    values = column.data.values if column.data.type == "text" else ()
    return any(isinstance(value, str) and _TOTALS.match(value) for value in values)


def slug(header: str) -> str:
    """Returns a header as a name: lower case, runs of other characters as one underscore."""
    name = _SLUG.sub("_", header.casefold()).strip("_")[:60]
    return f"c_{name}" if name[:1].isdigit() or name == "document" else name
