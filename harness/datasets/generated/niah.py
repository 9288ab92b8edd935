"""Needle in a haystack: one made-up fact, hidden at every depth of contexts of every length.

The grid of Kamradt's "pressure test", with facts that no model can know. Within a repeat every cell
asks for the same fact, so that cells differ in depth and length only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from longspan.harness.datasets.generated.fitting import Draft, DrawOptions, Room, fit, to_record
from longspan.harness.datasets.generated.haystack import Haystack, Needle, Prose, noise
from longspan.harness.datasets.generated.words import adjectives, nouns
from longspan.harness.datasets.records import Record, make_document
from longspan.harness.prompts import DEFAULT_INSTRUCTIONS
from longspan.harness.tokens import TokenCounter

INSTRUCTIONS = DEFAULT_INSTRUCTIONS
"""Format instructions; they are part of the length."""
ANSWER_TOKENS = 128

_ONSETS = tuple("B D F G K L M N P R S T V Z Br Dr Kr St Th".split())  # noqa: SIM905
_RIMES = tuple("al an ar el en er il in ir ol on or ul un ur".split())  # noqa: SIM905
_ENDINGS = tuple("avo eda igra omir ubet".split())  # noqa: SIM905


class NiahOptions(DrawOptions):
    """Which cells to generate."""

    lengths_tokens: tuple[Annotated[int, Field(ge=256)], ...] = Field(
        default=(1024, 2048, 4096), min_length=1
    )
    """Lengths in tokens: prompt, answer and chat template together."""
    num_depths: int = Field(default=11, ge=2)
    """Depths, evenly spaced from the beginning to the end."""
    depths: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None, min_length=1
    )
    """Depths as fractions in [0, 1], in place of evenly spaced ones."""
    num_repeats: int = Field(default=1, ge=1)
    """Samples of a cell, each with another fact."""


@dataclass(frozen=True)
class Fact:
    """Something that is true in the haystack only."""

    sentence: str
    question: str
    answer: str


_FACTS = (
    (
        "The lighthouse keeper of {place} hides the spare key under a {thing}.",
        "What does the lighthouse keeper of {place} hide the spare key under?",
    ),
    (
        "The winner of the rowing race at {place} is given a {thing}.",
        "What is the winner of the rowing race at {place} given?",
    ),
    (
        "On the coat of arms of {place} there is a {thing}.",
        "What is there on the coat of arms of {place}?",
    ),
    (
        "The town clock of {place} was paid for with a {thing}.",
        "What was the town clock of {place} paid for with?",
    ),
    (
        "The oldest inn of {place} is named after a {thing}.",
        "What is the oldest inn of {place} named after?",
    ),
)


def niah_records(
    options: NiahOptions, counter: TokenCounter, texts: Sequence[str] = ()
) -> list[Record]:
    """Returns one sample for every repeat, length and depth.

    Args:
        options: The grid.
        counter: Whose tokens the lengths are in.
        texts: What the needle is hidden in, repeated as needed; without texts a line of noise is.

    Raises:
        DataError: a length is too small, or the texts have no sentences.
    """
    haystack: Haystack = Prose(texts) if texts else noise()
    records: list[Record] = []
    for repeat in range(options.num_repeats):
        fact = make_fact(random.Random(f"{options.seed}/niah/{repeat}"))
        for length in options.lengths_tokens:
            room = Room(length, options.answer_tokens or ANSWER_TOKENS, options.overhead_tokens)
            guess = None
            for depth in _depths(options):
                draft = _draft(fact, haystack, depth)
                fitted = fit(draft, INSTRUCTIONS, room, counter, guess)
                if fitted is None:
                    raise room.too_small("niah", counter)
                guess = fitted.num_units
                facts = {
                    "repeat": repeat,
                    "depth": depth,
                    "length_tokens": length,
                    "answer_tokens": room.answer_tokens,
                    "tokenizer": counter.name,
                }
                records.append(to_record(draft, fitted, "niah", INSTRUCTIONS, facts))
    return records


def make_fact(rng: random.Random) -> Fact:
    """Returns a made-up fact about a made-up place."""
    place = rng.choice(_ONSETS) + rng.choice(_RIMES) + rng.choice(_ENDINGS)
    thing = f"{rng.choice(adjectives())} {rng.choice(nouns())}"
    sentence, question = rng.choice(_FACTS)
    return Fact(sentence.format(place=place, thing=thing), question.format(place=place), thing)


def _depths(options: NiahOptions) -> tuple[float, ...]:
    if options.depths is not None:
        return options.depths
    return tuple(place / (options.num_depths - 1) for place in range(options.num_depths))


def _draft(fact: Fact, haystack: Haystack, depth: float) -> Draft:
    needle = Needle(fact.sentence, depth)
    return Draft(
        question=fact.question,
        targets=(fact.answer,),
        build=lambda num_units: (make_document("", haystack.hide([needle], num_units)),),
        probe_units=haystack.probe_units,
        hops=1,
    )
