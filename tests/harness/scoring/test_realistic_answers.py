"""Final answers as models write them, right and wrong, by rule."""

from __future__ import annotations

import time

import pytest

from longspan.harness.scoring.grading import grade

P = "Therefore, the answer is "

RIGHT = [
    ("letter", "(C) Both A and B", "C"),
    ("letter", "C. Both A and B", "C"),
    ("letter", "(D) Groups A, B, and C", "D"),
    ("letter", "B) Vitamin A, B, and C", "B"),
    ("letter", "B, not A", "B"),
    ("letter", "(B) because (A) is wrong", "B"),
    ("letter", "(B) \u2014 because (A) and (C) fail", "B"),
    ("letter", "C, since A, B, and D are refuted", "C"),
    ("letter", "b) south", "B"),
    ("letter", "(Option B)", "B"),
    ("letter", "Answer: B", "B"),
    ("letter", "B、南方", "B"),
    ("letter", "选项B", "B"),
    ("letter", "B（南）", "B"),
    ("ruler", "\n* apple\n* banana", ["apple", "banana"]),
    ("ruler", "\napple\nbanana", ["apple", "banana"]),
    ("ruler", "as follows:\n1. apple\n2. banana", ["apple", "banana"]),
    ("corpusqa", "\n* apple\n* banana", '["banana", "apple"]'),
    ("corpusqa", "\nA College\nB College", '["B College", "A College"]'),
    ("corpusqa", '[\n"A",\n"B"\n]\n\nSee [1].', '["A", "B"]'),
    ("corpusqa", '["Harvard", "MIT"], since both exceed 1000', '["Harvard", "MIT"]'),
    ("corpusqa", "an empty list", "[]"),
    ("corpusqa", "[], since no school qualifies", "[]"),
    ("corpusqa", "[] (none)", "[]"),
    ("corpusqa", "没有符合条件的公司", "[]"),
    ("corpusqa", "123 Main St, Springfield, IL", '["123 Main St, Springfield, IL"]'),
    ("corpusqa", "12,345", '["12345"]'),
    ("corpusqa", "1,234 and 5,678", '["1234", "5678"]'),
    ("corpusqa", "Pfizer and Johnson & Johnson", '["Johnson & Johnson", "Pfizer"]'),
    ("corpusqa", "贵州茅台和五粮液", '["贵州茅台", "五粮液"]'),
    ("cover_exact_match", "\\[\n\\boxed{Paris}\n\\]", "Paris"),
    ("cover_exact_match", "$$\n\\boxed{Paris}\n$$", "Paris"),
    ("cover_exact_match", "Yes, no doubt about it", "yes"),
    ("cover_exact_match", "**Yes**, because they were", "yes"),
    ("cover_exact_match", "both are American, so yes", "yes"),
    ("cover_exact_match", "False, it is not true", "false"),
    ("cover_exact_match", "no it isn't", "no"),
    ("cover_exact_match", "Paris. The answer is supported by Passage 3.", "Paris"),
    ("cover_exact_match", "Paris.\n\nNote that the answer is based on the text.", "Paris"),
    ("cover_exact_match", "minus 5", "-5"),
    ("cover_exact_match", "Simon & Garfunkel", "Simon and Garfunkel"),
    ("cover_exact_match", "\u00bd", "1/2"),
    ("cover_exact_match", "\u00a0\x85Karo", "Karo"),
    ("docmath", "$$\n\\boxed{42}\n$$", "42"),
    ("docmath", "Yes, it did.", "True"),
    ("docmath", "True, because revenue grew", "True"),
    ("docmath", "(True)", "True"),
    ("docmath", "No, it did not", "False"),
    ("docmath", "zero", "0.0"),
]
WRONG = [
    *[("letter", text, "A") for text in ("A - North, B - South", "[A], [B]", "A - B - C - D")],
    ("letter", "A is correct, B is correct", "A"),
    ("letter", "A because North, B because South", "A"),
    ("letter", "option a because North, option b because South", "A"),
    ("letter", "A, B, C, D are not wrong", "A"),
    ("letter", "A is correct, B is correct, none is wrong", "A"),
    ("letter", "(A) or (B), while (C) is wrong", "A"),
    ("corpusqa", '["Harvard"] or ["MIT"]', '["Harvard"]'),
    ("corpusqa", '[\n"Harvard"\n] or [\n"MIT"\n]', '["Harvard"]'),
    ("corpusqa", "Which is it, Karo or something else?", "Karo"),
    ("corpusqa", "no, Harvard, MIT", "[]"),
    ("corpusqa", "none or Harvard", "[]"),
    ("corpusqa", "nothing but Harvard", "[]"),
    ("corpusqa", "There are none except Harvard and Yale", "[]"),
    ("cover_exact_match", "No. 10 Downing Street", "no"),
    ("cover_exact_match", "yes or no", "yes"),
    ("cover_exact_match", "yes, no", "yes"),
    ("cover_exact_match", "不是北京", "北京"),
    ("cover_exact_match", "no longer Paris", "Paris"),
    ("cover_exact_match", "not in Paris", "Paris"),
    ("cover_exact_match", "London rather than Paris", "Paris"),
    ("docmath", "not true", "True"),
]


@pytest.mark.parametrize(("rule", "answer", "gold"), RIGHT)
def test_a_right_answer_is_seen(rule, answer, gold):
    golds = gold if isinstance(gold, list) else [gold]
    assert grade(rule, P + answer, golds).value == 1.0


@pytest.mark.parametrize(("rule", "answer", "gold"), WRONG)
def test_a_wrong_answer_earns_nothing(rule, answer, gold):
    assert grade(rule, P + answer, [gold]).value == 0.0


@pytest.mark.parametrize(
    "thinking",
    [
        "<thinking>{}</thinking>",
        "<THINK>{}</THINK>",
        "<reasoning>{}</reasoning>",
        "[THINK]{}[/THINK]",
        "<|begin_of_thought|>{}<|end_of_thought|>",
        "◁think▷{}◁/think▷",
        "<seed:think>{}</seed:think>",
        "<|channel|>analysis<|message|>{}<|end|>",
        "<think >{}",
    ],
)
def test_thinking_is_no_answer_whatever_marks_it(thinking):
    said = thinking.format("so the answer is Paris")
    assert grade("cover_exact_match", f"{said}\nI cannot say.", ["Paris"]).value == 0.0
    final = "<|channel|>final<|message|>" if "channel" in said else ""
    if said != "<think >so the answer is Paris":
        assert grade("cover_exact_match", f"{said}{final}{P}Paris.", ["Paris"]).value == 1.0


@pytest.mark.parametrize("text", ["$" * 190_000 + "z", "$" * 9_900 + "z", "\\[" * 90_000])
def test_marks_of_mathematics_without_end_cost_no_time(text):
    started = time.process_time()
    grade("cover_exact_match", P + text, ["Paris"])
    grade("longmemeval", text, ["Paris"])
    assert time.process_time() - started < 5
