from pathlib import Path

import pytest

from longspan.harness.passport import EvidenceSpan
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.card import escape, render_card
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan


@pytest.fixture(scope="module")
def taskset(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    plan = {"splits": {"train": {200: 40}, "test": {200: 10, 400: 10}}}
    return synthesize(parse_plan(plan, "test"), tmp_path_factory.mktemp("card") / "s", quiet=True)


def card(taskset: TaskSet, **changes: object) -> str:
    return render_card({**taskset.manifest, **changes}, taskset.rows())


def test_every_kind_has_an_example_with_answer_and_evidence(taskset: TaskSet):
    text = card(taskset)
    for kind in {row.kind for row in taskset.rows()}:
        first = next(row for row in taskset.rows() if row.kind == kind)
        section = text.partition(f"### {kind}\n")[2].partition("\n##")[0]
        assert f"- Question: {escape(first.question)}" in section
        assert f"- Answer: {escape(first.target[0])}" in section
        assert f"“{escape(first.passport.evidence[0].quote)}”" in section


def test_the_letter_of_a_choice_is_told_in_words(taskset: TaskSet):
    choice = next(row for row in taskset.rows() if row.kind == "world_choice1")
    (letter,) = choice.target
    option = choice.passport.options["ABCD".index(letter)]
    assert f"- Answer: {letter} ({escape(option)})" in card(taskset)


def test_task_types_are_counted_by_length(taskset: TaskSet):
    rows = taskset.rows()
    text = card(taskset)
    assert "| task type | 200 | 400 | all |" in text
    short, long = (
        sum(row.task_type == "multi_hop" and row.target_tokens == n for row in rows)
        for n in (200, 400)
    )
    assert f"| multi hop | {short} | {long} | {short + long} |" in text
    assert "Splits: train 40, test 20" in text


def test_duplicates_contamination_and_cost_are_said(taskset: TaskSet):
    text = card(taskset)
    assert "no question with the same answer repeats another" in text
    assert "not compared with any benchmark" in text and "0 model calls" in text
    assert "No model took part" in text
    facts = {"against": [{"name": "bench", "num_questions": 3, "hash": "abc"}]}
    text = card(
        taskset,
        contamination=facts | {"matches_dropped": 2, "matches_kept": 1},
        cost={"model_calls": 5, "prompt_tokens": 70, "sampled_tokens": 9},
    )
    assert "compared with bench (3 questions, abc); 2 matches dropped, 1 kept" in text
    assert "Models were called 5 times" in text and "70 prompt tokens" in text


def test_what_markdown_and_html_would_read_is_shown_as_it_is():
    assert escape("a|b <script> & [x](y) *z* `c` _d_ e_f") == (
        r"a\|b &lt;script&gt; &amp; \[x\](y) \*z\* \`c\` \_d\_ e_f"
    )
    assert escape("one\ntwo\t three") == "one two three"


def test_long_texts_are_cut():
    assert escape("x" * 400) == "x" * 297 + "..."


def test_questions_and_quotes_cannot_break_the_card(taskset: TaskSet):
    evil = "# H\n\n| a | b |\n<img src=x> [l](http://x)"
    row = taskset.rows()[0]
    span = EvidenceSpan(document=row.documents[0], start=0, end=1, quote=evil)
    passport = row.passport.model_copy(update={"evidence": (span,), "options": ()})
    changed = row.model_copy(update={"question": evil, "target": (evil,), "passport": passport})
    text = render_card(taskset.manifest, [changed])
    assert "<img" not in text and "[l](" not in text
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Task set taskset"]


def test_the_file_is_the_card_of_its_manifest(taskset: TaskSet, tmp_path: Path):
    assert (taskset.folder / "card.md").read_text("utf-8") == card(taskset)
