"""Running a query that nobody trusts: on tables in memory, reading only, within caps.

A query may come from a kind file or from a model. It sees the tables it is given and nothing else:
SQLite asks the authorizer about every table, column and function while it compiles, steps are
counted while it runs, and every size has a limit. A refusal is one line: what, why, remedy.

Truth must not depend on luck, so there are no random numbers, clocks or recursion, and a query is
run on the rows in both orders: an answer that depends on the order of rows (a tie cut by LIMIT, a
column outside the GROUP BY) is refused.

Memory is watched through the peak of the whole process; a query is stopped when that rises by more
than the cap, so up to one cap above an earlier peak may be used.
"""

from __future__ import annotations

import math
import re
import resource
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

from longspan.harness.errors import SynthesisError, one_line

SqlType = Literal["REAL", "INTEGER", "TEXT"]
Cell = float | int | str | None

_ABSOLUTE_TOLERANCE = 1e-12
_RELATIVE_TOLERANCE = 1e-9
_STEPS_PER_CALL = 1000
_BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # of `ru_maxrss`
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_LITERAL_OR_COMMENT = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_START = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)

_FUNCTIONS = """abs avg ceil ceiling coalesce count floor ifnull iif instr length like lower ltrim
max min nullif round row_number rank dense_rank lag lead first_value last_value rtrim sign substr
substring sum total trim typeof upper"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""What a query may call: deterministic, and no result longer than its arguments."""


@dataclass(frozen=True, slots=True)
class SqlTable:
    """A table as it is loaded.

    Attributes:
        name: Lower-case name (letters, digits, underscores).
        columns: (name, type), names like the table's.
        rows: Cells in the order of the columns.
    """

    name: str
    columns: tuple[tuple[str, SqlType], ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class SqlResult:
    """What a query gives.

    Attributes:
        columns: Names of the result's columns.
        rows: Finite numbers, texts, None.
        reads: Columns of the tables that it reads; "" where it only counts a table's rows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    reads: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """Caps of one run of a query."""

    steps: int = 20_000_000
    """Instructions of SQLite's virtual machine: the same on every machine."""
    seconds: float = 10.0
    """Wall time, where single steps are slow."""
    memory_bytes: int = 256 << 20
    """By how much the peak memory of the process may rise."""
    rows: int = 1000
    characters: int = 200_000
    """Of all texts of the result."""
    query_characters: int = 10_000
    cell_bytes: int = 100_000


LIMITS = SqlLimits()


class Database:
    """Tables in memory, loaded twice: in the given order of rows and in the reverse one."""

    def __init__(self, tables: Sequence[SqlTable], limits: SqlLimits = LIMITS) -> None:
        """Loads the tables.

        Raises:
            SynthesisError: a name is malformed, or a cell exceeds the cap.
        """
        self.limits = limits
        self._reads: set[str] = set()
        self._connections = [_load(tables, limits, self._reads, step=step) for step in (1, -1)]

    def run(self, query: str) -> SqlResult:
        """Returns the typed rows of a query.

        Raises:
            SynthesisError: the query is refused, fails, exceeds a cap, or its result depends on the
                order of the rows.
        """
        _refuse_text(query, self.limits)
        self._reads.clear()
        first, second = (_run(c, query, self.limits) for c in self._connections)
        if not same_rows(first.rows, second.rows):
            raise _refusal(
                query,
                "its result depends on the order of the rows (a tie, or a column outside GROUP BY)",
                "order by a key, or aggregate every column",
            )
        return replace(first, reads=frozenset(self._reads))

    def close(self) -> None:
        """Frees the tables."""
        for connection in self._connections:
            connection.close()


def run_query(query: str, tables: Sequence[SqlTable], limits: SqlLimits = LIMITS) -> SqlResult:
    """Returns the typed rows of one query over tables.

    Raises:
        SynthesisError: see `Database.run`.
    """
    with closing(Database(tables, limits)) as database:
        return database.run(query)


def same_rows(first: Sequence[Sequence[Cell]], second: Sequence[Sequence[Cell]]) -> bool:
    """Returns whether two results are the same in order, numbers up to rounding errors."""
    return len(first) == len(second) and all(
        len(a) == len(b) and all(map(_same_cell, a, b)) for a, b in zip(first, second, strict=True)
    )


def with_real_division(query: str) -> str:
    """Returns a query in which no division drops the remainder of whole numbers."""
    pieces = []
    end = 0
    for kept in _LITERAL_OR_COMMENT.finditer(query):
        pieces += [query[end : kept.start()].replace("/", "* 1.0 /"), kept[0]]
        end = kept.end()
    return "".join([*pieces, query[end:].replace("/", "* 1.0 /")])


def quote_name(name: str) -> str:
    """Returns a column or table name as SQL; brackets never turn into a text, as quotes do."""
    if not _NAME.fullmatch(name):
        raise SynthesisError(f"not a name for SQL: {name!r}; use lower-case letters, digits and _")
    return f"[{name}]"


def quote_value(value: float | int | str) -> str:
    """Returns a value as an SQL literal."""
    if isinstance(value, str):
        return "'" + value.replace("\0", "").replace("'", "''") + "'"
    return repr(value)


@dataclass
class _Watch:
    """Stops a query that exceeds its caps; called every so many steps."""

    limits: SqlLimits
    steps: int = 0
    reason: str = ""
    deadline: float = field(default=0.0)
    peak: int = field(default=0)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.limits.seconds
        self.peak = _peak_bytes() + self.limits.memory_bytes

    def __call__(self) -> int:
        self.steps += _STEPS_PER_CALL
        if self.steps > self.limits.steps:
            self.reason = f"it needs more than {self.limits.steps} steps"
        elif time.monotonic() > self.deadline:
            self.reason = f"it needs more than {self.limits.seconds} seconds"
        elif _peak_bytes() > self.peak:
            self.reason = f"it needs more than {self.limits.memory_bytes >> 20} MiB"
        return bool(self.reason)


def _load(
    tables: Sequence[SqlTable], limits: SqlLimits, reads: set[str], step: int
) -> sqlite3.Connection:
    # `check_same_thread`: a corpus, and with it its databases, may be handed to a worker thread.
    # A statement from a cache would not be authorized again, and so not tell what it reads.
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, cached_statements=0
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    for limit, value in _ENGINE_LIMITS:
        connection.setlimit(limit, value)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.cell_bytes)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, limits.query_characters)
    try:
        connection.execute("BEGIN")
        for table in tables:
            columns = ", ".join(f"{quote_name(name)} {kind}" for name, kind in table.columns)
            connection.execute(f"CREATE TABLE {quote_name(table.name)} ({columns})")
            places = ", ".join("?" * len(table.columns))
            connection.executemany(
                f"INSERT INTO {quote_name(table.name)} VALUES ({places})", table.rows[::step]
            )
        connection.execute("COMMIT")
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        connection.close()
        raise SynthesisError(
            f"table cannot be loaded into SQLite ({error}); leave out its longest or oddest cells"
        ) from error
    connection.execute("PRAGMA query_only = ON")
    names = frozenset(table.name for table in tables)

    def authorize(
        action: int, first: str | None, second: str | None, database: str | None, via: str | None
    ) -> int:
        is_read = action == sqlite3.SQLITE_READ and first in names
        if is_read:
            reads.add(str(second))
        allowed = (
            is_read
            or action == sqlite3.SQLITE_SELECT
            or (action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FUNCTIONS)
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)
    return connection


