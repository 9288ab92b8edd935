"""Near-duplicate texts: MinHash and locality-sensitive hashing, then the exact similarity.

Similarity is Jaccard's over the sets of word n-grams ("shingles") without case. MinHash (Broder
1997) only proposes pairs; whether a pair counts is decided on 32-bit hashes of the shingles, which
are kept, so that no estimate leaves a document out. Words are runs of letters and digits; in
scripts that write no spaces, single characters.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from datasketch import MinHash

Hashes = npt.NDArray[np.uint32]

# Han, kana, Thai, Lao, Khmer and Myanmar write words without spaces.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
NUM_PERMUTATIONS = 128
MIN_RECALL = 0.98
"""Probability with which a pair just at the threshold is found."""
_BATCH = 1 << 14
"""Shingles hashed at once: what bounds memory for a long text."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class NearDuplicates:
    """Texts that were added, and whether a new one nearly repeats one of them."""

    def __init__(self, threshold: float, words: int = 5, seed: int = 1) -> None:
        """Prepares an empty index.

        Args:
            threshold: Similarity in (0, 1] from which texts are near-duplicates.
            words: Words in a shingle.
            seed: Seed of the permutations.
        """
        from datasketch import MinHash, MinHashLSH  # slow: it imports scipy

        self.threshold, self.words = threshold, words
        self._empty = MinHash(NUM_PERMUTATIONS, seed=seed, hashfunc=int, scheme="affine32")
        self._index = MinHashLSH(num_perm=NUM_PERMUTATIONS, params=bands(threshold))
        self._added: list[tuple[str, Hashes]] = []

    def add(self, name: str, text: str) -> str | None:
        """Returns the first text that this one nearly repeats; adds it where there is none."""
        shingles = shingle_hashes(text, self.words)
        if not len(shingles):
            return None
        sketch: MinHash = self._empty.copy()
        for start in range(0, len(shingles), _BATCH):
            sketch.update_batch(shingles[start : start + _BATCH].tolist())
        proposed: list[int] = sorted(self._index.query(sketch))
        for place in proposed:
            earlier, found = self._added[place]
            if jaccard(found, shingles) >= self.threshold:
                return earlier
        self._index.insert(len(self._added), sketch, check_duplication=False)
        self._added.append((name, shingles))
        return None


def bands(threshold: float) -> tuple[int, int]:
    """Returns numbers of bands and of rows in each: the most rows that find enough pairs.

    A pair of similarity s agrees in one of b bands of r rows with probability 1 - (1 - s^r)^b
    (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4).
    """
    for rows in range(NUM_PERMUTATIONS // 2, 1, -1):
        num_bands = NUM_PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** num_bands >= MIN_RECALL:
            return num_bands, rows
    return NUM_PERMUTATIONS, 1


def shingle_hashes(text: str, words: int) -> Hashes:
    """Returns the distinct hashes of a text's shingles in rising order; fewer words are one."""
    found = _WORD.findall(text.casefold())
    hashed = np.fromiter(map(zlib.crc32, map(str.encode, found)), np.uint64, len(found))
    size = min(words, len(hashed))
    mixed = np.zeros(len(hashed) - size + 1 if size else 0, np.uint64)
    for place in range(size):
        # Multiplied after each word, so that order counts and the last word reaches the high bits.
        mixed = (mixed + hashed[place : place + len(mixed)]) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


def jaccard(first: Hashes, second: Hashes) -> float:
    """Returns the similarity in [0, 1] of two sets in rising order; of two empty ones 1."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - common
    return common / union if union else 1.0
