"""Slots of an SQL kind: typed placeholders that a draw fills from a table.

A slot stands in the kind's SQL and in its wording under one name; each has its own form: a column
is [hs_grad] in SQL and "hs_grad", as its header writes it, in the question.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from longspan.synth_templates.tables.cells import Cell, exact_number
from longspan.synth_templates.tables.column_roles import CorpusColumn, Role
from longspan.synth_templates.tables.corpus_tables import CorpusTable
from longspan.synth_templates.tables.source_tables import LABELS_NAME, VALUE_NAME, YEAR_NAME
from longspan.synth_templates.tables.sql import quote_name, quote_value

_MIDDLE = (0.2, 0.8)
"""Quantiles between which thresholds are drawn, so that neither all nor no rows pass."""
_UNHEADED = {YEAR_NAME: "year", VALUE_NAME: "figure", LABELS_NAME: "label in the first column"}
_DIGITS = 2
"""Significant digits of a threshold."""


class Slot(BaseModel):
    """One placeholder; exactly one of `column`, `value`, `threshold` and `title` says what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Role | None = None
    """A column of this role, another one than those of the slots before."""
    value: str | None = None
    """A value of the column in this slot, another one than those of the slots before."""
    threshold: str | None = None
    """A round number between the low and the high values of the column in this slot."""
    title: bool = False
    """The title of one of the documents."""
    given: str | None = None
    """Draw from the rows that have the value of this slot."""
    above: str | None = None
    """Draw a value greater than that of this slot."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        said = [self.column, self.value, self.threshold, self.title or None]
        if sum(part is not None for part in said) != 1:
            raise ValueError("a slot needs exactly one of column, value, threshold, title")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the slots that must be filled before."""
        parts = (self.value, self.threshold, self.given, self.above)
        return tuple(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Filling:
    """What fills a slot.

    Attributes:
        sql: As SQL writes it.
        wording: As a question writes it.
        column: The column, of a column or of a value in it; None for titles.
        value: The value, None for columns.
    """

    sql: str
    wording: str
    column: CorpusColumn | None = None
    value: Cell = None


def roles_of(slots: Mapping[str, Slot]) -> dict[Role, int]:
    """Returns how many columns of each role the slots need."""
    return dict(Counter(slot.column for slot in slots.values() if slot.column))


def fill(
    slots: Mapping[str, Slot], table: CorpusTable, rng: random.Random
) -> dict[str, Filling] | None:
    """Returns a random filling of all slots, None where this draw found none for one of them."""
    filled: dict[str, Filling] = {}
    for name, slot in slots.items():
        filling = _fill_one(slot, table, filled, rng)
        if filling is None:
            return None
        filled[name] = filling
    return filled


def _fill_one(
    slot: Slot, table: CorpusTable, filled: Mapping[str, Filling], rng: random.Random
) -> Filling | None:
    if slot.title:
        titles = dict.fromkeys(source.title for source in table.sources)
        free = [title for title in titles if title not in {f.value for f in filled.values()}]
        return _titled(rng.choice(free)) if free else None
    if slot.column:
        taken = {filling.column for filling in filled.values()}
        columns = [column for column in table.roles[slot.column] if column not in taken]
        return _named(rng.choice(columns)) if columns else None
    column = filled[slot.value or slot.threshold or ""].column
    if column is None:
        return None
    if slot.threshold:
        return _threshold(column, rng)
    return _value(slot, column, table, filled, rng)


def _named(column: CorpusColumn) -> Filling:
    wording = f'"{column.header}"'
    if column.derived_from:
        wording = f'year of "{column.derived_from}"'
    elif not column.header:
        wording = _UNHEADED[column.name]
    return Filling(quote_name(column.name), wording, column)


def _titled(title: str) -> Filling:
    return Filling(quote_value(title), f'"{title}"', None, title)


def _threshold(column: CorpusColumn, rng: random.Random) -> Filling | None:
    values = sorted(float(value) for value in column.values if value is not None)
    low, high = (values[int(share * (len(values) - 1))] for share in _MIDDLE)
    drawn = rng.uniform(low, high)
    digits = _DIGITS - 1 - math.floor(math.log10(abs(drawn))) if drawn else 0
    limit = round(drawn, min(digits, column.decimals))
    if not values[0] < limit < values[-1]:
        return None
    return Filling(quote_value(limit), exact_number(limit), column, limit)


def _value(
    slot: Slot,
    column: CorpusColumn,
    table: CorpusTable,
    filled: Mapping[str, Filling],
    rng: random.Random,
) -> Filling | None:
    places = range(len(column.values))
    if slot.given:
        given = filled[slot.given]
        of_given = given.column.values if given.column else table.titles
        places = [i for i in places if of_given[i] == given.value]  # type: ignore[assignment]
    taken = {f.value for f in filled.values() if f.column is column}
    lower = filled[slot.above].value if slot.above else None
    free = {
        value: None
        for i in places
        if (value := column.values[i]) is not None
        and value not in taken
        and (lower is None or _exceeds(value, lower))
    }
    if not free:
        return None
    value = rng.choice(list(free))
    wording = f'"{value}"' if isinstance(value, str) else exact_number(value or 0)
    return Filling(quote_value(value or 0), wording, column, value)


def _exceeds(value: Cell, lower: Cell) -> bool:
    return not isinstance(value, str) and not isinstance(lower, str) and (value or 0) > (lower or 0)
