"""The map-reduce baseline: chunks at the same time, notes that fit, rounds that end."""

from __future__ import annotations

import re
from typing import Any

import pytest

from longspan.agents.map_reduce import map_reduce
from longspan.harness.errors import SpecError
from tests.harness.words import WordTokens

FILLER = "The weather was mild and the harbour lay quiet. "
TEXT = FILLER * 40 + "Kukton's mayor is Tastal. " + FILLER * 40
tokens = WordTokens().count


def note_taker(prompt: str) -> str:
    text = re.search(r"<text>\n(.*)\n</text>", prompt, re.DOTALL)
    if not text:
        return f"Therefore, the answer is {'Tastal' if 'Tastal' in prompt else 'unknown'}."
    found = [s for s in re.findall(r"[^.]+\.", text.group(1)) if "'s " in s]
    return f"<memory>{' '.join(found) or 'empty'}</memory><plan>none</plan>"


def wordy(prompt: str) -> str:
    if "<text>" not in prompt:
        return "Therefore, the answer is Tastal."
    return f"<memory>{'word ' * 200}</memory><plan>none</plan>"


def record(result: Any) -> dict[str, Any]:
    return dict(result.sample.store["longspan:map_reduce"])


def test_a_fact_of_any_chunk_reaches_the_answer(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=64), make_sample(TEXT), note_taker, window=256)
    assert result.sample.output.completion == "Therefore, the answer is Tastal."
    assert len(result.calls) == record(result)["num_chunks"] + 1 > 10
    assert record(result)["num_empty_notes"] == record(result)["num_chunks"] - 1
    shown = [re.search(r"<text>\n(.*)\n</text>", c.prompt, re.DOTALL) for c in result.calls[:-1]]
    assert tokens("".join(match.group(1) for match in shown if match)) == tokens(TEXT)


def test_chunks_are_noted_at_the_same_time(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=64), make_sample(TEXT), note_taker, window=256)
    assert result.cost["sequential_calls"] == 2
    assert all("<memory>\nempty\n</memory>" in call.prompt for call in result.calls[:-1])


def test_notes_that_do_not_fit_are_noted_again_until_they_do(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=64), make_sample(TEXT), wordy, window=256, max_tokens=32)
    assert record(result)["num_rounds"] > 1
    assert record(result)["num_final_cuts"] == 0
    assert tokens(result.calls[-1].prompt) <= 256 - 32


def test_an_empty_document_is_answered_from_nothing(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(), make_sample(" \n "), note_taker, window=256)
    assert len(result.calls) == 1 and record(result)["num_chunks"] == 0
    assert "<memory>\nempty\n</memory>" in result.calls[0].prompt


def test_a_model_that_says_nothing_is_counted(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(), make_sample(TEXT), lambda _: "", window=256)
    assert result.log.status == "success"
    assert record(result)["num_malformed"] == record(result)["num_chunks"]


def test_what_does_not_fit_is_refused_before_any_call(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=512), make_sample(TEXT), note_taker, window=256)
    assert "chunk_tokens must be below the model's window" in result.log.error.message
    assert result.calls == []
    with pytest.raises(SpecError, match="unknown layout"):
        map_reduce(layout="upside_down")  # type: ignore[arg-type]
