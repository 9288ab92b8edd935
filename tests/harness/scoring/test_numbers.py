"""Numbers as answers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.numbers import Number, numeric, parse_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234", Number(1234)),
        ("$1,234.50 in total", Number(1234.5)),
        ("-5", Number(-5)),
        ("\u22125", Number(-5)),
        ("+5", Number(5)),
        (".5", Number(0.5)),
        ("1.5e3", Number(1500)),
        ("12%", Number(12, True)),
        ("12 percent", Number(12, True)),
        ("20.5 million dollars", Number(20.5, scale=1e6)),
        ("$5.9bn", Number(5.9, scale=1e9)),
        ("12.5万元", Number(12.5, scale=1e4)),
        ("共123个", Number(123)),
        (r"12.5\%", Number(12.5, True)),
        (r"\(\boxed{\text{42}}\)", Number(42)),
        ("(5.2)%", Number(5.2, True)),
        ("minus 5", Number(-5)),
        ("–5", Number(-5)),
        ("1.5×10^3", Number(1500)),
        (r"1.5 \times 10^{-3}", Number(0.0015)),
        ("2·10³", Number(2000)),
        ("5 m²", Number(5)),
        ("3/4", Number(0.75)),
        (r"-\frac{3}{4}", Number(-0.75)),
        ("3/0", None),
        ("2/1", None),
        ("05/12", None),
        ("42 in 2019", Number(42)),
        ("in 2019", Number(2019)),
        ("42 of 2019", None),
        ("2019–2020", None),
        ("the 3rd", Number(3)),
        ("US$5", Number(5)),
        ("Rs.500", Number(500)),
        ("3 lamps, that is 3", Number(3)),
        ("1\u202f234", Number(1234)),
        ("7.", Number(7)),
        ("1, 2, 3", None),
        ("1 or 2", None),
        ("2019-05-03", None),
        ("B2", None),
        ("seven", Number(7)),
        ("Seven.", Number(7)),
        ("20{,}500", Number(20500)),
        (r"20\,500", Number(20500)),
        ("1 234.5", Number(1234.5)),
        ("２０．５", Number(20.5)),
        ("120.5 - 100.0 = 20.5", Number(20.5)),
        (r"\frac{3}{4} = 0.75", Number(0.75)),
        ("9" * 400, None),
        ("1e9999", None),
        ("__import__('os')", None),
        ("", None),
    ],
)
def test_numbers(text, number):
    assert parse_number(text) == number


def test_percent_equals_its_number_and_its_fraction():
    assert numeric("12%", "12") == numeric("12%", "0.12") == numeric("0.12", "12%") == 1.0
    assert numeric("12%", "12%") == numeric("12", "12%") == 1.0
    assert numeric("0.12", "12") == numeric("12", "0.12") == 0.0


def test_a_scale_equals_its_number_with_and_without_it_but_no_other_scale():
    assert numeric("20.5 million", "20.5") == numeric("20.5 million", "20,500,000") == 1.0
    assert numeric("20500000", "20.5 million") == numeric("20.5mn", "20.5 million") == 1.0
    assert numeric("20.5 thousand", "20.5 million") == numeric("20.5", "20500000") == 0.0


def test_the_tolerance_is_relative():
    assert numeric("101", "100") == 0.0
    assert numeric("101", "100", tolerance=0.02) == 1.0
    assert numeric("0", "0.0") == 1.0


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_equals_itself_however_it_is_written(value):
    assert numeric(repr(value), repr(value)) == 1.0
    assert numeric(f"it is {value:,.3f} units", f"{value:.3f}") == 1.0


@pytest.mark.parametrize(
    ("answer", "value"),
    [("$5.9M", 5.9), ("12.5kg", 12.5), ("1,23,456", None), ("12,34", None), ("1.234.567", None)],
)
def test_a_number_is_read_whole_or_not_at_all(answer, value):
    number = parse_number(answer)
    assert (number and number.value) == value
