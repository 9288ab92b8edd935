"""Dates as generated documents write them: "12 March 1874", in no machine's language."""

from __future__ import annotations

import datetime

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


def format_date(date: datetime.date) -> str:
    """Returns a date as text."""
    return f"{date.day} {MONTHS[date.month - 1]} {date.year}"


def parse_date(text: str) -> datetime.date:
    """Returns the date that a text states.

    Raises:
        ValueError: it is not of the form "12 March 1874".
    """
    day, month, year = text.split()
    return datetime.date(int(year), MONTHS.index(month) + 1, int(day))
