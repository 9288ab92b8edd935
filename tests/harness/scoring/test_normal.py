"""Normal forms: what must not decide whether two answers are the same, and what must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.metrics import exact_match
from longspan.harness.scoring.normal import normal_forms, normalise, num_words, plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jean-Paul Sartre", "Jean Paul Sartre"),
        ("e-mail", "email"),
        ("J.R.R. Tolkien", "J. R. R. Tolkien"),
        ("J.R.R. Tolkien", "JRR Tolkien"),
        ("U.S.", "US"),
        ("O'Brien", "O’Brien"),
        ("1,234,567", "1234567"),
        (".5", "0.5"),
        ("1990-1995", "1990–1995"),
        ("the Karo", "Karo!"),
        ("Straße", "STRASSE"),
        ("Pa\u200bris", "Paris"),
        ("20 °C", "20°C"),
        (r"\(\boxed{\text{Paris}}\)", "Paris"),
        (r"$\mathbf{C}$", "C"),
        ("<answer>Paris</answer>", "Paris"),
        ("Paris<|im_end|>", "Paris"),
        ("Paris</s>", "Paris"),
        ("東京、大阪", "東京 大阪"),
        ("The Who", "Who"),
    ],
)
def test_the_same(one, other):
    assert exact_match(one, other) == exact_match(other, one) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5", "-5"),
        ("5", "−5"),
        ("C", "C++"),
        ("C", "C#"),
        ("A", "A+"),
        ("1.5", "15"),
        ("12/34", "1234"),
        ("10:30", "1030"),
        ("2010-2015", "20102015"),
        ("College A", "A College"),
        ("1,23", "123"),
    ],
)
def test_not_the_same(one, other):
    assert exact_match(one, other) == exact_match(other, one) == 0.0


def test_a_text_that_only_looks_marked_up_stays():
    assert plain("$5 million") == "$5 million"
    assert plain("a < b > c") == "a < b > c"
    assert plain(r"C:\new") == r"C:\new"


def test_scripts_without_spaces_are_spelled_and_a_character_is_half_a_word():
    assert normalise("答案是Paris市") == "答 案 是 paris 市"
    assert num_words("東 京") == 1.0 and num_words("new york") == 2.0


@given(st.text())
def test_forms_are_clean_whatever_the_text(text):
    for form in normal_forms(text):
        assert form == " ".join(form.split())
        assert not set(form) & set("!?,;()[]{}\"'")


@given(st.text(alphabet="ab -/.,+#5_'$\\", max_size=12))
def test_a_text_is_the_same_as_itself_with_space_around(text):
    if text.strip():
        assert exact_match(f"  {text}\n", text) == 1.0
