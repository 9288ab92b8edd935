"""Tokens: what is cut, what is kept, and that the ledger says so."""

from importlib.resources import files
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import ModelError, WindowError
from longspan.harness.tokens import (
    EstimatedTokens,
    TokenCounter,
    counter_for,
    load_tokenizer,
    truncate,
    window_of,
)
from tests.harness.words import WordTokens


class Characters(WordTokens):
    """Characters are tokens; decoding is verbatim."""

    def encode(self, text):
        return [ord(c) for c in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def count(self, text):
        return len(text)


def model(**api):
    return SimpleNamespace(api=SimpleNamespace(**api))


def test_an_estimate_counts_four_characters_as_a_token_rounded_up():
    assert [EstimatedTokens().count("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


@given(st.text())
def test_an_estimate_decodes_what_it_encoded_and_counts_what_it_encodes(text):
    counter = EstimatedTokens()
    ids = counter.encode(text)
    assert counter.decode(ids) == text
    assert counter.count(text) == len(ids)
    assert isinstance(counter, TokenCounter)


def test_the_middle_rule_by_hand():
    even = truncate("abcdefgh", 4, Characters())
    assert (even.text, even.kept_ranges) == ("abgh", ((0, 2), (6, 8)))
    odd = truncate("abcdefgh", 5, Characters())  # -5 // 2 == -3: the tail has one more
    assert (odd.text, odd.kept_ranges) == ("abfgh", ((0, 2), (5, 8)))
    assert (odd.tokens_before, odd.tokens_kept, odd.tokens_dropped) == (8, 5, 3)


def test_left_drops_the_beginning_and_right_the_end():
    assert truncate("abcdefgh", 3, Characters(), "left").text == "fgh"
    assert truncate("abcdefgh", 3, Characters(), "right").text == "abc"


def test_a_text_that_fits_is_untouched():
    cut = truncate("two  words", 2, WordTokens())
    assert (cut.text, cut.tokens_dropped, cut.kept_ranges) == ("two  words", 0, ((0, 10),))


@given(st.text(max_size=60), st.integers(1, 40), st.sampled_from(["middle", "left", "right"]))
def test_a_verbatim_cut_is_what_the_ranges_say_and_has_the_tokens_it_says(text, limit, side):
    cut = truncate(text, limit, Characters(), side)
    assert "".join(text[start:end] for start, end in cut.kept_ranges) == cut.text
    assert Characters().count(cut.text) == cut.tokens_kept <= limit
    assert cut.tokens_before == cut.tokens_kept + cut.tokens_dropped


@given(st.lists(st.sampled_from(["red", "blue", "x", "town"]), max_size=30), st.integers(1, 12))
def test_ranges_hold_the_kept_words_of_a_tokenizer_that_normalises(words, limit):
    text = "   ".join(words)
    cut = truncate(text, limit, WordTokens())
    kept = " ".join(text[start:end] for start, end in cut.kept_ranges).split()
    assert kept == cut.text.split()


def test_a_ledger_says_whether_a_span_survived():
    cut = truncate("abcdefgh", 4, Characters())
    assert cut.keeps(0, 2) and cut.keeps(6, 8)
    assert not cut.keeps(1, 3) and not cut.keeps(3, 5) and not cut.keeps(0, 8)
    assert cut.ledger() == {
        "tokens_before": 8,
        "tokens_kept": 4,
        "tokens_dropped": 4,
        "side": "middle",
        "kept_ranges": [[0, 2], [6, 8]],
    }


@pytest.mark.parametrize("limit", [0, -5])
def test_no_room_is_an_error(limit):
    with pytest.raises(WindowError, match="no room for the text"):
        truncate("abc", limit, Characters())


def test_the_models_own_counter_wins():
    own = WordTokens()
    assert counter_for(model(token_counter=own), tokenizer="not/there") is own
    assert counter_for(model()).name == "characters/4"
    assert not counter_for(model()).exact


def test_a_tokenizer_that_cannot_be_loaded_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="cannot load tokenizer"):
        counter_for(model(), tokenizer=str(tmp_path))


def test_the_window_is_known_only_where_the_provider_tells():
    assert window_of(model(window=256)) == 256
    assert window_of(model()) is None


def test_the_ranges_of_a_fast_tokenizer_that_normalises_hold_exactly_its_kept_tokens():
    counter = load_tokenizer(str(files("longspan.trainers") / "checkpoints" / "nano"))
    text = "Zanam.  Zanam's age is 20. Zanam's\nemployer is TupekCo. Gedrit's age is 31."
    ids = counter.encode(text)
    assert not text.startswith(counter.decode(ids[:6]))
    for limit in range(1, len(ids)):
        cut = truncate(text, limit, counter)
        kept = [text[start:end] for start, end in cut.kept_ranges]
        assert [i for part in kept for i in counter.encode(part)] == (
            ids[: limit // 2] + ids[len(ids) - (limit - limit // 2) :]
        )
