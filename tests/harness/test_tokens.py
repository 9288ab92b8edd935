"""Tokens: what is cut, what is kept, and that the ledger says so."""

import functools
from importlib.resources import files
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from longspan.harness.errors import ModelError, WindowError
from longspan.harness.tokens import (
    EstimatedTokens,
    HubTokens,
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


@functools.cache
def bytes_tokenizer() -> HubTokens:
    """Every byte is a token, so that a character of several bytes can be cut in its middle."""
    vocab = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    backend = Tokenizer(BPE(vocab, []))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    return HubTokens(PreTrainedTokenizerFast(tokenizer_object=backend), "bytes")


@pytest.mark.parametrize(
    ("limit", "side", "ranges"),
    [
        (4, "middle", ((0, 1), (3, 4))),  # half of é and a quarter of 😀 are on neither side
        (5, "middle", ((0, 1), (3, 4))),
        (6, "middle", ((0, 2), (3, 4))),
        (3, "left", ((3, 4),)),
        (5, "left", ((2, 4),)),
        (2, "right", ((0, 1),)),
        (3, "right", ((0, 2),)),
    ],
)
def test_a_character_that_is_cut_in_its_middle_is_not_kept(limit, side, ranges):
    text = "aé😀b"  # 1 + 2 + 4 + 1 bytes
    assert truncate(text, limit, bytes_tokenizer(), side).kept_ranges == ranges


@given(st.text(min_size=1, max_size=30), st.data())
def test_kept_ranges_hold_exactly_the_characters_whose_bytes_are_all_kept(text, data):
    counter = bytes_tokenizer()
    num = counter.count(text)
    limit = data.draw(st.integers(1, num))
    side = data.draw(st.sampled_from(["middle", "left", "right"]))
    cut = truncate(text, limit, counter, side)
    head = {"middle": limit // 2, "left": 0, "right": limit}[side] if limit < num else num
    kept, position = set(), 0
    for place, character in enumerate(text):
        end = position + len(character.encode())
        if end <= head or position >= num - (limit - head):
            kept.add(place)
        position = end
    assert {i for start, end in cut.kept_ranges for i in range(start, end)} == kept


def test_without_offsets_the_ranges_are_searched_to_a_token():
    fast = load_tokenizer(str(files("longspan.trainers") / "checkpoints" / "nano"))
    text = "Zanam.  Zanam's age is 20. Zanam's\nemployer is TupekCo. Gedrit's age is 31."
    exact = truncate(text, 9, fast).kept_ranges
    slow = HubTokens(
        SimpleNamespace(encode=fast.tokenizer.encode, decode=fast.tokenizer.decode), ""
    )
    assert slow.token_spans(text) is None
    (_, head), (tail, end) = truncate(text, 9, slow).kept_ranges
    assert (end, fast.count(text[:head])) == (len(text), 4)
    assert abs(head - exact[0][1]) <= 1 and abs(tail - exact[1][0]) <= 1  # the space between words
    fast_but_odd = HubTokens(OddOffsets(fast.tokenizer), "")
    assert truncate(text, 9, fast_but_odd).kept_ranges == ((0, head), (tail, end))


class OddOffsets:
    """A tokenizer whose offsets do not match its ids."""

    is_fast = True

    def __init__(self, tokenizer):
        self.encode, self.decode = tokenizer.encode, tokenizer.decode

    def __call__(self, text, **options):
        return {"offset_mapping": [(0, len(text))]}
