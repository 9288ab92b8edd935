"""Data tables of HTML pages as pipe tables of Markdown, cell for cell.

Cells that span rows or columns are laid out as a browser shows them, so that every value stands
under its header. Header cells that span columns are repeated, several rows of headers become one
("Passing" over "Yards": "Passing Yards"), and a body cell that spans rows counts for each of them;
one that spans columns leaves the others empty, since it is not said which it means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

MIN_ROWS = 2
MAX_SPAN = 1000
MAX_CELLS = 200_000
"""Cells of a table, spans laid out; a larger one is none."""
_HIDDEN = re.compile(r"display\s*:\s*none", re.I)
_NOTE = re.compile(r"\s*\[[^\[\]]*\]\s*")
_CAPTION = re.compile(r"table\b|tab\.", re.I)


@dataclass(slots=True)
class _Cell:
    text: str
    is_header: bool


def data_tables(tree: HtmlElement) -> list[HtmlElement]:
    """Returns the tables that hold no other table and have rows and columns, in their order."""
    return [
        table
        for table in tree.xpath("//table[not(.//table)]")
        if sum(len(row.xpath("./td|./th")) > 1 for row in table.iter("tr")) >= MIN_ROWS
    ]


def table_markdown(table: HtmlElement) -> str:
    """Returns a data table as Markdown, with a line before it for its caption; "" if too large."""
    captions = [_text(caption) for caption in table.xpath("./caption")]
    grid = _grid(table)
    if not grid:
        return ""
    num_headers = _num_header_rows(grid)
    headers = [[cell.text for cell in row] for row in grid[:num_headers]]
    titles = [row[0] for row in headers if len(set(row)) == 1 and len(row) > 1]
    named = [row for row in headers if len(set(row)) > 1] or headers[-1:]
    header = [
        " ".join(dict.fromkeys(part for part in column if part))
        for column in zip(*named, strict=True)
    ]
    body = [[cell.text for cell in row] for row in grid[num_headers:]]
    repeated = [header, *headers]
    rows = [row for row in body if any(row) and row not in repeated]
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    caption = next((text for text in (*captions, *titles) if text), "")
    if not caption:
        return "\n".join(lines)
    label = caption if _CAPTION.match(caption) else f"Table: {caption}"
    return "\n".join([label, "", *lines])


def _grid(table: HtmlElement) -> list[list[_Cell]]:
    """Returns the cells of a table, each row as wide as the widest; [] for a table too large."""
    elements = list(table.iter("tr"))
    rows: list[dict[int, _Cell]] = [{} for _ in elements]
    num_cells = 0
    for number, element in enumerate(elements):
        in_head = element.getparent().tag == "thead"
        column = 0
        for found in element.xpath("./td|./th"):
            while column in rows[number]:
                column += 1
            width, height = _span(found, "colspan"), _span(found, "rowspan")
            height = min(height or len(elements), len(elements) - number)
            num_cells += max(1, width) * height
            if num_cells > MAX_CELLS:
                return []
            is_header = in_head or found.tag == "th"
            text = _text(found)
            for place in range(max(1, width)):
                shown = text if place == 0 or is_header else ""
                for below in range(height):
                    rows[number + below].setdefault(column + place, _Cell(shown, is_header))
            column += max(1, width)
    num_columns = max((max(row, default=-1) + 1 for row in rows), default=0)
    if num_columns * len(rows) > MAX_CELLS:
        return []
    empty = _Cell("", True)
    return [[row.get(column, empty) for column in range(num_columns)] for row in rows if row]


def _num_header_rows(grid: Sequence[Sequence[_Cell]]) -> int:
    """Returns how many of the first rows hold nothing but headers, at least one of all rows."""
    num = next((i for i, row in enumerate(grid) if not all(c.is_header for c in row)), 1)
    return max(1, num)


def _span(cell: HtmlElement, name: str) -> int:
    """Returns over how many rows or columns a cell reaches; 0 is all rows that follow."""
    stated = str(cell.get(name) or "").strip()
    return min(int(stated), MAX_SPAN) if stated.isascii() and stated.isdigit() else 1


def _text(element: HtmlElement) -> str:
    """Returns what a cell shows in one line, without notes; "10" with a raised "6" is "10^6"."""
    parts: list[str] = []
    _add_text(element, parts)
    return " ".join("".join(parts).split())


def _add_text(element: HtmlElement, parts: list[str]) -> None:
    stack: list[HtmlElement | str] = [element]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            parts += [one] if one else []
            continue
        below: list[HtmlElement | str] = []
        if isinstance(one.tag, str) and not _is_hidden(one):
            if one.tag == "sup" and parts and parts[-1][-1].isdigit():
                below.append("^")
            if one.tag in ("br", "p", "div", "li"):
                below.append(" ")
            below.append(one.text or "")
            for child in one:
                below += [child, child.tail or ""]
        stack += reversed(below)


def _is_hidden(element: HtmlElement) -> bool:
    """Whether readers see nothing of an element, or only the mark of a note."""
    if element.tag in ("script", "style", "template") or "hidden" in element.attrib:
        return True
    if _HIDDEN.search(element.get("style") or ""):
        return True
    return element.tag == "sup" and bool(_NOTE.fullmatch(element.text_content()))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
