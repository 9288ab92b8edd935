"""Answers that are lists, numbers or short texts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.lists import structured_match


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ('["A College", "B College"]', '["B College", "A College"]', 1.0),  # any order
        ("A College; B College", '["B College", "A College"]', 1.0),
        ("['A College']", '["A College"]', 1.0),
        ('["O\'Brien, Inc.", "B"]', '["O\'Brien, Inc.", "B"]', 1.0),
        ('["A College"]', '["A College", "B College"]', 0.0),
        ('["A", "A", "B"]', '["A", "B"]', 0.0),  # a multiset
        ("[]", "[]", 1.0),
        ("none", "[]", 1.0),
        ("A College", "[]", 0.0),
        ('["12.50", "3"]', '["3.00", "12.5"]', 1.0),
        ("12.5%", "12.50%", 1.0),
        ("12.504", "12.5", 1.0),
        ("12.51", "12.5", 0.0),
        ("the A College", "A College", 1.0),
        ('["A College"]', "A College", 1.0),
        ("A College or B College", "A College", 0.0),
        ("", "A College", 0.0),
        ("2023-05", "2023-05", 1.0),
        ("2023-06", "2023-05", 0.0),
        ("A College, B College and C College", '["A College", "B College", "C College"]', 1.0),
        ("A College, B College, and C College", '["A College", "B College", "C College"]', 1.0),
        ("Karo and Belfalas", '["Karo", "Belfalas"]', 1.0),
        ("Research and Development", '["Research and Development"]', 1.0),
        ("Karo or Belfalas", '["Karo", "Belfalas"]', 0.0),
        ("北京、上海", '["北京", "上海"]', 1.0),
        ("北京；上海", '["上海", "北京"]', 1.0),
        ('["College A"]', '["A College"]', 0.0),
        ("There are none", "[]", 1.0),
        ("None of them.", "[]", 1.0),
        ("没有", "[]", 1.0),
        ("No. 5 College", "[]", 0.0),
        ("nobody", "[]", 0.0),
        ("Nothing, except A, B, C, D, E, F, G, H, I, J, K, L and M", "[]", 0.0),
        ("12.5万元", "12.5万元", 1.0),
        ("125000", "12.5万元", 1.0),
        ("12.6万元", "12.5万元", 0.0),
        ("0.12", "12.5%", 0.0),
    ],
)
def test_structured_match(answer, gold, expected):
    assert structured_match(answer, gold) == expected


@given(st.lists(st.text(st.characters(categories=["Lu", "Ll"]), min_size=1)), st.randoms())
def test_a_list_equals_itself_in_any_order(items, random):
    shuffled = list(items)
    random.shuffle(shuffled)
    assert structured_match(json.dumps(shuffled), json.dumps(items)) == 1.0


def test_a_blank_gold_is_a_defect_of_the_data():
    with pytest.raises(ValueError, match="gold answer is blank"):
        structured_match("x", " ")
