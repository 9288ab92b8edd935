"""From the rows of a query to one answer: no ties, no missing values, no doubtful rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from longspan.synth_templates.tables.sql import Cell

AnswerType = Literal["number", "whole", "name"]
"""A rounded number, a number without decimals (a count, a year), or a text of the table."""
MIN_NAME_CHARS = 2
"""Letters and digits of a name; "A" is an article to a scorer."""
MAX_DECIMALS = 8
MAX_SOURCE_DECIMALS = 4
"""Where a table shows more, answers are rounded to so many."""
_SIGNIFICANT_DIGITS = 3
_TIE = 1e-9
_DOUBTFUL = 1e-6
_NOISE = 1e-14
"""Relative error of a float that was read, or computed in a few steps."""
_SUM_ERROR = 1e-11
"""Relative error of a sum of thousands of floats, with room to spare."""
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or why there is none.

    Attributes:
        text: The gold answer, "" where there is none.
        problem: Why there is none, "" where there is one.
    """

    text: str
    problem: str = ""


def read_answer(
    rows: Sequence[Sequence[Cell]], answer: AnswerType, decimals: int, *, ranked: bool, exact: bool
) -> Answer:
    """Returns the one answer that the rows of a query give.

    Args:
        rows: A single row, of which the first cell is the answer; or ranked rows.
        answer: What the first cell must be.
        decimals: To how many decimals a number is rounded.
        ranked: The answer is the first cell of the first row, and the second cell, by which rows
            are ranked, must differ between the first two rows.
        exact: A number has no more decimals than that, so zeros at its end say nothing.
    """
    if not rows or any(cell is None for cell in rows[0]):
        return Answer("", "no value")
    if ranked:
        if len(rows) < 2:
            return Answer("", "nothing to rank")
        if any(len(row) < 2 or isinstance(row[1], str) or row[1] is None for row in rows[:2]):
            return Answer("", "no number to rank by")
        if math.isclose(_number(rows[0][1]), _number(rows[1][1]), rel_tol=_TIE, abs_tol=_TIE):
            return Answer("", "tie")
    elif len(rows) > 1:
        return Answer("", "more than one row")
    value = rows[0][0]
    if answer == "name":
        is_name = isinstance(value, str) and sum(map(str.isalnum, value)) >= MIN_NAME_CHARS
        return Answer(str(value)) if is_name else Answer("", "no name")
    if isinstance(value, str) or value is None:
        return Answer("", "no number")
    if answer == "whole":
        return Answer(str(int(value))) if value == int(value) else Answer("", "no whole number")
    return _round(float(value), decimals, exact=exact)


def decimals_for(value: Cell, at_least: int) -> int:
    """Returns how many decimals show three significant digits of a value."""
    if isinstance(value, str) or not value or abs(value) >= 1:
        return at_least
    leading_zeros = -1 - math.floor(math.log10(abs(value)))
    return min(MAX_DECIMALS, max(at_least, leading_zeros + _SIGNIFICANT_DIGITS))


def exact_decimals(value: Cell) -> int | None:
    """Returns the fewest decimals that show a number as it is, None where four do not."""
    if isinstance(value, str) or value is None:
        return None
    places = range(MAX_SOURCE_DECIMALS + 1)
    return next((n for n in places if math.isclose(value, round(value, n), rel_tol=_NOISE)), None)


def rounding_phrase(decimals: int, unit: str, *, exact: bool) -> str:
    """Returns the sentence that says how a number is to be given."""
    measured = f" in {unit}" if unit else ""
    if exact:
        return f"Give the exact value{measured}."
    if decimals == 0:
        return f"Round the answer{measured} to a whole number."
    places = _WORDS[decimals] if decimals < len(_WORDS) else str(decimals)
    return f"Round the answer{measured} to {places} decimal place{'s' if decimals > 1 else ''}."


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, int | float) else math.nan


def _round(value: float, decimals: int, *, exact: bool) -> Answer:
    """Returns the rounded number; one so near a half that rules of rounding differ is refused."""
    scaled = abs(value) * 10**decimals
    if abs(scaled % 1 - 0.5) < max(_DOUBTFUL, scaled * _SUM_ERROR):
        return Answer("", "doubtful rounding")
    text = f"{value:.{decimals}f}"
    if exact and decimals:
        text = text.rstrip("0").rstrip(".")
    return Answer(text) if float(text) else Answer("", "zero")
