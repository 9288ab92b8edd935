"""Counting tasks of RULER (Hsieh et al. 2024): the words that occur most often."""

from __future__ import annotations

import math
import random
import string

from longspan.harness.datasets.generated.fitting import Draft
from longspan.harness.datasets.generated.words import draw_compounds, num_compounds
from longspan.harness.datasets.records import make_document

NUM_COMMON = 10
"""Words asked for in `cwe`."""
_SHORT_TOKENS = 4_096
_REPEATS = (30, 3)
"""Occurrences of a common and of an uncommon word."""
_SHORT_REPEATS = (6, 1)
"""The same below 4,096 tokens."""
_ENTRY_TOKENS = 2  # at least: a number and a word

NUM_FREQUENT = 3
"""Words asked for in `fwe`."""
DOTS = "..."
"""The most frequent entry of `fwe`, which does not count."""
_CODED_CHARS = 6
_TOKENS_PER_CODED = 50
_MIN_CODED = NUM_FREQUENT + 2
_ZETA_2 = math.pi**2 / 6


def draft_common_words(length_tokens: int, rng: random.Random) -> Draft:
    """Returns a sample of common words extraction: a numbered list, and its ten common words.

    A common word occurs 30 times and any other one 3 times (below 4,096 tokens 6 times and once). A
    unit is an uncommon word. The words are compounds at every length, so that lengths differ in
    nothing else. (RULER changes to another list of words in long texts, and shows a solved example
    first.)
    """
    often, seldom = _REPEATS if length_tokens >= _SHORT_TOKENS else _SHORT_REPEATS
    most = max(1, length_tokens // (_ENTRY_TOKENS * seldom))
    words = draw_compounds(min(num_compounds(), NUM_COMMON + most), rng)
    common, uncommon = words[:NUM_COMMON], words[NUM_COMMON:]
    order = rng.getrandbits(64)

    def text(num_units: int) -> str:
        entries = common * often + uncommon[:num_units] * seldom
        random.Random(order).shuffle(entries)
        return " ".join(f"{number}. {word}" for number, word in enumerate(entries, 1))

    return Draft(
        question=(
            f"The text is a numbered list, in which {NUM_COMMON} words are repeated more often "
            f"than all the rest. Which {NUM_COMMON} words are they?"
        ),
        targets=tuple(common),
        build=lambda num_units: (make_document("", text(num_units)),),
        probe_units=100,
        max_units=len(uncommon),
        extra={"common_repeats": often, "uncommon_repeats": seldom},
    )


def draft_frequent_words(length_tokens: int, rng: random.Random) -> Draft:
    """Returns a sample of frequent words extraction: coded words of a Zeta distribution.

    The entry of rank k occurs floor(N k^-a / zeta(a)) times among N, a = 2 (Hsieh et al. 2024,
    section 3). Rank 1 are dots, which stand for noise; ranks 2 to 4 are asked for. A unit is one
    of N. For N >= 74 rank 4 is strictly more frequent than rank 5: the counts before rounding down
    differ by N (1/16 - 1/25) / zeta(2), which is then at least 1. There is one coded word for every
    50 tokens.
    """
    letters = string.ascii_lowercase
    words: dict[str, None] = {DOTS: None}
    while len(words) < max(_MIN_CODED, length_tokens // _TOKENS_PER_CODED):
        words["".join(rng.choices(letters, k=_CODED_CHARS))] = None
    ranked = list(words)
    order = rng.getrandbits(64)

    def text(num_units: int) -> str:
        entries: list[str] = []
        for rank, word in enumerate(ranked, 1):
            num_occurrences = int(num_units / (rank * rank * _ZETA_2))
            if num_occurrences == 0:
                break
            entries += [word] * num_occurrences
        random.Random(order).shuffle(entries)
        return " ".join(entries)

    return Draft(
        question=(
            "The text consists of coded words, and dots in between that mean nothing. "
            f"Which {NUM_FREQUENT} coded words occur most often?"
        ),
        targets=tuple(ranked[1 : 1 + NUM_FREQUENT]),
        build=lambda num_units: (make_document("", text(num_units)),),
        probe_units=200,
        min_units=math.ceil(_ZETA_2 / (1 / 16 - 1 / 25)),
        extra={"alpha": 2.0, "num_coded_words": len(ranked) - 1},
    )
