"""Option letters."""

import pytest

from longspan.harness.scoring.letters import letter, parse_letter


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        *[(text, "B") for text in ("B", "b", "(B)", "(b)", "B.", "B)", "option B", "Choice (B).")],
        *[(text, "B") for text in ("(B) Paris", "B. Paris is right", "B: Paris", "( B )")],
        *[(text, None) for text in ("A, B, C, D", "A or B", "(A) or (B)", "(A)(B)", "A B C D")],
        *[(text, None) for text in ("(B) or (C)", "B. or C. both", "(A), (B), (C), (D)", "B/C")],
        *[(text, None) for text in ("", "Paris", "A Paris", "not B", "AB", "5", "(A) B, C")],
    ],
)
def test_letters(answer, named):
    assert parse_letter(answer) == named
    assert letter(answer, "(B)") == float(named == "B")


def test_a_gold_option_that_is_no_letter_is_a_defect():
    with pytest.raises(ValueError, match="not one option letter"):
        letter("B", "Paris")


@pytest.mark.parametrize(
    ("answer", "letter_"),
    [
        ("**(B)** West", "B"),
        ("(**B**)", "B"),
        ("option (B) West", "B"),
        ("(B)West", "B"),
        ("[B]", "B"),
        (r"\(\boxed{\text{B}}\)", "B"),
        ("(B) J. R. R. Tolkien", "B"),  # capitals of the option's own text
        ("(C) Vitamin A, B and C", "C"),
        ("B because it says so", "B"),
        ("B - Paris", "B"),
        ("Option B: Paris", "B"),
        ("option b is correct", "B"),
        ("A is correct, or B", None),
        ("A because of B, C", None),
        ("(B) or C", None),
        ("(A) or (B)", None),
        ("(A) (B) (C)", None),
    ],
)
def test_the_usual_forms_of_a_letter(answer, letter_):
    assert parse_letter(answer) == letter_
