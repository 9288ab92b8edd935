from dataclasses import asdict

import pytest

from longspan.synth_templates.curation.benchmark_questions import Benchmark, BenchmarkQuestion
from longspan.synth_templates.curation.contamination import BenchmarkIndex, Match

QUESTION = "Who is the spouse of the director of The Glass Harbor?"


def index(question: str = QUESTION, *answers: str) -> BenchmarkIndex:
    asked = BenchmarkQuestion("bench", "q1", question, answers or ("Mira Sul",), "")
    return BenchmarkIndex([Benchmark("bench", (asked,))])


def decided(ours: str, answer: str, theirs: str = QUESTION, *answers: str) -> tuple[bool, str]:
    (match,) = index(theirs, *answers).matches(ours, [answer])
    return match.dropped, match.reason


def test_the_same_words_are_dropped_whatever_the_answer():
    assert decided(QUESTION.upper(), "Nobody") == (True, "the same question")


def test_thirteen_words_in_a_row_are_dropped():
    run = "the river that flows through the town where the poet Karo Bel was born"
    theirs = f"Which long and winding bridge of 1900 spans {run}?"
    ours = f"Name any of the many castles that stand on {run} and died?"
    assert decided(ours, "x", theirs) == (True, "13 words in a row are the same")
    shorter = ours.replace("was born", "was not").replace("the river that", "a river which")
    assert index(theirs).matches(shorter, ["x"]) in ([],) or not decided(shorter, "x", theirs)[0]


def test_the_same_wording_is_dropped_only_if_it_names_the_same():
    assert decided(f"According to the text, {QUESTION}", "x")[0]
    other = "Who is the spouse of the director of The Long Winter?"
    assert decided(other, "Mira Sul") == (False, "a similar wording, other names")


def test_a_similar_wording_is_dropped_with_the_same_answer_only():
    ours = "Who is the spouse of the producer of The Glass Harbor?"
    assert decided(ours, "Mira Sul") == (True, "a similar wording, the same answer")
    assert decided(ours, "Karo Bel") == (False, "a similar wording, another answer")


def test_another_wording_with_the_same_names_and_answer_is_dropped():
    ours = "To whom was the man married who made The Glass Harbor?"
    assert decided(ours, "the Mira  Sul.") == (
        True,
        "the same names and the same answer, other wording",
    )
    assert index().matches(ours, ["Karo Bel"]) == []


def test_what_shares_neither_words_nor_answer_is_no_match():
    assert index().matches("Which town did Karo Bel found?", ["Mira Sul"]) == []
    assert BenchmarkIndex([]).matches(QUESTION, ["Mira Sul"]) == []


def test_the_dropped_and_most_similar_matches_come_first_and_few_are_kept():
    asked = [
        BenchmarkQuestion(
            "b", str(i), f"Who is the spouse of the {what} The Glass Harbor?", (a,), ""
        )
        for i, (what, a) in enumerate(
            [("author of", "x"), ("director of", "x"), ("poet of", "y"), ("painter of", "x")]
        )
    ]
    found = BenchmarkIndex([Benchmark("b", tuple(asked))]).matches(QUESTION, ["y"])
    assert [(match.benchmark_id, match.dropped) for match in found] == [
        *(("1", True), ("2", True), ("0", False)),
    ]


def test_matches_come_back_from_json():
    (match,) = index().matches(QUESTION, ["x"], "s1")
    assert Match.from_record({**asdict(match), "answers": ["x"]}) == match


@pytest.mark.parametrize("answer", ["", "the", "?"])
def test_an_answer_without_words_agrees_with_none(answer: str):
    ours = "Who is the spouse of the producer of The Glass Harbor?"
    assert not decided(ours, answer, QUESTION, answer)[0]
