"""Chunks: budgets are kept to the token, nothing is lost, cuts fall where they should."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.agents.chunks import split_chunks
from longspan.harness.datasets.documents import (
    ContextText,
    Document,
    context_offsets,
    render_context,
)
from longspan.harness.errors import WindowError
from longspan.harness.tokens import EstimatedTokens
from tests.harness.words import WordTokens


class Pairs(WordTokens):
    """Equal letters merge into a token, so cutting between them adds one."""

    def count(self, text: str) -> int:
        return len(re.findall(r"([a-z])\1|\S|\s+", text))


def texts(text: str, max_tokens: int, starts: tuple[int, ...] = ()) -> list[str]:
    return [text[c.start : c.end] for c in split_chunks(text, max_tokens, WordTokens(), starts)]


def test_worked_example_of_sentences() -> None:
    text = "One two three. Four five. Six seven eight nine ten. Eleven."
    assert texts(text, 8) == ["One two three. Four five.", "Six seven eight nine ten. Eleven."]


def test_a_document_start_is_preferred_to_a_sentence() -> None:
    text = "Alpha\nOne two. Three four.\n\nBeta\nFive six. Seven."
    starts = (0, text.index("Beta"))
    assert texts(text, 9, starts) == ["Alpha\nOne two. Three four.", "Beta\nFive six. Seven."]
    assert texts(text, 11, starts)[0] == "Alpha\nOne two. Three four."


def test_a_document_start_that_leaves_the_chunk_mostly_empty_is_not() -> None:
    text = "A.\n\n" + "one two three four. " * 5
    assert texts(text, 12, (0, 4))[0] == "A.\n\none two three four. one two three four."


def test_a_long_sentence_is_cut_at_a_word_and_a_long_word_anywhere() -> None:
    assert texts("aa bb cc dd ee", 2) == ["aa bb", "cc dd", "ee"]
    line = "x" * 100
    chunks = split_chunks(line, 7, EstimatedTokens())
    assert [c.end - c.start for c in chunks] == [28, 28, 28, 16]


@pytest.mark.parametrize("text", ["", "   ", "\n\t\n"])
def test_white_space_has_no_chunks(text: str) -> None:
    assert split_chunks(text, 5, WordTokens()) == []


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(WindowError, match="chunk_tokens must be positive"):
        split_chunks("a", size, WordTokens())


def test_a_character_that_exceeds_a_chunk_is_refused() -> None:
    class Bytes(WordTokens):
        def count(self, text: str) -> int:
            return len(text.encode())

    with pytest.raises(WindowError, match="smaller than one character"):
        split_chunks("a\N{SNOWMAN}", 2, Bytes())


ALPHABET = "ab .\n!?\"'+é。 "


@pytest.mark.parametrize(
    "counter", [WordTokens(), Pairs(), EstimatedTokens()], ids=lambda c: type(c).__name__
)
@settings(max_examples=200, deadline=None)
@given(text=st.text(ALPHABET, max_size=400), size=st.integers(1, 40), data=st.data())
def test_chunks_keep_their_budget_and_lose_nothing(counter, text, size, data) -> None:  # type: ignore[no-untyped-def]
    starts = data.draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=5).map(sorted))
    chunks = split_chunks(text, size, counter, starts)
    position = 0
    for chunk in chunks:
        piece = text[chunk.start : chunk.end]
        assert piece and piece == piece.strip()
        assert text[position : chunk.start].strip() == ""
        assert counter.count(piece) == chunk.num_tokens <= size
        position = chunk.end
    assert text[position:].strip() == ""


def test_chunks_are_filled() -> None:
    text = "Word word word word word word word word word. " * 2000
    chunks = split_chunks(text, 500, WordTokens())
    assert len(chunks) <= 1.05 * WordTokens().count(text) / 500


@pytest.mark.parametrize("unit", [".", '."', "\n", " ", "a", "…)", "<memory>", "\r\n \r\n"])
def test_a_monotonous_document_is_cut_in_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit)) + "x"
    started = time.process_time()
    split_chunks(text, 30_000, EstimatedTokens())
    assert time.process_time() - started < 5


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="ab .\n", max_size=400), min_size=1, max_size=5),
    num_tokens=st.integers(1, 60),
)
def test_a_text_that_is_never_joined_is_cut_alike(texts: list[str], num_tokens: int) -> None:
    documents = [Document(id=str(i), title="T", text=text) for i, text in enumerate(texts)]
    starts = [start for start, _ in context_offsets(documents)]
    whole, apart = render_context(documents), ContextText(documents)
    assert split_chunks(apart, num_tokens, WordTokens(), starts) == split_chunks(
        whole, num_tokens, WordTokens(), starts
    )


@pytest.mark.parametrize("space", [3_000, 50_000])
def test_white_space_beyond_any_view_is_passed_over(space: int) -> None:
    text = " " * space + "one two." + "\n" * space + "three."
    chunks = split_chunks(text, 4, WordTokens())
    assert [text[c.start : c.end] for c in chunks] == ["one two.", "three."]
