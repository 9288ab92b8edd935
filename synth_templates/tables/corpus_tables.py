"""Tables of one schema from several documents as one table, with a column that names the document.

Tables are aligned by the normalised names of their columns. A column stays where every table has it
with one type and one unit; what is dropped is counted with its reason. Aligning depends on the
tables alone, so that a proof which names them can be rebuilt by anybody.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.readings import Readings
from longspan.synth_templates.tables.cells import Cell, ColumnType
from longspan.synth_templates.tables.column_roles import CorpusColumn, Role, column_roles
from longspan.synth_templates.tables.source_tables import (
    Layout,
    SourceTable,
    TableReading,
    read_tables,
)
from longspan.synth_templates.tables.sql import Database, SqlResult, SqlTable, SqlType

TABLE = "data"
"""Name of the table in SQL."""
DOCUMENT = "document"
"""Name of the column with the title of each row's document."""
MIN_SHARED = 0.5
"""Shared columns over all columns (Jaccard), from which tables have one schema."""
MIN_WORD_LETTERS = 3
MAX_DATABASES = 16
"""Databases that an index keeps in memory."""
_SQL_TYPES: dict[ColumnType, SqlType] = {
    "number": "REAL",
    "year": "INTEGER",
    "date": "TEXT",
    "text": "TEXT",
}


@dataclass(frozen=True, eq=False)
class CorpusTable:
    """Aligned tables.

    Attributes:
        sources: The tables, whose titles are distinct where there are several.
        columns: The columns that all of them have.
        titles: For each row the title of its document.
        dropped: Columns that not all have, with the reason and how many tables it concerns.
    """

    sources: tuple[SourceTable, ...]
    columns: tuple[CorpusColumn, ...]
    titles: tuple[str, ...]
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Whether the headers of the tables are years."""
        return self.sources[0].layout

    @property
    def schema(self) -> tuple[tuple[str, str, str], ...]:
        """Name, type and unit of each column."""
        return tuple((column.name, column.type, column.unit) for column in self.columns)

    @cached_property
    def roles(self) -> dict[Role, tuple[CorpusColumn, ...]]:
        """What each column may be asked for."""
        return column_roles(self.columns, self.layout)

    def has(self, roles: Mapping[Role, int]) -> bool:
        """Returns whether there are so many columns of each role (one may have several roles)."""
        return all(len(self.roles[role]) >= count for role, count in roles.items())

    def to_sql(self) -> SqlTable:
        """Returns the table as it is loaded: the document's title, then the columns."""
        columns = tuple((column.name, _SQL_TYPES[column.type]) for column in self.columns)
        rows = zip(self.titles, *(column.values for column in self.columns), strict=True)
        return SqlTable(TABLE, ((DOCUMENT, "TEXT"), *columns), tuple(rows))


def align(sources: Sequence[SourceTable]) -> CorpusTable:
    """Returns the tables as one, with the columns that all of them have."""
    by_name = [{column.name: column for column in source.columns} for source in sources]
    columns: list[CorpusColumn] = []
    dropped: Counter[str] = Counter()
    for name in dict.fromkeys(name for columns_ in by_name for name in columns_):
        found = [columns_[name] for columns_ in by_name if name in columns_]
        if len(found) < len(sources):
            dropped[f"{name}: not in every table"] += len(sources) - len(found)
        elif len({column.data.type for column in found}) > 1:
            dropped[f"{name}: types differ"] += len(found)
        elif len({column.data.unit for column in found}) > 1:
            dropped[f"{name}: units differ"] += len(found)
        else:
            first = found[0]
            values = tuple(value for column in found for value in column.data.values)
            decimals = max(column.data.decimals for column in found)
            aligned = CorpusColumn(
                name, first.header, first.data.type, first.data.unit, decimals, values
            )
            columns.append(aligned)
            if first.data.type == "date":
                years = tuple(year for column in found for year in column.data.years)
                columns.append(_year_of(aligned, years))
    titles = tuple(source.title for source in sources for _ in range(source.num_rows))
    return CorpusTable(tuple(sources), tuple(columns), titles, dict(dropped))


def cluster(tables: Iterable[SourceTable]) -> tuple[list[list[SourceTable]], Counter[str]]:
    """Returns the tables of each schema, and how many were left out for which reason.

    A table joins the first schema of its layout whose first table shares enough columns. A document
    with two tables of one schema takes no part: its title would not say which is meant. Nor does a
    table that repeats another one.
    """
    schemas: list[tuple[frozenset[tuple[str, str]], Layout, list[SourceTable]]] = []
    by_column: dict[tuple[str, str], list[int]] = {}
    for table in tables:
        names = frozenset((column.name, column.data.type) for column in table.columns)
        near = sorted({i for name in sorted(names) for i in by_column.get(name, ())})
        for i in near:
            first, layout, members = schemas[i]
            if layout == table.layout and _is_one_schema(first, names):
                members.append(table)
                break
        else:
            for name in names:
                by_column.setdefault(name, []).append(len(schemas))
            schemas.append((names, table.layout, [table]))
    left_out: Counter[str] = Counter()
    clusters = []
    for _, _, members in schemas:
        titles = Counter(table.title for table in members)
        named = [table for table in members if titles[table.title] == 1]
        kept = _without_repeats(named)
        left_out["two tables of one schema under one title"] += len(members) - len(named)
        left_out["repeats another table"] += len(named) - len(kept)
        if len(kept) > 1:
            clusters.append(kept)
    return clusters, +left_out


