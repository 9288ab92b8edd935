"""The retrieval baseline: what it shows fits, is relevant, and stands in order."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from longspan.agents.retrieval import bm25_scores, retrieval
from longspan.harness.errors import SpecError
from tests.harness.words import WordTokens

pytest.importorskip("bm25s")

FILLER = "The weather was mild and the harbour lay quiet. "
TEXT = FILLER * 60 + "Kukton's mayor is Tastal. " + FILLER * 60 + "Kukton lies by the sea. "
tokens = WordTokens().count


def answer(prompt: str) -> str:
    return f"Therefore, the answer is {'Tastal' if 'Tastal' in prompt else 'unknown'}."


def test_the_passage_with_the_questions_words_is_found(run: Any, make_sample: Any) -> None:
    sample = make_sample(TEXT, question="Who is the mayor of Kukton?")
    result = run(retrieval(passage_tokens=24, top_k=2), sample, answer, window=256, max_tokens=32)
    (call,) = result.calls
    assert result.sample.output.completion == "Therefore, the answer is Tastal."
    assert call.prompt.index("Tastal") < call.prompt.index("by the sea")
    assert result.sample.store["longspan:retrieval"]["num_shown"] == 2
    assert tokens(call.prompt) <= 256 - 32


@pytest.mark.parametrize("window", [96, 200, 1000])
def test_as_many_passages_as_fit_are_shown(run: Any, make_sample: Any, window: int) -> None:
    sample = make_sample(TEXT, question="Who is the mayor of Kukton?")
    result = run(retrieval(), sample, answer, window=window, max_tokens=24)
    size = tokens(result.calls[0].prompt)
    assert window // 3 < size <= window - 24


def test_scores_of_lucenes_formula_by_hand() -> None:
    """Idf = ln(1 + (N - n + .5) / (n + .5)); tf part = f / (f + 1.5 (1 - .75 + .75 l / mean l))."""
    import math

    found = bm25_scores(["mayor kukton", "harbour quiet", "harbour mayor"], "mayor of Kukton")
    idf = {1: math.log(1 + 2.5 / 1.5), 2: math.log(1 + 1.5 / 2.5)}
    tf = 1 / (1 + 1.5)
    assert found == pytest.approx([(idf[1] + idf[2]) * tf, 0.0, idf[2] * tf], rel=1e-5)


def test_a_question_without_a_known_word_shows_the_beginning(run: Any, make_sample: Any) -> None:
    assert bm25_scores(["a b", "c d"], "zzz") == [0.0, 0.0]
    assert bm25_scores(["a b"], "") == [0.0]
    assert bm25_scores(["", " "], "mayor") == [0.0, 0.0]
    result = run(retrieval(top_k=1), make_sample(TEXT, question="Zzz?"), answer, window=256)
    assert "weather" in result.calls[0].prompt


def test_an_empty_document_is_asked_all_the_same(run: Any, make_sample: Any) -> None:
    result = run(retrieval(), make_sample(" \n "), answer, window=256)
    assert result.log.status == "success" and len(result.calls) == 1


def test_the_share_of_evidence_that_is_shown_is_recorded(run: Any, make_sample: Any) -> None:
    fact = "Kukton's mayor is Tastal."
    quote = {"document": "d", "start": 0, "end": len(fact), "quote": fact}
    step = {"subject": "Kukton", "relation": "mayor", "object": "Tastal", "document": "d"}
    card = {"evidence": [quote], "proof": {"type": "path", "steps": [step]}}
    for question, kept in (("Who is Kukton's mayor?", 1.0), ("How was the weather?", 0.0)):
        sample = make_sample(TEXT, question=question, passport=card)
        result = run(retrieval(passage_tokens=24, top_k=1), sample, answer, window=256)
        assert result.sample.store["longspan:retrieval"]["evidence_kept"] == kept


def test_a_question_without_room_is_refused_in_one_line(run: Any, make_sample: Any) -> None:
    result = run(retrieval(), make_sample(TEXT, question="who " * 300), answer, window=256)
    assert "the question leaves no room for a passage" in result.log.error.message
    assert result.calls == []


@pytest.mark.parametrize("name", ["top_k", "passage_tokens"])
@pytest.mark.parametrize("value", [0, -1, "4", 4.0, True])
def test_sizes_that_are_none_are_one_line(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"^{name} must be a positive whole number: got .*; leave"):
        retrieval(**{name: value})


def test_a_missing_package_is_one_line(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(SpecError, match=r"pip install 'longspan\[retrieval\]'"):
        retrieval()
