"""difflib's ratio of two texts, MRCR's measure, in bounded time."""

from __future__ import annotations

import bisect
from difflib import SequenceMatcher

MAX_RATIO_WORK = 10_000_000
"""Character comparisons that one ratio may cost: a few seconds."""


def sequence_ratio(answer: str, gold: str, max_work: int = MAX_RATIO_WORK) -> float:
    """Returns `difflib.SequenceMatcher(None, answer, gold).ratio()`, the measure of MRCR.

    ratio = 2 M / (len(answer) + len(gold)), M the characters in matching blocks; difflib's
    treatment of frequent characters and the order of the arguments are part of the measure. Its
    worst case is cubic, so the search for blocks stops after `max_work` character comparisons; the
    blocks found until then count, so that a hostile text lowers its own score and nothing else.

    Raises:
        ValueError: the gold answer is empty.
    """
    if not gold:
        raise ValueError("gold answer is empty")
    if answer == gold:
        return 1.0
    matcher = SequenceMatcher(None, answer, gold)
    return 2.0 * _num_matching(matcher, answer, gold, max_work) / (len(answer) + len(gold))


def _num_matching(matcher: SequenceMatcher[str], answer: str, gold: str, max_work: int) -> int:
    """Returns the characters in matching blocks, found as `get_matching_blocks` finds them."""
    positions: dict[str, list[int]] = matcher.b2j  # type: ignore[attr-defined]
    work = [0]
    for character in answer:
        work.append(work[-1] + 1 + len(positions.get(character, ())))
    num_searched = bisect.bisect_right(work, max_work) - 1
    queue = [(0, num_searched, 0, len(gold))]
    num_matching = 0
    while queue:
        alo, ahi, blo, bhi = queue.pop()
        max_work -= work[ahi] - work[alo]
        if max_work < 0:
            break
        i, j, size = matcher.find_longest_match(alo, ahi, blo, bhi)
        if size:
            num_matching += size
            if alo < i and blo < j:
                queue.append((alo, i, blo, j))
            if i + size < ahi and j + size < bhi:
                queue.append((i + size, ahi, j + size, bhi))
    return num_matching
