"""The full-context solver: one call, a declared cut, a question that survives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser

from longspan.agents.full_context import full_context
from longspan.harness.errors import SpecError
from longspan.harness.prompts import render_prompt
from tests.harness.words import WordTokens

LONG = " ".join(f"w{i}" for i in range(1000))
tokens = WordTokens().count


def echo(_: str) -> str:
    return "Therefore, the answer is 4."


def test_a_text_that_fits_is_shown_whole(run: Any, make_sample: Any) -> None:
    result = run(full_context(), make_sample("It was Ann."), echo, window=256)
    (call,) = result.calls
    assert call.prompt == render_prompt("It was Ann.", "Who won?", "End with the answer.")
    assert call.identity == {"sample": "s/1", "epoch": 1, "turn": 0}
    assert result.truncation["tokens_dropped"] == 0
    assert result.sample.output.completion == "Therefore, the answer is 4."


@pytest.mark.parametrize(
    ("side", "first", "last"), [("middle", 0, 999), ("left", None, 999), ("right", 0, None)]
)
def test_a_long_text_is_cut_on_the_declared_side(
    run: Any, make_sample: Any, side: Any, first: int | None, last: int | None
) -> None:
    result = run(full_context(truncation=side), make_sample(LONG), echo, window=256, max_tokens=32)
    words = re.findall(r"\bw\d+\b", result.calls[0].prompt)
    assert ("w0" in words) == (first == 0)
    assert ("w999" in words) == (last == 999)
    ledger = result.truncation
    assert ledger["side"] == side
    assert ledger["tokens_before"] == 1000
    assert ledger["tokens_kept"] == len(words)
    assert ledger["tokens_kept"] + ledger["tokens_dropped"] == 1000


@pytest.mark.parametrize("window", [80, 81, 100, 255, 256])
@pytest.mark.parametrize("limit", [None, 16, 10_000])
def test_prompt_and_output_fit_the_window_and_fill_it(
    run: Any, make_sample: Any, window: int, limit: int | None
) -> None:
    settings = {} if limit is None else {"max_tokens": limit}
    result = run(full_context(), make_sample(LONG), echo, window=window, **settings)
    (call,) = result.calls
    output = {None: window // 4, 16: 16, 10_000: window // 2}[limit]
    assert "Who won?" in call.prompt and "End with the answer." in call.prompt
    assert window - output - 16 <= tokens(call.prompt) <= window - output
    if limit is not None:
        assert tokens(call.prompt) + call.config.max_tokens <= window


def test_max_input_tokens_caps_the_prompt_of_a_model_without_a_known_window(
    run: Any, make_sample: Any
) -> None:
    result = run(full_context(max_input_tokens=100), make_sample(LONG), echo)
    assert 80 <= tokens(result.calls[0].prompt) <= 100
    assert run(full_context(), make_sample(LONG), echo).truncation["tokens_dropped"] == 0


def test_a_question_that_alone_exceeds_the_window_is_refused_in_one_line(
    run: Any, make_sample: Any
) -> None:
    sample = make_sample("short", question="why " * 400)
    result = run(full_context(), sample, echo, window=256)
    assert result.log.status == "error"
    assert "the question alone exceeds the window" in result.log.error.message
    assert result.calls == []


def test_a_plain_sample_is_asked_as_it_is(run: Any) -> None:
    messages = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="2+2?")]
    result = run(full_context(), Sample(id=7, input=messages), echo, window=256)
    (call,) = result.calls
    assert (call.prompt, len(call.messages)) == ("2+2?", 2)
    assert call.identity == {"sample": "7", "epoch": 1, "turn": 0}
    assert result.truncation["tokens_dropped"] == 0


def test_a_plain_sample_that_exceeds_the_window_is_refused(run: Any) -> None:
    result = run(full_context(), Sample(input=LONG), echo, window=256)
    assert "declares no context" in result.log.error.message


def test_an_empty_context_is_asked_about_all_the_same(run: Any, make_sample: Any) -> None:
    result = run(full_context(), make_sample({"text": ""}), echo, window=256)
    assert len(result.calls) == 1


@pytest.mark.parametrize(("place", "kept"), [(0, 1.0), (500, 0.0), (999, 1.0)])
def test_the_ledger_says_whether_evidence_survived(
    run: Any, make_sample: Any, place: int, kept: float
) -> None:
    quote = f"w{place}"
    text = LONG
    start = re.search(rf"\b{quote}\b", text).start()  # type: ignore[union-attr]
    span = {"document": "d", "start": start, "end": start + len(quote), "quote": quote}
    step = {"subject": "a", "relation": "b", "object": "c", "document": "d"}
    card = {"evidence": [span], "proof": {"type": "path", "steps": [step]}}
    sample = make_sample(text, passport=card)
    result = run(full_context(), sample, echo, window=256)
    assert result.truncation["evidence_kept"] == kept


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown truncation 'top'"):
        full_context(truncation="top")  # type: ignore[arg-type]
