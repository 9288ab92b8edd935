"""The authors' forms with their quirks, by hand from their sources."""

import pytest

from longspan.harness.scoring import compat
from longspan.harness.scoring.docmath import compat_docmath, docmath

PREFIX = {"random_string_to_prepend": "aYoo"}


def value(rule, completion, *targets, **metadata):
    return rule(completion, targets, metadata).value


@pytest.mark.parametrize(
    ("completion", "gold", "expected"),
    [
        ("Therefore, the answer is Karo.", "Karo", 1.0),
        ("Therefore, the answer is Karo and Belfalas, I think", "Karo", 1.0),
        ("the answer is Kar", "Karo", 1.0),  # the reverse counts
        ("the answer is unknown", "no", 1.0),  # characters, not words
        ("the answer is the.", "Karo", 1.0),  # normalises to nothing, which is in everything
        ("the answer is .", "Karo", 0.0),  # no answer at all
        ("The Answer Is Karo", "Karo", 0.0),  # case counts
        ("**the answer** is Karo", "Karo", 1.0),  # asterisks are removed
        ("<think>the answer is Karo</think>I am not sure", "Karo", 0.0),
        ("<think>the answer is Karo</think>", "Karo", 1.0),  # falls back to the thinking
        ("the answer is Arnor. No, the answer is\nKaro", "Karo", 1.0),
        (" ", "Karo", 0.0),
    ],
)
def test_qwenlong_cover(completion, gold, expected):
    assert value(compat.qwenlong_cover, completion, gold) == expected


def test_qwenlong_looks_at_the_first_gold_and_leaves_empty_outputs_out():
    assert value(compat.qwenlong_cover, "the answer is Roma", "Rome", "Roma") == 0.0
    left_out = compat.qwenlong_cover("", ["Karo"], {})
    assert left_out.value is None and "average" in left_out.note


def test_longbench_f1_counts_the_whole_output_and_the_best_gold():
    assert value(compat.longbench_f1, "the Lima", "Rio", "Lima") == 1.0
    assert value(compat.longbench_f1, "It is Lima", "Lima") == 0.5
    assert value(compat.longbench_f1, "", "Lima") == 0.0


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("The correct answer is (B)", 1.0),
        ("The correct answer is **(B)**", 1.0),
        ("The correct answer is B", 1.0),
        ("The correct answer is Belgium", 1.0),
        ("The correct answer is (A). No: The correct answer is (B)", 0.0),  # the first
        ("The correct answer is A, or rather The correct answer is (B)", 1.0),  # marked ones first
        ("the correct answer is (B)", 0.0),
        ("B", 0.0),
    ],
)
def test_longbench_v2(completion, expected):
    assert value(compat.longbench_v2, completion, "B") == expected


def test_mrcr_wants_the_prefix_and_compares_what_follows():
    assert value(compat.mrcr, "aYooabcd", "aYooabcd", **PREFIX) == 1.0
    assert value(compat.mrcr, " aYooabcd", "aYooabcd", **PREFIX) == 0.0  # not stripped
    assert value(compat.mrcr, "aYooabxx", "aYooabcd", **PREFIX) == 0.5
    assert value(compat.mrcr, "aYoo", "aYooabcd", **PREFIX) == 0.0


def test_ruler_counts_substrings_in_any_case_all_or_any():
    assert value(compat.ruler, "It is 1234567 and FOO", "123", "foo", "9") == pytest.approx(2 / 3)
    assert value(compat.ruler, "foo", "x", "Foo", reference_rule="part") == 1.0


def test_judged_benchmarks_take_the_judges_reply_as_their_code_reads_it():
    rule = compat.corpusqa
    assert rule("So.\nThe answer is: [1] \nBye", ["[1]"], {}).answer == "[1]"
    assert value(rule, "x", "x") is None
    assert value(rule, "x", "x", judge_reply="[[YES]]") == 1.0
    assert value(rule, "x", "x", judge_reply="not [[NO]] but [[YES]]") == 0.0
    assert value(compat.longmemeval, "x", "x", judge_reply="Yes.") == 1.0
    assert value(compat.longmemeval, "x", "x", judge_reply="No, eyes closed") == 1.0


@pytest.mark.parametrize(
    ("completion", "gold", "expected"),
    [
        ("the answer is 20.5", "20.5", 1.0),
        ("the answer is 20.52", "20.5", 1.0),  # 0.15%
        ("the answer is 20.6", "20.5", 0.0),
        ("the answer is 205", "20.5", 1.0),  # any power of ten
        ("the answer is -20.5", "20.5", 1.0),  # the opposite sign
        ("the answer is 2052", "20.5", 1.0),  # a hidden factor of 100 and rounding
        ("the answer is 20500.1", "20.5", 1.0),
        ("the answer is 5. No, the answer is 20.5", "20.5", 0.0),  # the first
        ("The Answer Is $1,234.5", "1234.5", 1.0),
        ("the answer is about 20.5", "20.5", 0.0),  # the number must follow at once
        ("the answer is $.5", "5", 1.0),  # the dot passes for a unit
        ("the answer is 007", "7", 0.0),  # Python reads no such literal
        ("the answer is 007", "0", 1.0),  # what cannot be read is 0
        ("the answer is 1.2.3", "0.0", 1.0),
        ("the answer is 1", "1e-05", 1.0),  # the gold's exponent is lost
        ("the answer is 0.004", "0.0", 0.0),  # rounded up: 0.01
        ("nothing", "0", 0.0),
    ],
)
def test_docmath_as_released(completion, gold, expected):
    assert value(compat_docmath, completion, gold) == expected


def test_where_the_released_docmath_fails_there_is_no_value():
    assert value(compat_docmath, "the answer is 1", "True") is None
    assert value(compat_docmath, f"the answer is {'9' * 400}.5", "1") is None
    assert value(compat_docmath, "", "1") is None


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("20.5", "20.5", 1.0),
        ("$20.52 million", "20.5", 1.0),
        ("20.5 million", "20500000", 1.0),
        ("12.5%", "0.125", 1.0),
        ("12.5%", "12.5", 1.0),
        ("205", "20.5", 0.0),
        ("-20.5", "20.5", 0.0),
        ("20.6", "20.5", 0.0),
        ("20.5 or 21", "20.5", 0.0),
        ("0.0001", "0", 0.0),
        ("yes", "True", 1.0),
        ("False.", "True", 0.0),
        ("perhaps", "False", 0.0),
        ("1e-10", "5e-10", 0.0),  # relative, however small
        ("0", "0.0", 1.0),
    ],
)
def test_docmath_strict(answer, gold, expected):
    assert docmath(answer, gold) == expected


def test_the_authors_parsers_are_kept_with_their_defects():
    assert compat.qwenlong_verdict("[[NO]], the other one says YES")
    assert not compat.qwenlong_verdict("[[yes]]")
    assert compat.corpusqa_verdict("so [[YES]]") and not compat.corpusqa_verdict("[[YES]] [[NO]]")
    assert not compat.corpusqa_verdict("YES")
    assert compat.longmemeval_verdict(
        "with my own eyes: [[NO]]"
    ) and not compat.longmemeval_verdict("No.")
    assert (
        compat.judged_value("docmath", None, "YES") == 1.0
        and compat.judged_value("docmath", 0.5, "no") == 0.5
    )
    assert compat.judged_value("longmemeval", None, "yes") == 1.0
    assert compat.judged_value("corpusqa", 1.0, "[[NO]] [[YES]]") == 0.0
