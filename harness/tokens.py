"""Counting and cutting text in tokens: whose tokens they are, and what a cut left over.

Lengths are counted with the model's own tokenizer where it has one, with a named tokenizer where
the run gives one, and otherwise estimated; `TokenCounter.name` and `exact` say which, and go into
the log.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, cast, runtime_checkable

from inspect_ai.model import Model, get_model

from longspan.harness.errors import ModelError, WindowError

Side = Literal["middle", "left", "right"]
"""Which part a cut drops: the middle (of the paper), the beginning, or the end."""

TRUNCATION_KEY = "longspan:truncation"
"""Key under which a solver leaves its truncation ledger in `state.store`."""

CHARS_PER_TOKEN = 4
_CODE_POINT_BITS = 21


@runtime_checkable
class TokenCounter(Protocol):
    """A tokenizer, or what stands in for one."""

    name: str
    """Which tokenizer it is."""
    exact: bool
    """Whether counts are the model's own rather than an estimate."""

    def encode(self, text: str) -> list[int]:
        """Returns the token ids of a text, without special tokens added."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Returns the text of token ids, special tokens left out."""
        ...

    def count(self, text: str) -> int:
        """Returns the number of tokens of a text."""
        ...


@dataclass(frozen=True)
class Truncated:
    """A text after a cut, and the ledger of the cut."""

    text: str
    tokens_before: int
    tokens_kept: int
    tokens_dropped: int
    side: Side
    kept_ranges: tuple[tuple[int, int], ...]
    """[start, end) in the characters of the text before; exact to a token at the cut."""

    def ledger(self) -> dict[str, Any]:
        """Returns the record of the cut for a log: everything but the text."""
        record = asdict(self)
        del record["text"]
        record["kept_ranges"] = [list(kept) for kept in self.kept_ranges]
        return record

    def keeps(self, start: int, end: int) -> bool:
        """Returns whether the characters [start, end) of the text before are all still there."""
        return any(low <= start and end <= high for low, high in self.kept_ranges)


