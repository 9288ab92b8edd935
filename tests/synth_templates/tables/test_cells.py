import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.synth_templates.tables.cells import (
    Quantity,
    exact_number,
    format_number,
    parse_quantity,
    type_column,
)


@pytest.mark.parametrize(
    ("text", "value", "unit", "decimals"),
    [
        ("12", 12.0, "", 0),
        ("1,234.50", 1234.5, "", 2),
        ("12 345", 12345.0, "", 0),
        ("$1,200", 1200.0, "$", 0),
        ("-$5", -5.0, "$", 0),
        ("$-5", -5.0, "$", 0),
        ("(3.5)", -3.5, "", 1),
        ("($3.5m)", -3.5, "$ m", 1),
        ("45.2%", 45.2, "%", 1),
        ("12 km", 12.0, "km", 0),
        ("\u22127", -7.0, "", 0),
        (".5", 0.5, "", 1),
        ("1.5e3", 1500.0, "", 0),
        ("2e-3", 0.002, "", 3),
        ("0", 0.0, "", 0),
    ],
)
def test_a_quantity_is_read_with_its_unit(text, value, unit, decimals):
    assert parse_quantity(text) == Quantity(value, unit, decimals)


@pytest.mark.parametrize(
    "text",
    [
        "1,23",
        "1.234,5",
        "00210",
        "12[1]",
        "5-7",
        "1 2",
        "(3",
        "three",
        "3 Doors Down",
        "1e999",
        "%",
        "-",
        "",
    ],
)
def test_what_is_ambiguous_is_no_quantity(text):
    assert parse_quantity(text) is None


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("year", ["1999", "2000"], "year"),
        ("Fiscal Year", ["1999", ""], "year"),
        ("people", ["1999", "2000"], "number"),
        ("share", ["5%", "7 %", "n/a"], "number"),
        ("share", ["5%", "7"], "text"),
        ("zip", ["00210", "33100"], "text"),
        ("note", ["5", "7*"], "text"),
        ("when", ["2012-01-01", "2012-02-30"], "text"),
        ("when", ["2012-01-01", "2012-02-28"], "date"),
        ("when", ["Jan 1 2000", "Feb 1 2000"], "date"),
        ("when", ["01/02/2000", "03/04/2000"], "text"),
    ],
)
def test_a_column_has_the_type_that_all_its_cells_have(header, cells, expected):
    assert type_column(header, cells).type == expected


def test_missing_cells_stay_missing():
    column = type_column("sales", ["5", "NA", "—", "7.25"])
    assert column.values == (5.0, None, None, 7.25) and column.decimals == 2
    assert type_column("sales", ["", "NA"]) is None


def test_a_date_keeps_its_text_and_gives_its_year():
    column = type_column("when", ["Jan 1 2000", "Feb 1 2001"])
    assert column.values == ("Jan 1 2000", "Feb 1 2001") and column.years == (2000, 2001)


def test_an_answer_is_written_without_noise():
    assert [format_number(x) for x in (3.0, 2.50, 5.3 - 5.1)] == ["3", "2.5", "0.2"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0000051, "0.0000051"), (40.0, "40"), (1e16, "1" + "0" * 16), (-2.5, "-2.5")],
)
def test_a_limit_is_written_with_all_its_digits(value, text):
    """A query compares with the limit itself; a rounded one would ask another question."""
    assert exact_number(value) == text


@given(st.floats(-(10**12), 10**12))
def test_a_written_number_is_read_back(value):
    assert float(exact_number(value)) == value
