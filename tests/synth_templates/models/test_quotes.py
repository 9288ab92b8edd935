import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.judge_prompts import neutralise
from longspan.synth_templates.models.quotes import MAX_QUOTE_CHARS, find_quote

TEXT = "Ada was born\nin  London. She wrote <i>notes</i> (1843)."


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("Ada was born", "Ada was born"),
        (" born in London. ", "born\nin  London."),
        ("‹i>notes‹/i>", "<i>notes</i>"),
        ("(1843).", "(1843)."),
        ("ada was born", None),
        ("Ada was born in Paris", None),
        ("born.*London", None),
        ("", None),
        ("  ", None),
    ],
)
def test_a_quote_is_found_exactly_or_up_to_white_space(quote: str, found: str | None):
    place = find_quote(TEXT, quote)
    assert (None if place is None else TEXT[slice(*place)]) == found


def test_an_overlong_quote_is_none():
    assert find_quote("a" * 5000, "a" * (MAX_QUOTE_CHARS + 1)) is None


@given(st.text(alphabet="ab <[(.\n", min_size=1, max_size=60))
def test_whatever_is_found_repeats_the_quote_up_to_white_space(text: str):
    place = find_quote("x" + text, text)
    if text.strip():
        assert place is not None
        assert ("x" + text)[slice(*place)].split() == text.split()
        assert neutralise(text).count("<") <= text.count("<")
