"""Every rule in both forms: fractions, full marks, zero, and what its row of the table promises."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.scoring.grading import STRICT, GradeOptions, grade
from longspan.harness.scoring.rules import RULES

SAY = "Therefore, the answer is {}."
METADATA = {"random_string_to_prepend": "aYoo", "judge_reply": "Equal. [[YES]]"}
GOLDS = {"letter": "B", "numeric": "12", "docmath": "20.5", "mrcr": "aYooA poem on tapirs"}
GOLDS = {name: GOLDS.get(name, "Karo") for name in RULES}
OFFICIAL = {
    "letter": "The correct answer is (B)",
    "exact_match": "Karo",
    "token_f1": "Karo",
}
COMPAT = GradeOptions(scoring="compat")
WITH_COMPAT = [name for name, rule in RULES.items() if rule.compat]


def say(name: str) -> str:
    whole = RULES[name].answer in ("whole", "final_or_whole")
    return GOLDS[name] if whole else SAY.format(GOLDS[name])


def graded(name, completion, target=None, options=STRICT, stop="stop"):
    return grade(name, completion, [target or GOLDS[name]], stop, METADATA, options)


@pytest.mark.parametrize("name", RULES)
@given(completion=st.text(), stop=st.sampled_from(["stop", "max_tokens", "unknown", None]))
def test_a_grade_is_a_fraction_whatever_the_completion(name, completion, stop):
    for text in (completion, SAY.format(completion), GOLDS[name] + completion):
        for require_phrase in (True, False):
            strict = graded(name, text, options=GradeOptions("strict", require_phrase), stop=stop)
            assert strict.value is not None and 0.0 <= strict.value <= 1.0
            assert strict.validity in ("answered", "no_answer", "cut_off", "unknown")
            assert strict.compat is None or 0.0 <= strict.compat <= 1.0


@pytest.mark.parametrize("name", RULES)
@given(completion=st.text())
def test_a_completion_cannot_choose_whether_the_scorer_fails(name, completion):
    assert grade(name, completion, [""], metadata=METADATA).validity == "scorer_failed"
    assert grade(name, completion, [], metadata=METADATA).value is None


@pytest.mark.parametrize("name", RULES)
def test_the_gold_answer_scores_one_and_nothing_scores_zero(name):
    assert graded(name, say(name)).value == 1.0
    empty = graded(name, "")
    assert (empty.value, empty.validity) == (0.0, "no_answer")
    assert graded(name, " \n\t ").value == 0.0


@pytest.mark.parametrize("name", RULES)
def test_white_space_around_the_gold_answer_changes_nothing(name):
    assert graded(name, f" \n{say(name)}\n\n ").value == 1.0


@pytest.mark.parametrize("name", WITH_COMPAT)
def test_the_authors_form_gives_full_marks_in_the_authors_format(name):
    text = OFFICIAL.get(name, say(name))
    assert graded(name, text, options=COMPAT).value == 1.0


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.enumeration == "0"])
def test_listing_every_candidate_earns_nothing(name):
    candidates = {
        "letter": "A, B, C, D",
        "numeric": "10, 11, 12, 13",
        "docmath": "20.1, 20.3, 20.5, 20.7",
    }.get(name, "Arnor, Karo, Belfalas, Eriador")
    assert graded(name, SAY.format(candidates)).value == 0.0
    assert graded(name, f"{SAY.format(candidates)} {SAY.format('x')}").value == 0.0


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.echo == "0"])
def test_echoing_the_question_earns_nothing(name):
    question = f"Which is it, {GOLDS[name]} or something else? Explain in a few words."
    assert graded(name, question).value == 0.0
    assert graded(name, SAY.format(question)).value == 0.0


@pytest.mark.parametrize("name", RULES)
def test_a_list_of_a_thousand_candidates_is_worth_little_to_any_rule(name):
    many = ", ".join([GOLDS[name], *(f"name{i}" for i in range(1000))])
    assert graded(name, SAY.format(many)).value < 0.05


@pytest.mark.parametrize("name", RULES)
def test_every_rule_finishes_on_a_megabyte(name):
    started = time.monotonic()
    for text in (
        "the answer is " * 80_000,
        "[[" * 500_000,
        "9" * 1_000_000,
        "aYoo" + "ab" * 500_000,
    ):
        assert 0.0 <= graded(name, text).value <= 1.0
    assert time.monotonic() - started < 60, "a cap is missing; the usual time is about a second"


@pytest.mark.parametrize(
    ("name", "completion", "targets", "value"),
    [
        ("corpusqa", "The answer is:\n- A College\n- B College", '["B College", "A College"]', 1.0),
        ("corpusqa", "The answer is:\n- A College\n- B College", '["A College"]', 0.0),
        ("corpusqa", 'The answer is:\n```json\n["A",\n "B"]\n```', '["A", "B"]', 1.0),
        ("corpusqa", "The answer is: Lima.\nThat is all I found.", "Lima", 1.0),
        ("ruler", "The answer is:\n1. 1234567\n2. 2345678\nDone.", ["1234567", "2345678"], 1.0),
        ("ruler", "the answer is 1234567,2345678", ["1234567", "2345678"], 1.0),
        ("cover_exact_match", "The answer is:\n```\nParis\n```", "Paris", 1.0),
    ],
)
def test_an_answer_may_be_a_list_over_lines_where_a_list_is_asked(name, completion, targets, value):
    golds = targets if isinstance(targets, list) else [targets]
    assert grade(name, completion, golds).value == value


@given(completion=st.text())
def test_an_unknown_kind_of_question_is_a_defect_of_the_record_whatever_is_said(completion):
    metadata = {"question_type": "nonsense"}
    given_ = grade("longmemeval", completion, ["Karo"], metadata=metadata)
    assert (given_.value, given_.validity) == (None, "scorer_failed")


def test_the_authors_form_is_kept_where_the_strict_one_finds_the_gold_malformed():
    strict = grade("letter", "The correct answer is (B)", ["BB"])
    assert (strict.value, strict.validity, strict.compat) == (None, "scorer_failed", 0.0)
    theirs = grade("letter", "The correct answer is (B)", ["BB"], options=COMPAT)
    assert (theirs.value, theirs.compat) == (0.0, 0.0)


def test_the_authors_form_sees_the_beginning_of_a_very_long_completion():
    text = "The correct answer is (B)" + "x" * 1_000_000 + "The correct answer is (C)"
    assert grade("letter", text, ["B"], options=COMPAT).value == 1.0


def test_a_reference_rule_that_nobody_knows_is_a_defect_of_the_record():
    given_ = grade("ruler", SAY.format("7"), ["7"], metadata={"reference_rule": "any"})
    assert given_.validity == "scorer_failed"
    assert "reference_rule must be all or part: got 'any'" in given_.explanation


@pytest.mark.parametrize(
    "gold",
    [
        "I think the answer is no.",
        "He wrote <think>now</think> on it",
        "a</think>b",
        "a <reasoning>b</reasoning> c",
        "[THINK] about it",
    ],
)
def test_a_gold_text_may_hold_what_marks_an_answer_or_thinking(gold):
    assert grade("sequence_ratio", gold, [gold]).value == 1.0
    prefixed = f"aYoo{gold}"
    assert grade("mrcr", prefixed, [prefixed], metadata=METADATA).value == 1.0


@pytest.mark.parametrize("reason", ["max_tokens", "model_length", "length"])
def test_what_was_cut_off_scores_nothing(reason):
    cut = graded("cover_exact_match", SAY.format("Karo"), stop=reason)
    assert (cut.value, cut.validity, cut.asked) == (0.0, "cut_off", None)


@pytest.mark.parametrize("name", RULES)
def test_many_gold_answers_cost_no_more_time_than_one(name):
    golds = [f"aYoo{i}" if name == "mrcr" else str(i) for i in range(10, 60)]
    golds = ["B"] * 50 if name == "letter" else golds
    started = time.process_time()
    for text in ("\u4e2d" * 199_000, "1," * 99_500, "the a " * 33_000, "\\boxed{" * 20_000):
        given_ = grade(name, SAY.format(text), golds, metadata=METADATA)
        assert given_.value is not None and given_.value < 0.05
    assert time.process_time() - started < 30, "a cap is missing; the usual time is a second or two"
