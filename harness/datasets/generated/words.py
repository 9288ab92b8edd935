"""Words for keys, values and lists: compounds of an adjective and a noun ("stormy-lantern").

No word of `words.txt` is part of another one, so no compound is part of another compound: an
answer that is searched for as a substring is found only where it was given.
"""

from __future__ import annotations

import functools
import random
from importlib.resources import files

from longspan.harness.errors import DataError

_FILE = "words.txt"


@functools.cache
def adjectives() -> tuple[str, ...]:
    """Returns the adjectives, in alphabetical order."""
    return _read()["adjectives"]


@functools.cache
def nouns() -> tuple[str, ...]:
    """Returns the nouns, in alphabetical order."""
    return _read()["nouns"]


def num_compounds() -> int:
    """Returns how many different compounds there are."""
    return len(adjectives()) * len(nouns())


def draw_compound(rng: random.Random) -> str:
    """Returns one compound."""
    return _compound(rng.randrange(num_compounds()))


def draw_compounds(num: int, rng: random.Random) -> list[str]:
    """Returns `num` different compounds.

    Raises:
        DataError: there are not so many.
    """
    if num > num_compounds():
        raise DataError(
            f"there are {num_compounds()} compounds of an adjective and a noun: asked for {num}; "
            f"shorten the text or add words to {_FILE}"
        )
    return [_compound(number) for number in rng.sample(range(num_compounds()), num)]


def _compound(number: int) -> str:
    first, second = divmod(number, len(nouns()))
    return f"{adjectives()[first]}-{nouns()[second]}"


@functools.cache
def _read() -> dict[str, tuple[str, ...]]:
    text = (files("longspan.harness.datasets.generated") / _FILE).read_text(encoding="utf-8")
    sections = (section.split() for section in text.split("# ")[1:])
    return {name: tuple(words) for name, *words in sections}
