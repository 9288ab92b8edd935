"""Inputs that declare nothing: their parts are found, or the last paragraph is asked."""

from __future__ import annotations

import time
from typing import Any

import pytest
from inspect_ai.dataset import Sample

from longspan.agents.decompose import last_paragraph, parts_by_model, parts_by_rule
from longspan.agents.memory import memory_agent
from tests.harness.words import WordTokens

DOCUMENT = "The harbour lay quiet. " * 200 + "Brem is the mayor of Kukton."
QUESTION = "Who is the mayor of Kukton?"
FORMAT = "Answer with one word."


@pytest.mark.parametrize(
    "text",
    [
        f"Read this.\n\n<text>\n{DOCUMENT}\n</text>\n\n{QUESTION}\n\n{FORMAT}",
        f"{QUESTION}\n\n{FORMAT}\n\n<document>\n{DOCUMENT}\n</document>\n",
        f"Context:\n{DOCUMENT}\n\nQuestion: {QUESTION}\n{FORMAT}",
        f"Answer from the article.\n\nArticle: {DOCUMENT}\n\n### Question: {QUESTION}\n\n{FORMAT}",
        f"Question: {QUESTION}\n{FORMAT}\n\nContext: {DOCUMENT}",
    ],
)
def test_known_forms_are_taken_apart(text: str) -> None:
    parts = parts_by_rule(text)
    assert parts is not None
    assert (parts.question, parts.instructions) == (QUESTION, FORMAT)
    assert text[parts.start : parts.end].strip() == DOCUMENT


def test_an_unknown_form_is_left_to_the_model() -> None:
    assert parts_by_rule(f"{DOCUMENT}\n\n{QUESTION}") is None


def test_a_label_within_the_document_is_not_taken_for_the_frame() -> None:
    half = "a b. " * 9000
    text = f"Context:\n{half}\nQuestion: is this one?\n{half}\nQuestion: {QUESTION}"
    parts = parts_by_rule(text)
    assert parts is not None and parts.question == QUESTION


def test_what_a_model_copies_is_cut_off_the_document() -> None:
    text = f"{DOCUMENT}\n\n{QUESTION}\n\n{FORMAT}"
    completion = f"<question>{QUESTION}</question>\n<instructions>{FORMAT}</instructions>"
    parts = parts_by_model(text, completion)
    assert parts is not None and text[parts.start : parts.end].strip() == DOCUMENT
    assert (parts.question, parts.instructions) == (QUESTION, FORMAT)
    other = parts_by_model(text, "<question>Who rules Kukton?</question>")
    assert other is not None and (other.start, other.end) == (0, len(text))


@pytest.mark.parametrize(
    "completion", ["", "Who?", "<question></question>", "<question>", "</question><question>x"]
)
def test_a_model_that_names_no_question_is_not_believed(completion: str) -> None:
    assert parts_by_model(DOCUMENT, completion) is None


def test_the_last_paragraph_is_asked_and_never_more_than_fits() -> None:
    parts = last_paragraph(f"{DOCUMENT}\n\n{QUESTION}\n", 50, WordTokens())
    assert parts.question == QUESTION
    endless = last_paragraph("+" * 5000, 50, WordTokens())
    assert 0 < WordTokens().count(endless.question) <= 50
    assert last_paragraph(DOCUMENT, 50, WordTokens()).question.endswith("mayor of Kukton.")


def test_hostile_inputs_take_no_time() -> None:
    for text in ("<text>\n" * 200_000, "\n" * 2_000_000, "#" * 2_000_000, "Question:" * 200_000):
        started = time.process_time()
        parts_by_rule(text)
        parts_by_model(text, text)
        assert time.process_time() - started < 2


def reader(prompt: str) -> str:
    if "<beginning>" in prompt:
        return f"<question>{QUESTION}</question><instructions>{FORMAT}</instructions>"
    if "<text>" in prompt:
        found = "Brem is the mayor of Kukton." in prompt
        kept = "Brem" in prompt.split("</memory>")[0]
        notes = "Brem is the mayor of Kukton." if found or kept else "empty"
        return f"<memory>{notes}</memory><plan>read on</plan>"
    return "Brem" if "Brem" in prompt else "unknown"


@pytest.mark.parametrize(
    ("text", "found_by", "extra_calls"),
    [
        (f"<text>\n{DOCUMENT}\n</text>\n\n{QUESTION}\n\n{FORMAT}", "rule", 0),
        (f"{DOCUMENT}\n\n{QUESTION}\n\n{FORMAT}", "model", 1),
    ],
)
def test_an_input_of_another_package_is_read_beyond_the_window(
    run: Any, text: str, found_by: str, extra_calls: int
) -> None:
    result = run(memory_agent(), Sample(input=text), reader, window=256)
    assert result.sample.output.completion == "Brem"
    assert result.cost["query_by"] == found_by
    assert len(result.calls) == result.memory["num_chunks"] + 1 + extra_calls
    assert FORMAT in result.calls[-1].prompt and FORMAT not in result.calls[-2].prompt


def test_a_model_that_says_nothing_is_asked_the_last_paragraph(run: Any) -> None:
    result = run(
        memory_agent(), Sample(input=f"{DOCUMENT}\n\n{QUESTION}"), lambda _: "", window=256
    )
    assert result.log.status == "success"
    assert result.cost["query_by"] == "last_paragraph"
    assert QUESTION in result.calls[-1].prompt
