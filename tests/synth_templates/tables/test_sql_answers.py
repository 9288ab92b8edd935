import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.numbers import numeric
from longspan.synth_templates.tables.sql_answers import (
    decimals_for,
    exact_decimals,
    read_answer,
    rounding_phrase,
)


@pytest.mark.parametrize(
    ("rows", "answer", "expected"),
    [
        ([(2.345678,)], "number", "2.35"),
        ([(-2.5,)], "number", "-2.50"),
        ([(7,)], "whole", "7"),
        ([("Orm",)], "name", "Orm"),
    ],
)
def test_one_row_is_an_answer(rows, answer, expected):
    found = read_answer(rows, answer, 2, ranked=False, exact=False)
    assert (found.text, found.problem) == (expected, "")


@pytest.mark.parametrize(
    ("rows", "answer", "ranked", "problem"),
    [
        ([], "number", False, "no value"),
        ([(None,)], "number", False, "no value"),
        ([(1.0,), (2.0,)], "number", False, "more than one row"),
        ([("Orm", 5.0), ("Pel", 5.0)], "name", True, "tie"),
        ([("Orm", 0.1 + 0.2), ("Pel", 0.3)], "name", True, "tie"),
        ([("Orm", 5.0)], "name", True, "nothing to rank"),
        ([("Orm", None), ("Pel", 5.0)], "name", True, "no value"),
        ([("Orm",), ("Pel",)], "name", True, "no number to rank by"),
        ([("Orm",)], "number", False, "no number"),
        ([("A",)], "name", False, "no name"),
        ([(2.5,)], "whole", False, "no whole number"),
        ([(0.001,)], "number", False, "zero"),
        ([(2.345,)], "number", False, "doubtful rounding"),
        ([(-0.125,)], "number", False, "doubtful rounding"),
    ],
)
def test_what_is_ambiguous_is_no_answer(rows, answer, ranked, problem):
    assert read_answer(rows, answer, 2, ranked=ranked, exact=False).problem == problem


def test_an_exact_number_has_no_idle_zeros():
    assert read_answer([(32.78,)], "number", 4, ranked=False, exact=True).text == "32.78"
    assert read_answer([(26.39999999999,)], "number", 1, ranked=False, exact=True).text == "26.4"
    assert read_answer([(500.0,)], "number", 0, ranked=False, exact=True).text == "500"


def test_small_numbers_keep_three_digits():
    assert decimals_for(0.05566, 2) == 4
    assert decimals_for(12.0, 2) == 2
    assert rounding_phrase(4, "", exact=False) == "Round the answer to four decimal places."
    assert rounding_phrase(1, "%", exact=False) == "Round the answer in % to one decimal place."
    assert rounding_phrase(3, "km", exact=True) == "Give the exact value in km."


@given(st.floats(min_value=-1e9, max_value=1e9), st.integers(0, 4))
def test_a_rounded_answer_scores_full_and_a_step_aside_does_not(value: float, decimals: int):
    answer = read_answer([(value,)], "number", decimals, ranked=False, exact=False)
    if not answer.problem and abs(float(answer.text)) < 90:
        assert numeric(answer.text, answer.text) == 1.0
        aside = f"{float(answer.text) + 10.0**-decimals:.{decimals}f}"
        assert numeric(aside, answer.text) == 0.0


@pytest.mark.parametrize(
    ("value", "decimals"),
    [(12, 0), (3.5, 1), (0.1 + 0.2, 1), (2.1234, 4), (1 / 3, None), (2.12345, None)]
    + [(50000.667, 3), (333333333.33, 2), (9761857.0 + 1 / 9, None), ("7", None), (None, None)],
)
def test_a_number_is_exact_only_where_few_decimals_show_it_whole(value, decimals):
    assert exact_decimals(value) == decimals
