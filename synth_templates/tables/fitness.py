"""Whether a query that a model wrote says something of a table, found by changing the table.

A query can be safe and its answer still worthless: a constant, a number that another order of names
would change, a remainder that a division dropped. Each is tried on a changed copy of the table. The
same tests are made where questions are written and where they are checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from longspan.harness.errors import SynthesisError
from longspan.synth_templates.tables.column_roles import CorpusColumn
from longspan.synth_templates.tables.corpus_tables import DOCUMENT, CorpusTable
from longspan.synth_templates.tables.source_tables import YEAR_NAME
from longspan.synth_templates.tables.sql import (
    Cell,
    SqlResult,
    SqlTable,
    run_query,
    same_rows,
    with_real_division,
)
from longspan.synth_templates.tables.sql_answers import AnswerType

_NUMBER_LIKE = re.compile(r"\s*[-+(.$€£]*\d")


def usable_columns(table: CorpusTable) -> list[CorpusColumn]:
    """Returns the columns that models may ask about.

    What a gap means is for nobody to guess, and SQLite adds up texts by the digits they begin with.
    """
    return [
        column
        for column in table.columns
        if None not in column.values
        and column.type != "date"
        and not (column.type == "text" and _looks_like_numbers(column.values))
    ]


def is_without_gaps(table: CorpusTable) -> bool:
    """Returns whether no figure is missing under a year of a wide table."""
    if table.layout == "long":
        return True
    years = next(column.values for column in table.columns if column.name == YEAR_NAME)
    return len(set(Counter(zip(table.titles, years, strict=True)).values())) == 1


def why_unfit(query: str, result: SqlResult, answer: AnswerType, table: CorpusTable) -> str | None:
    """Returns why a query that ran says nothing certain of a table, None where nothing is wrong.

    Args:
        query: The query.
        result: What it gives.
        answer: What its first cell must be.
        table: The table, whose rows may be of several documents.
    """
    columns = usable_columns(table)
    names = {column.name for column in columns}
    if not result.reads or result.reads - names - {DOCUMENT, ""}:
        return f"it must read [data], and of it only {', '.join(sorted(names))}"
    if answer == "name" and not any(
        column.type == "text" and column.name in result.reads and _first(result) in column.values
        for column in columns
    ):
        return "the answer must be a cell of a column of texts that it reads"
    whole = table.to_sql()
    if not any(_changes(query, part, result) for part in _halves(whole)):
        return "its answer does not depend on the rows"
    titles = list(dict.fromkeys(table.titles))
    if len(titles) > 1:
        needed = sum(_changes(query, _without(whole, title), result) for title in titles)
        if needed < 2:
            return "its answer does not depend on the rows of several documents"
    if _changes(with_real_division(query), whole, result):
        return "it divides whole numbers and drops the rest; write 1.0 * before the division"
    if answer == "name" and not _survives_renaming(query, whole, result):
        return "its answer depends on the order of names: two rows tie, or it compares texts"
    return None


def _looks_like_numbers(values: Sequence[Cell]) -> bool:
    return 2 * sum(bool(_NUMBER_LIKE.match(str(value))) for value in values) >= len(values)


def _first(result: SqlResult) -> Cell:
    return result.rows[0][0] if result.rows and result.rows[0] else None


def _halves(table: SqlTable) -> Iterator[SqlTable]:
    middle = len(table.rows) // 2
    yield replace(table, rows=table.rows[:middle])
    yield replace(table, rows=table.rows[middle:])


def _without(table: SqlTable, title: str) -> SqlTable:
    return replace(table, rows=tuple(row for row in table.rows if row[0] != title))


def _changes(query: str, table: SqlTable, result: SqlResult) -> bool:
    """Whether a query gives another first cell, or none, on another table."""
    try:
        other = run_query(query, [table])
    except SynthesisError:
        return True
    return not same_rows([[_first(other)]], [[_first(result)]])


def _survives_renaming(query: str, table: SqlTable, result: SqlResult) -> bool:
    """Whether the same name is found where texts sort the other way round.

    Texts that the query names stay as they are.
    """
    texts = {
        cell
        for row in table.rows
        for cell in row
        if isinstance(cell, str) and "'" + cell.replace("'", "''") + "'" not in query
    }
    order = sorted(texts, reverse=True)
    renamed = {text: f"{place:06d} {text}" for place, text in enumerate(order)}
    rows = tuple(tuple(_renamed(cell, renamed) for cell in row) for row in table.rows)
    try:
        found = _first(run_query(query, [replace(table, rows=rows)]))
    except SynthesisError:
        return False
    return found == _renamed(_first(result), renamed)


def _renamed(cell: Cell, names: dict[str, str]) -> Cell:
    return names.get(cell, cell) if isinstance(cell, str) else cell
