"""Budgets: the paper's sizes at the paper's window, and never more than the window holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.agents.memory_budget import MemoryOptions, memory_budget
from longspan.agents.memory_format import (
    MemoryState,
    recipe_protocol,
    render_final,
    render_state,
    render_turn,
)
from longspan.agents.query import Query
from longspan.agents.room import SEAM_TOKENS, TEMPLATE_TOKENS, input_room, template_tokens
from longspan.harness.errors import WindowError
from tests.harness.words import WordTokens

PROTOCOL = recipe_protocol("question_first")


def query(question: str = "Who won?") -> Query:
    return Query(question, "End with the answer.", "", (), (), is_plain=False)


def test_the_papers_window_has_the_papers_sizes() -> None:
    budget = memory_budget(query(), MemoryOptions(), PROTOCOL, 131_072, 50_000, WordTokens())
    assert (budget.chunk_tokens, budget.memory_tokens) == (32_768, 15_360)
    assert budget.max_turn_tokens == budget.max_answer_tokens == 50_000


def test_a_small_window_is_half_chunk() -> None:
    budget = memory_budget(query(), MemoryOptions(), PROTOCOL, 2_048, None, WordTokens())
    assert (budget.chunk_tokens, budget.memory_tokens, budget.plan_tokens) == (1_024, 320, 80)


def test_an_unknown_window_has_the_papers_sizes_and_no_limits() -> None:
    budget = memory_budget(query(), MemoryOptions(), PROTOCOL, None, None, WordTokens())
    assert (budget.chunk_tokens, budget.memory_tokens) == (32_768, 15_360)
    assert budget.max_turn_tokens is None and budget.max_answer_tokens is None


@settings(max_examples=300, deadline=None)
@given(
    window=st.integers(1, 4_000),
    words=st.integers(1, 300),
    chunk=st.none() | st.integers(1, 4_000),
    memory=st.none() | st.integers(1, 4_000),
    limit=st.none() | st.integers(1, 5_000),
)
def test_whatever_is_not_refused_fits(
    window: int, words: int, chunk: int | None, memory: int | None, limit: int | None
) -> None:
    asked, counter = query("why " * words), WordTokens()
    options = MemoryOptions(chunk_tokens=chunk, memory_tokens=memory)
    try:
        budget = memory_budget(asked, options, PROTOCOL, window, limit, counter)
    except WindowError:
        return
    blank = MemoryState("", "")
    turn = counter.count(render_turn("", asked.question, blank))
    carried = budget.memory_tokens + budget.plan_tokens
    assert budget.max_turn_tokens is not None
    assert turn + carried + budget.chunk_tokens + budget.max_turn_tokens <= window
    assert budget.max_turn_tokens >= counter.count(render_state(blank)) + carried
    last = counter.count(render_final(asked.question, asked.instructions, blank))
    assert last + budget.memory_tokens + (budget.max_answer_tokens or 1) <= window
    assert chunk is None or budget.chunk_tokens == chunk
    assert memory is None or budget.memory_tokens == memory


def test_a_limit_for_turns_is_kept() -> None:
    options = MemoryOptions(max_turn_tokens=60)
    assert memory_budget(query(), options, PROTOCOL, 2_048, 900, WordTokens()).max_turn_tokens == 60


def test_an_answer_without_room_is_refused() -> None:
    asked = Query("Who?", "Write it so: " * 80, "", (), (), is_plain=False)
    with pytest.raises(WindowError, match="for the answer in the model's window of 256"):
        memory_budget(asked, MemoryOptions(), PROTOCOL, 256, None, WordTokens())


def test_the_room_for_input_is_what_the_output_leaves() -> None:
    assert input_room(256, 56) == 200
    assert input_room(256, None) == 192
    assert input_room(256, 9_999) == 128
    assert input_room(None, 100) is None


def test_a_template_that_can_be_seen_is_measured() -> None:
    class Tokenizer:
        chat_template = "x"

        def apply_chat_template(self, messages: object, **_: object) -> str:
            return "<sys> You are helpful </sys>"

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [0] * len(text.split())}

    counter = WordTokens()
    assert template_tokens(counter) == TEMPLATE_TOKENS + SEAM_TOKENS
    counter.tokenizer = Tokenizer()  # type: ignore[attr-defined]
    assert template_tokens(counter) == 5 + SEAM_TOKENS
