"""MemAgent's protocol: no plan, the whole problem at every turn, what is written is the memory."""

from __future__ import annotations

from typing import Any

import pytest

from longspan.agents.memory import memagent
from longspan.agents.memory_format import parse_memory

TEXT = "Brem won the cup. " + "The harbour lay quiet all day long. " * 60


def plain_writer(prompt: str) -> str:
    if "<text>" not in prompt:
        return "Therefore, the answer is Brem." if "Brem won" in prompt else "I do not know."
    kept = "Brem won." if "Brem" in prompt else "Nothing yet."
    return kept


def test_what_is_written_is_the_memory(run: Any, make_sample: Any) -> None:
    result = run(memagent(chunk_tokens=64), make_sample(TEXT), plain_writer, window=256)
    assert result.sample.output.completion == "Therefore, the answer is Brem."
    assert "<memory>\nBrem won.\n</memory>" in result.calls[1].prompt
    assert result.memory["num_malformed"] == 0
    assert result.memory["protocol"] == "memagent"
    assert result.memory["budget"]["plan_tokens"] == 0


def test_a_turn_holds_the_whole_problem_and_the_memory_before_the_text(
    run: Any, make_sample: Any
) -> None:
    result = run(memagent(chunk_tokens=64), make_sample(TEXT), plain_writer, window=256)
    for call in result.calls[:-1]:
        assert "Who won?" in call.prompt and "End with the answer." in call.prompt
        assert call.prompt.index("<memory>") < call.prompt.index("<text>")
        assert "<plan>" not in call.prompt


@pytest.mark.parametrize(
    ("completion", "memory"),
    [
        ("Brem won.", "Brem won."),
        ("<think>hm <memory></think>Brem won.", "Brem won."),
        ("<memory>\nBrem won.\n</memory><plan>go on</plan>", "Brem won."),
        ("<memory>old</memory> then <memory>new</memory>", "new"),
        ("a </text> b", "a   b"),
    ],
)
def test_the_memory_is_read_with_or_without_tags(completion: str, memory: str) -> None:
    state = parse_memory(completion)
    assert state is not None and state.memory == memory


@pytest.mark.parametrize("completion", ["", " \n ", "<think>only thought</think>"])
def test_a_blank_output_declares_no_memory(completion: str) -> None:
    assert parse_memory(completion) is None