class EstimatedTokens:
    """Four characters count as a token: for models whose tokenizer is not known here.

    Four code points are packed into one id, so encoding loses nothing and a text can be cut with
    it.
    """

    name = f"characters/{CHARS_PER_TOKEN}"
    exact = False

    def encode(self, text: str) -> list[int]:
        """Returns one id for every four characters."""
        return [
            sum(
                (ord(character) + 1) << (_CODE_POINT_BITS * place)
                for place, character in enumerate(text[start : start + CHARS_PER_TOKEN])
            )
            for start in range(0, len(text), CHARS_PER_TOKEN)
        ]

    def decode(self, ids: list[int]) -> str:
        """Returns the text that was encoded."""
        characters: list[str] = []
        for packed in ids:
            while packed:
                characters.append(chr((packed & ((1 << _CODE_POINT_BITS) - 1)) - 1))
                packed >>= _CODE_POINT_BITS
        return "".join(characters)

    def count(self, text: str) -> int:
        """Returns a quarter of the characters, rounded up."""
        return -(-len(text) // CHARS_PER_TOKEN)


_CACHED_TEXTS, _CACHED_CHARS = 512, 16_384


class HubTokens:
    """A Hugging Face tokenizer (its code is never run: `trust_remote_code` is off)."""

    exact = True

    def __init__(self, tokenizer: Any, name: str) -> None:
        self.tokenizer = tokenizer
        self.name = name
        self._encode_short = functools.lru_cache(_CACHED_TEXTS)(self._encode)

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns how another process makes it: with nothing remembered."""
        return HubTokens, (self.tokenizer, self.name)

    def encode(self, text: str) -> list[int]:
        """Returns the token ids of a text, without special tokens added.

        Short texts are remembered: the rollouts of a sample ask for the same ones.
        """
        return list((self._encode_short if len(text) <= _CACHED_CHARS else self._encode)(text))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def decode(self, ids: list[int]) -> str:
        """Returns the text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def count(self, text: str) -> int:
        """Returns the number of tokens of a text."""
        return len(self.encode(text))

    def token_spans(self, text: str) -> list[tuple[int, int]] | None:
        """Returns the [start, end) characters of each token; None where the tokenizer cannot tell.

        Tokens that share one character (byte-level tokenizers) have the same span.
        """
        if not getattr(self.tokenizer, "is_fast", False):  # some backends lack the attribute
            return None
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [(start, end) for start, end in encoded["offset_mapping"]]


def counter_for(model: Model, tokenizer: str | None = None) -> TokenCounter:
    """Returns how to count for a model: its own counter, the named tokenizer, or the estimate.

    The model's own counter wins over a named tokenizer: it is what the window is measured in.

    Raises:
        ModelError: the named tokenizer cannot be loaded.
    """
    own = getattr(model.api, "token_counter", None)
    if own is not None:
        return cast(TokenCounter, own)
    return load_tokenizer(tokenizer) if tokenizer else EstimatedTokens()


_COUNTING: ContextVar[Callable[[], Model] | None] = ContextVar("longspan_counting", default=None)


@contextmanager
def counting_for(model: Callable[[], Model]) -> Iterator[None]:
    """Makes `active_counter` count for a model, which is made when something is to be counted.

    Tasks are made before Inspect knows their model, and a wrong task is found before a model.
    """
    token = _COUNTING.set(model)
    try:
        yield
    finally:
        _COUNTING.reset(token)


def active_counter(tokenizer: str | None = None) -> TokenCounter:
    """Returns how to count while a task is made: for the run's model, named, or by the estimate.

    `inspect eval` makes tasks when it has made the model already.

    Raises:
        ModelError: the named tokenizer cannot be loaded.
    """
    make = _COUNTING.get()
    if make is not None:
        return counter_for(make(), tokenizer)
    try:
        return counter_for(get_model(), tokenizer)
    except ValueError:  # no model is active
        return load_tokenizer(tokenizer) if tokenizer else EstimatedTokens()


@functools.lru_cache(maxsize=4)
def load_tokenizer(name: str) -> TokenCounter:
    """Returns the tokenizer of a folder or of a Hugging Face repository.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoTokenizer  # heavy; runs with our own models do not need it

    try:
        return HubTokens(AutoTokenizer.from_pretrained(name, trust_remote_code=False), name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"cannot load tokenizer {name}: {error}; give a folder or a repository with a tokenizer"
        ) from error


def window_of(model: Model) -> int | None:
    """Returns the model's window in tokens (prompt and output), None where it is not known."""
    window = getattr(model.api, "window", None)
    return int(window) if isinstance(window, int) else None


def truncate(text: str, max_tokens: int, counter: TokenCounter, side: Side = "middle") -> Truncated:
    """Returns the text cut to a number of tokens, and the ledger of the cut.

    Middle (Bai et al. 2024; reference code of QwenLong-L1): `ids[:M//2] + ids[-M//2:]`, decoded
    once; for odd M the tail has one token more, because `-M//2` rounds down. Encoding the result
    again may give a slightly different length, and a cut inside a character leaves a replacement
    character.

    Raises:
        WindowError: there is no room for even one token.
    """
    if max_tokens < 1:
        raise WindowError(
            f"no room for the text: {max_tokens} tokens are left; "
            "shorten the question or use a larger window"
        )
    ids = counter.encode(text)
    if len(ids) <= max_tokens:
        return Truncated(text, len(ids), len(ids), 0, side, ((0, len(text)),))
    num_head = {"middle": max_tokens // 2, "left": 0, "right": max_tokens}[side]
    num_tail = max_tokens - num_head
    tail_start = len(ids) - num_tail
    return Truncated(
        text=counter.decode(ids[:num_head] + ids[tail_start:]),
        tokens_before=len(ids),
        tokens_kept=max_tokens,
        tokens_dropped=len(ids) - max_tokens,
        side=side,
        kept_ranges=_kept_ranges(text, ids, num_head, tail_start, counter),
    )


def _kept_ranges(
    text: str, ids: list[int], num_head: int, tail_start: int, counter: TokenCounter
) -> tuple[tuple[int, int], ...]:
    cuts = [num for num in (num_head, tail_start) if 0 < num < len(ids)]
    sides = dict(zip(cuts, _sides_of_cuts(text, ids, cuts, counter), strict=True))
    ranges: list[tuple[int, int]] = []
    if num_head:
        ranges.append((0, sides[num_head][0]))
    if tail_start < len(ids):
        ranges.append((sides[tail_start][1], len(text)))
    return tuple(ranges)


def _sides_of_cuts(
    text: str, ids: list[int], cuts: list[int], counter: TokenCounter
) -> list[tuple[int, int]]:
    """Returns, for each cut, where the text before it ends and where the text after it begins.

    They differ only for a cut inside a character of several tokens, which is on neither side.
    Decoding says it where decoding is verbatim; else the tokenizer's offsets do (ours normalises
    text), and without them a search for the longest prefix with no more tokens.
    """
    decoded = [counter.decode(ids[:cut]) for cut in cuts]
    if all(text.startswith(prefix) for prefix in decoded):
        return [(len(prefix), len(prefix)) for prefix in decoded]
    spans = counter.token_spans(text) if isinstance(counter, HubTokens) else None
    if spans is None or len(spans) != len(ids):
        return [(end, end) for end in (_longest_prefix(text, cut, counter) for cut in cuts)]
    return [(spans[cut][0], max(spans[cut][0], spans[cut - 1][1])) for cut in cuts]


def _longest_prefix(text: str, num_tokens: int, counter: TokenCounter) -> int:
    """Returns the length of the longest prefix with at most so many tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if counter.count(text[:middle]) <= num_tokens:
            low = middle
        else:
            high = middle - 1
    return low
