"""How numbers are written for people."""

import math

from hypothesis import given
from hypothesis import strategies as st

from longspan.leaderboards.wording import (
    count,
    duration,
    endings_words,
    interval,
    p_value,
    percent,
    points,
    verdict_words,
)


def test_fractions_become_percent_with_one_decimal():
    assert percent(0.45678) == "45.7"
    assert interval([0.4, 0.5]) == "[40.0, 50.0]"
    assert percent(None) == "\u2013"


def test_differences_carry_a_sign_and_a_real_minus():
    assert points(0.031) == "+3.1"
    assert points(-0.031) == "\u22123.1"
    assert interval([-0.01, 0.02], signed=True) == "[\u22121.0, +2.0]"


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    assert points(-0.0001) == "0.0"
    assert points(0.0) == "0.0"


@given(st.floats(-1, 1))
def test_a_written_difference_is_within_half_a_tenth_of_the_number(difference):
    written = float(points(difference).replace("\u2212", "-"))
    assert math.isclose(written, 100 * difference, abs_tol=0.0501)


def test_durations_choose_their_unit():
    assert duration(8.44) == "8.4 s"
    assert duration(75) == "75 s"
    assert duration(720) == "12 min"
    assert duration(11160) == "3.1 h"


def test_p_values_do_not_claim_more_than_they_know():
    assert p_value(0.00001) == "p < 0.001"
    assert p_value(0.034) == "p = 0.034"
    assert p_value(None) == ""


def difference(**facts):
    return {"verdict": "cannot tell", "p_value": 0.4, "p_adjusted": 1.0} | facts


def test_a_verdict_says_how_many_samples_would_be_needed():
    assert verdict_words(difference(num_samples_needed=1200)) == (
        "cannot tell (needs about 1,200 samples)"
    )
    assert verdict_words(difference(num_samples_needed=None)) == "cannot tell"


def test_a_verdict_says_when_only_the_adjustment_makes_it_unclear():
    assert verdict_words(difference(p_value=0.02, p_adjusted=0.08, num_samples_needed=90)) == (
        "cannot tell (adjusted p = 0.08)"
    )


def test_a_clear_verdict_gives_its_adjusted_p():
    clear = difference(verdict="better", p_value=0.001, p_adjusted=0.004)
    assert verdict_words(clear) == "better (p = 0.004)"


def test_endings_name_what_was_not_answered():
    assert endings_words({"answered": 5, "cut_off": 2, "engine_failed": 1}) == (
        "2 cut off, 1 engine failed"
    )
    assert count(12345.6) == "12,346"