def _without_repeats(tables: Sequence[SourceTable]) -> list[SourceTable]:
    """Returns the tables of which none has half its columns, values and all, in an earlier one."""
    kept: list[SourceTable] = []
    seen: list[set[tuple[str, tuple[Cell, ...]]]] = []
    for table in tables:
        columns = {(column.name, column.data.values) for column in table.columns}
        if all(2 * len(columns & other) < len(columns) for other in seen):
            kept.append(table)
            seen.append(columns)
    return kept


def _is_one_schema(first: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    """Whether enough columns are shared, one at least under a word: "x" and "V1" are no names."""
    shared = first & other
    is_worded = any(sum(c.isalpha() for c in name) >= MIN_WORD_LETTERS for name, _ in shared)
    return is_worded and len(shared) >= MIN_SHARED * len(first | other)


def _year_of(date: CorpusColumn, years: tuple[int | None, ...]) -> CorpusColumn:
    return CorpusColumn(
        f"{date.name}_as_year", date.header, "year", "", 0, years, derived_from=date.header
    )


class TableIndex:
    """The tables of the documents of a corpus, found once, and their databases."""

    def __init__(self, documents: Sequence[Document], readings: Readings | None = None) -> None:
        self._documents = {document.id: document for document in documents}
        self._readings = readings or Readings()
        self._titles = Counter(document.title.casefold() for document in documents)
        self._single: dict[SourceTable, CorpusTable] = {}
        self._with_roles: dict[tuple[Any, ...], list[SourceTable]] = {}
        self._databases: OrderedDict[tuple[SourceTable, ...], Database] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Returns what travels to another process: databases are made again there."""
        return {**self.__dict__, "_databases": OrderedDict()}

    def of_document(self, name: str) -> list[SourceTable]:
        """Returns the tables of a document that its title and their captions tell apart."""
        return [table for table in self._reading(name).tables if self._is_named(table)]

    def _reading(self, name: str) -> TableReading:
        return self._readings.of(self._documents[name], read_tables)

    @cached_property
    def tables(self) -> tuple[SourceTable, ...]:
        """All tables that can be named."""
        return tuple(table for name in self._documents for table in self.of_document(name))

    @cached_property
    def clusters(self) -> list[list[SourceTable]]:
        """The tables of each schema that several documents have."""
        return cluster(self.tables)[0]

    def links(self) -> list[tuple[str, str]]:
        """Returns pairs of documents with tables of one schema: apart, they answer less."""
        return [
            (first.document, second.document)
            for members in self.clusters
            for first, second in zip(members, members[1:], strict=False)
        ]

    @cached_property
    def left_out(self) -> dict[str, int]:
        """Reason -> number of tables that were left out."""
        whole: Counter[str] = Counter(cluster(self.tables)[1])
        for reading in map(self._reading, self._documents):
            whole.update(reading.left_out)
            whole["no title or caption of its own"] += sum(
                not self._is_named(table) for table in reading.tables
            )
        return dict(sorted((+whole).items()))

    def with_roles(self, roles: Mapping[Role, int], layout: Layout) -> list[SourceTable]:
        """Returns the tables of a layout that have so many columns of each role."""
        key = (layout, *sorted(roles.items()))
        if key not in self._with_roles:
            self._with_roles[key] = [
                table
                for table in self.tables
                if table.layout == layout and self.align([table]).has(roles)
            ]
        return self._with_roles[key]

    def align(self, sources: Sequence[SourceTable]) -> CorpusTable:
        """Returns tables as one; single ones are kept."""
        if len(sources) > 1:
            return align(sources)
        if sources[0] not in self._single:
            self._single[sources[0]] = align(sources)
        return self._single[sources[0]]

    def run(self, table: CorpusTable, sql: str) -> SqlResult:
        """Returns what a query gives on a table; the databases of the last few are kept.

        Raises:
            SynthesisError: the query is refused or fails.
        """
        if table.sources not in self._databases:
            self._databases[table.sources] = Database([table.to_sql()])
            if len(self._databases) > MAX_DATABASES:
                self._databases.popitem(last=False)[1].close()
        self._databases.move_to_end(table.sources)
        return self._databases[table.sources].run(sql)

    def _is_named(self, table: SourceTable) -> bool:
        is_unique = self._titles[table.title.casefold()] == 1
        return table.is_named and is_unique and bool(table.title) and '"' not in table.title
