"""Tables in a sentence, as the pages of the small world write them.

"Karo's sales are: Kukton 5; Tastal 7." is one column of whole numbers over the labels of its rows.
The vocabulary of the packaged policy has no other table; those of real documents are read by
`source_tables` and asked about in SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from longspan.harness.datasets.documents import Document

_LIST = re.compile(
    r"(?P<subject>[^.\n:;]+?)'s (?P<column>[^.\n:;]+?) are: "
    r"(?P<rows>[^.\n:;]+ -?\d+(?:; [^.\n:;]+ -?\d+)*)\."
)
MIN_ROWS = 2


@dataclass(frozen=True, slots=True)
class Table:
    """A column of numbers.

    Attributes:
        document: Document id.
        subject: What the table is about.
        column: Name of the column.
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
    """Returns the tables of a document, those left out in which a label occurs twice."""
    tables = []
    for match in _LIST.finditer(document.text):
        pairs = [row.strip().rpartition(" ") for row in match["rows"].split(";")]
        rows = tuple((label, float(value)) for label, _, value in pairs)
        if len(rows) == len(dict(rows)) >= MIN_ROWS:
            subject = match["subject"].strip()
            tables.append(Table(document.id, subject, match["column"], rows, *match.span()))
    return tables
