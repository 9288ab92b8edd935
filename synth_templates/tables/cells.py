"""Cells of tables as values: quantities with units, years, dates, missing ones; and column types.

A column has a type only where all its cells agree: one footnote mark makes a column of numbers a
text column. A number that could be read in two ways (1.234,5; 01/02/2000) is not read at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

ColumnType = Literal["number", "year", "date", "text"]
Cell = float | int | str | None

_MISSING = frozenset(
    ["", "-", "--", "–", "—", "na", "n/a", "n.a.", "nan", "null", "none", "?", "."]
    + ["..", "...", "…"]
)
_MAX_MISSING_CHARS = max(map(len, _MISSING))
_QUANTITY = re.compile(
    r"(?P<open>\()?\s*(?P<sign>[-+\u2212])?\s*(?P<currency>[$€£¥]|(?:USD|EUR|GBP|CHF|JPY)\s)?\s*"
    r"(?P<sign2>[-\u2212])?"
    r"(?P<digits>\d{1,3}(?:[,\u00a0\u202f' ]\d{3})+|\d+)?(?P<decimals>\.\d+)?"
    r"(?P<exponent>[eE][-+]?\d{1,3})?\s*(?P<unit>%|[A-Za-z°µμ/²³]{1,8})?\s*(?P<close>\))?"
)
_PLAIN = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.(?P<decimals>\d{1,10}))?")
"""Most numbers of most tables, which need not be taken apart."""
_LEADING_ZERO = re.compile(r"\s*[-+]?0\d")
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")
_YEAR_HEADER = re.compile(
    r"(?:^|[\s_(])(?:year|yr|season|fy|fiscal|annee|jahr)s?(?:$|[\s_)])", re.I
)
_DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M"),
    *("%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y"),
    *("%d %b %Y", "%d-%b-%Y", "%B %Y", "%b %Y", "%Y-%m"),
)
MAX_CELL_CHARS = 300
_MAX_DECIMALS = 10


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as a cell writes it.

    Attributes:
        value: 1234.5 for "$1,234.50", -3 for "(3)", 12 for "12%".
        unit: Sign or word beside it, "" without one.
        decimals: Digits after the point.
    """

    value: float
    unit: str
    decimals: int


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """The values of a column.

    Attributes:
        type: What all its cells are.
        unit: Their common unit.
        decimals: Most digits after the point.
        values: Floats, years as integers, texts (dates as written); None where missing.
        years: The year of each date, for a column of dates.
    """

    type: ColumnType
    unit: str
    decimals: int
    values: tuple[Cell, ...]
    years: tuple[int | None, ...] = ()


def type_column(header: str, cells: Sequence[str]) -> TypedColumn | None:
    """Returns a column's values under the narrowest type that all its cells have.

    None where every cell is missing.
    """
    texts = [None if is_missing(cell) else " ".join(cell.split()) for cell in cells]
    stated = [text for text in texts if text is not None]
    if not stated:
        return None
    if _YEAR_HEADER.search(header) and all(map(_YEAR.fullmatch, stated)):
        return TypedColumn("year", "", 0, tuple(None if t is None else int(t) for t in texts))
    quantities = _quantities(texts)
    found = [quantity for quantity in quantities if quantity is not None]
    if len(found) == len(stated) and len({quantity.unit for quantity in found}) == 1:
        values = tuple(None if quantity is None else quantity.value for quantity in quantities)
        decimals = max(quantity.decimals for quantity in found)
        return TypedColumn("number", found[0].unit, decimals, values)
    dates = _dates(texts)
    if dates is not None:
        years = tuple(None if date is None else date.year for date in dates)
        return TypedColumn("date", "", 0, tuple(texts), years)
    return TypedColumn("text", "", 0, tuple(texts))


def _quantities(texts: Sequence[str | None]) -> list[Quantity | None]:
    """Returns the numbers of a column, none of them where one cell is no number."""
    quantities: list[Quantity | None] = []
    for text in texts:
        quantity = None if text is None else parse_quantity(text)
        if text is not None and quantity is None:
            return []
        quantities.append(quantity)
    return quantities


def is_missing(cell: str) -> bool:
    """Returns whether a cell says that there is no value."""
    text = cell.strip()
    return len(text) <= _MAX_MISSING_CHARS and text.casefold() in _MISSING


def parse_quantity(text: str) -> Quantity | None:
    """Returns the number that is all of a text, None where there is none or it is ambiguous."""
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return Quantity(float(text), "", len(plain["decimals"] or ""))
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or not (match["digits"] or match["decimals"]) or _LEADING_ZERO.match(text):
        return None
    if bool(match["open"]) != bool(match["close"]) or (match["sign"] and match["sign2"]):
        return None
    digits = re.sub(r"\D", "", match["digits"] or "0")
    exponent = match["exponent"] or ""
    value = float(digits + (match["decimals"] or "") + exponent)
    if not math.isfinite(value):
        return None
    if match["open"] or (match["sign"] or match["sign2"] or "+") in "-\u2212":
        value = -value
    decimals = max(0, len(match["decimals"] or ".") - 1 - int(exponent[1:] or 0))
    unit = (match["currency"] or "").strip()
    if unit and match["unit"]:
        unit = f"{unit} {match['unit']}"
    return Quantity(value, unit or match["unit"] or "", min(decimals, _MAX_DECIMALS))


def format_number(value: float) -> str:
    """Returns a number as an answer shows it: without a trailing ".0", at most six decimals."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def exact_number(value: float) -> str:
    """Returns a number as it is written in a table: all its digits, no exponent."""
    return format(Decimal(repr(float(value))), "f").removesuffix(".0")


def parse_year(text: str) -> int | None:
    """Returns the year that is all of a text, 1500 to 2099."""
    stripped = text.strip()
    return int(stripped) if _YEAR.fullmatch(stripped) else None


def _dates(texts: Sequence[str | None]) -> list[datetime | None] | None:
    """Returns the dates of a column under the one format that all its cells have."""
    first = next(text for text in texts if text is not None)
    for form in _DATE_FORMATS:
        if _date(first, form) is None:
            continue
        dates = [None if text is None else _date(text, form) for text in texts]
        if all(text is None or date for text, date in zip(texts, dates, strict=True)):
            return dates
    return None


def _date(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
