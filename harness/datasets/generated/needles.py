"""Needle tasks of RULER (Hsieh et al. 2024): values of keys, hidden in a haystack.

Eight variants differ in the haystack, in the kinds of key and value, and in how many there are.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from longspan.harness.datasets.generated.fitting import Draft
from longspan.harness.datasets.generated.haystack import (
    Haystack,
    Lines,
    Needle,
    Prose,
    draw_depths,
    noise,
)
from longspan.harness.datasets.generated.words import draw_compound
from longspan.harness.datasets.records import make_document

Kind = Literal["word", "number", "uuid"]

_NUMBERS = range(10**6, 10**7)  # seven digits


@dataclass(frozen=True)
class Variant:
    """What is hidden and what is asked."""

    haystack: Literal["noise", "essay", "needle"]
    """`needle`: every line gives a value of another key."""
    key: Kind = "word"
    value: Kind = "number"
    num_keys: int = 1
    num_values: int = 1
    """Values of each key."""
    num_queries: int = 1
    """Keys that are asked for."""

    @property
    def num_answers(self) -> int:
        """Returns how many values are asked for."""
        return self.num_queries * self.num_values


VARIANTS: dict[str, Variant] = {
    "niah_single_1": Variant("noise"),
    "niah_single_2": Variant("essay"),
    "niah_single_3": Variant("essay", value="uuid"),
    "niah_multikey_1": Variant("essay", num_keys=4),
    "niah_multikey_2": Variant("needle"),
    "niah_multikey_3": Variant("needle", key="uuid", value="uuid"),
    "niah_multivalue": Variant("essay", num_values=4),
    "niah_multiquery": Variant("essay", num_keys=4, num_queries=4),
}
"""The variants by the names that RULER gives them."""


def draft_needles(variant: Variant, prose: Prose | None, rng: random.Random) -> Draft:
    """Returns a sample of a variant.

    All needles stand at sentence boundaries at different ones of the 40 depths. (RULER draws depths
    in essays and lines in the other haystacks.) No two keys or values that are hidden are equal,
    and no line of the haystack has one of them.

    Args:
        variant: What to hide and to ask.
        prose: The essays, for variants that hide needles in them.
        rng: What is drawn from.
    """
    taken: set[str] = set()
    keys = [_draw(variant.key, rng, taken) for _ in range(variant.num_keys)]
    pairs = [
        (key, _draw(variant.value, rng, taken)) for key in keys for _ in range(variant.num_values)
    ]
    asked = rng.sample(keys, variant.num_queries)
    targets = tuple(value for key in asked for name, value in pairs if name == key)
    rng.shuffle(pairs)
    placed = list(zip(pairs, draw_depths(len(pairs), rng), strict=True))
    needles = [Needle(_sentence(variant, *pair), depth) for pair, depth in placed]
    depths = [depth for (key, _), depth in placed if key in asked]
    haystack = _haystack(variant, prose, random.Random(rng.getrandbits(64)), taken)
    return Draft(
        question=_question(variant, asked),
        targets=targets,
        build=lambda num_units: (make_document("", haystack.hide(needles, num_units)),),
        probe_units=haystack.probe_units,
        hops=1,
        extra={
            "num_needles": len(needles),
            "depths": depths,
            **({"depth": depths[0]} if len(depths) == 1 else {}),
        },
    )


def _haystack(
    variant: Variant, prose: Prose | None, rng: random.Random, taken: set[str]
) -> Haystack:
    if variant.haystack == "needle":
        return Lines(_distractors(variant, rng, frozenset(taken)))
    return prose if prose is not None and variant.haystack == "essay" else noise()


def _distractors(variant: Variant, rng: random.Random, taken: frozenset[str]) -> Iterator[str]:
    """Yields lines like the needle, with other keys and other values."""
    while True:
        key, value = (_draw(kind, rng, set(taken)) for kind in (variant.key, variant.value))
        yield _sentence(variant, key, value)


def _draw(kind: Kind, rng: random.Random, taken: set[str]) -> str:
    """Returns a text of the kind that is not taken yet, and takes it."""
    while True:
        if kind == "word":
            text = draw_compound(rng)
        elif kind == "number":
            text = str(rng.choice(_NUMBERS))
        else:
            text = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        if text not in taken:
            taken.add(text)
            return text


def _sentence(variant: Variant, key: str, value: str) -> str:
    return f"A special magic {variant.value} of {key} is {value}."


def _question(variant: Variant, asked: list[str]) -> str:
    kind = variant.value
    if variant.num_answers == 1:
        return (
            f"Somewhere the text gives a special magic {kind}; memorise it. "
            f"Which special magic {kind} belongs to {asked[0]}?"
        )
    *others, last = asked
    names = f"{', '.join(others)} and {last}" if others else last
    return (
        f"In several places the text gives a special magic {kind}; memorise them. "
        f"Name the {variant.num_answers} special magic {kind}s that belong to {names}."
    )