def _refuse_text(query: str, limits: SqlLimits) -> None:
    if len(query) > limits.query_characters:
        raise _refusal(
            query, f"it has more than {limits.query_characters} characters", "shorten it"
        )
    if not _START.match(query):
        raise _refusal(query, "it is no SELECT", "begin with SELECT or WITH")
    if '"' in _LITERAL_OR_COMMENT.sub(" ", query):
        # SQLite reads "x" as a text where no column x exists: a misspelt column would be a value.
        raise _refusal(query, "double quotes are a name or a text", "write [name] or 'text'")


def _run(connection: sqlite3.Connection, query: str, limits: SqlLimits) -> SqlResult:
    watch = _Watch(limits)
    connection.set_progress_handler(watch, _STEPS_PER_CALL)
    try:
        with closing(connection.execute(query)) as cursor:
            columns = tuple(str(column[0]) for column in cursor.description or ())
            return SqlResult(columns, _fetch(cursor, query, limits))
    except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, ValueError) as error:
        reason = watch.reason or one_line(str(error), 160) or type(error).__name__
        raise _refusal(query, reason, "ask for less, of the tables given") from error
    finally:
        connection.set_progress_handler(None, 0)


def _fetch(cursor: sqlite3.Cursor, query: str, limits: SqlLimits) -> tuple[tuple[Cell, ...], ...]:
    rows: list[tuple[Cell, ...]] = []
    num_characters = 0
    for row in cursor:
        num_characters += sum(len(cell) for cell in row if isinstance(cell, str))
        if len(rows) == limits.rows:
            raise _refusal(query, f"it gives more than {limits.rows} rows", "aggregate or LIMIT")
        if num_characters > limits.characters:
            raise _refusal(query, f"it gives more than {limits.characters} characters", "aggregate")
        if any(isinstance(cell, bytes) for cell in row):
            raise _refusal(query, "it gives bytes", "select numbers and texts")
        if any(isinstance(cell, float) and not math.isfinite(cell) for cell in row):
            raise _refusal(query, "it gives an infinite number", "keep numbers finite")
        rows.append(tuple(row))
    return tuple(rows)


def _same_cell(first: Cell, second: Cell) -> bool:
    if isinstance(first, str) or isinstance(second, str) or first is None or second is None:
        return first == second
    return math.isclose(first, second, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)


def _refusal(query: str, reason: str, remedy: str) -> SynthesisError:
    return SynthesisError(f"query refused: {reason}; {remedy}: {one_line(query[:400], 120)!r}")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_UNIT


_ENGINE_LIMITS = (
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_COLUMN, 500),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 20),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 60),
    (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 20),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 20_000),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)
