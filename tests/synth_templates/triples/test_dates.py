import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.synth_templates.triples.dates import format_date, parse_date


def test_a_date_is_day_month_and_year():
    assert format_date(datetime.date(1874, 3, 12)) == "12 March 1874"


@given(st.dates(min_value=datetime.date(1000, 1, 1)))
def test_a_date_is_read_as_it_was_written(date):
    assert parse_date(format_date(date)) == date


@pytest.mark.parametrize("text", ["", "12 Mars 1874", "March 1874", "31 February 1874"])
def test_other_texts_are_no_dates(text):
    with pytest.raises(ValueError):
        parse_date(text)
