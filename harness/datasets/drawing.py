"""Drawing from a pool without shuffling all of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def shuffled(pool: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Yields the pool in random order, drawing only as far as it is read (Fisher and Yates).

    The order is a function of the generator's state and the size of the pool.
    """
    moved: dict[int, int] = {}
    for place in range(len(pool)):
        other = rng.randrange(place, len(pool))
        yield pool[moved.get(other, other)]
        moved[other] = moved.get(place, place)
