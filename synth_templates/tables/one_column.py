"""Tables found in documents, and the operations that questions ask of them.

Two forms are read: a sentence list ("Karo's sales are: Kukton 5; Tastal 7.") and a Markdown pipe
table. A table here is one numeric column over the labels of the first column; one of several
columns gives several tables. Schema alignment across documents and SQL are not part of this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longspan.harness.datasets.documents import Document
from longspan.harness.passport import Operation

_LIST = re.compile(
    r"(?P<subject>[^.\n:;]+?)'s (?P<column>[^.\n:;]+?) are: "
    r"(?P<rows>[^.\n:;]+ -?\d+(?:; [^.\n:;]+ -?\d+)*)\."
)
_PIPE_BLOCK = re.compile(r"(?:^[ \t]*\|.*\|[ \t]*(?:\n|\Z)){3,}", re.MULTILINE)
_RULE = re.compile(r"^[\s|:-]+$")
_NUMBER = re.compile(r"^-?\d{1,3}(?:,\d{3})+(?:\.\d+)?$|^-?\d+(?:\.\d+)?$")
MIN_ROWS = 2


@dataclass(frozen=True, slots=True)
class Table:
    """One numeric column of a table.

    Attributes:
        document: Document id.
        subject: What the table is about.
        column: Name of the numeric column.
        rows: (label, value) in the order of the document; labels are distinct.
        start: First character of the table in the document's text.
        end: One past its last character.
    """

    document: str
    subject: str
    column: str
    rows: tuple[tuple[str, float], ...]
    start: int
    end: int


def find_tables(document: Document) -> list[Table]:
    """Returns the numeric columns of all tables of a document."""
    return [*_sentence_lists(document), *_pipe_tables(document)]


def compute(
    rows: Sequence[tuple[str, float]], operation: Operation, threshold: float | None = None
) -> float:
    """Returns the result of an operation on the values of a table."""
    values = [value for _, value in rows]
    if operation == "count_above":
        limit = 0.0 if threshold is None else threshold
        return sum(value > limit for value in values)
    if operation == "difference":
        return max(values) - min(values)
    if operation == "sum":
        return sum(values)
    return max(values) if operation == "max" else min(values)


def format_number(value: float) -> str:
    """Returns a number as an answer shows it: without a trailing ".0", at most six decimals."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def parse_number(cell: str) -> float | None:
    """Returns the value of a cell, None where it is not a plain number."""
    text = cell.strip()
    return float(text.replace(",", "")) if _NUMBER.match(text) else None


def _sentence_lists(document: Document) -> Iterable[Table]:
    for match in _LIST.finditer(document.text):
        pairs = [row.strip().rpartition(" ") for row in match["rows"].split(";")]
        rows = [(label, parse_number(value)) for label, _, value in pairs]
        yield from _table(document, match["subject"].strip(), match["column"], rows, match.span())


def _pipe_tables(document: Document) -> Iterable[Table]:
    for match in _PIPE_BLOCK.finditer(document.text):
        lines = [line.strip().strip("|") for line in match[0].strip().splitlines()]
        if not _RULE.match(lines[1]):
            continue
        cells = [[cell.strip() for cell in line.split("|")] for line in (lines[0], *lines[2:])]
        end = match.start() + len(match[0].rstrip())
        yield from _columns(document, cells, (match.start(), end))


def _columns(document: Document, cells: list[list[str]], span: tuple[int, int]) -> Iterable[Table]:
    header, *body = cells
    if not document.title or any(len(row) != len(header) for row in body):
        return
    for column in range(1, len(header)):
        rows = [(row[0], parse_number(row[column])) for row in body]
        yield from _table(document, document.title, header[column], rows, span)


def _table(
    document: Document,
    subject: str,
    column: str,
    rows: list[tuple[str, float | None]],
    span: tuple[int, int],
) -> Iterable[Table]:
    numeric = tuple((label, value) for label, value in rows if value is not None)
    labels = {label for label, _ in rows}
    if len(numeric) == len(rows) >= MIN_ROWS and len(labels) == len(rows) and subject and column:
        yield Table(document.id, subject, column, numeric, *span)
