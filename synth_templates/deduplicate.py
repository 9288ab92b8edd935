"""Questions that repeat an earlier one: word for word, or nearly.

Two questions are near-duplicates when the Jaccard similarity of their sets of word 3-grams, names
included, is at least `MAX_PERCENT`. That lies below the 0.8 of published filters: those estimate it
by MinHash, whose estimates scatter by 0.04 (128 permutations), so what passes here passes theirs.

The search is exact and needs no library. Sets of similarity t share a 3-gram among the first
n - ceil(t n) + 1 of each, in any fixed order (prefix filter; Chaudhuri et al. 2006), and the places
of the first shared one bound what they can share in all (positional filter; Xiao et al. 2008). The
order is by first appearance, the latest first, so that prefixes hold names rather than wordings.

It knows wordings only: two wordings of one question that share few words are two questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from longspan.synth_templates.ngrams import names, ngrams, words

MAX_PERCENT = 70
"""Jaccard similarity, in percent, from which a question repeats another."""

Distinct = Literal["near", "question", "answer"]
"""What two samples may not share: nearly the question, the question, or question and answer."""
REPEATED = "repeats a question"
NEAR = "near-duplicate question"
NEAR_OTHER_NAMES = "near-duplicate question, other names"
REASONS = (REPEATED, NEAR, NEAR_OTHER_NAMES)
"""Why a question is dropped as a duplicate."""


@dataclass
class Asked:
    """The questions of a task set so far, over all kinds and splits.

    Attributes:
        distinct: What no two samples may share.
    """

    distinct: Distinct
    _keys: set[tuple[str, ...]] = field(default_factory=set)
    _whole: NearIndex = field(default_factory=lambda: NearIndex())
    _cores: NearIndex = field(default_factory=lambda: NearIndex())

    def repeats(self, question: str, target: str, core: str = "") -> str | None:
        """Returns why a question may not be asked any more, None where it may.

        Args:
            question: As it is asked.
            target: Its answer.
            core: A choice without its options, which is compared with other choices: the same
                question with other options is no new one.
        """
        if self._key(question, target) in self._keys:
            return REPEATED
        if self.distinct != "near":
            return None
        found = self._whole.nearest(question)
        asked = question
        if found is None and core:
            found, asked = self._cores.nearest(core), core
        if found is None:
            return None
        if words(found) == words(asked):
            return REPEATED
        return NEAR if names(found) == names(asked) else NEAR_OTHER_NAMES

    def add(self, question: str, target: str, core: str = "") -> None:
        """Adds a question that is asked."""
        self._keys.add(self._key(question, target))
        if self.distinct == "near":
            self._whole.add(question)
            if core:
                self._cores.add(core)

    def _key(self, question: str, target: str) -> tuple[str, ...]:
        return (question, target) if self.distinct == "answer" else words(question)


@dataclass
class NearIndex:
    """Texts by their 3-grams, for finding near-duplicates exactly and one after the other."""

    _numbers: dict[str, int] = field(default_factory=dict)
    """3-gram -> number, by first appearance."""
    _texts: list[str] = field(default_factory=list)
    _sets: list[frozenset[int]] = field(default_factory=list)
    _postings: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """3-gram -> (text, place of the 3-gram in the text's order) where it is in the prefix."""

    def nearest(self, text: str) -> str | None:
        """Returns the most similar text that is a near-duplicate, of several the first one added.

        The result depends on the texts that were added, not on those that were only looked up.
        """
        ordered = self._ordered(text)
        own, size = frozenset(ordered), len(ordered)
        visited: set[int] = set()
        best: tuple[int, int, int] | None = None  # shared, size of the union, text
        for place, gram in enumerate(ordered[: _prefix(size)]):
            for other, other_place in self._postings.get(gram, ()):
                if other in visited:
                    continue
                visited.add(other)
                other_size = len(self._sets[other])
                most = min(size - place, other_size - other_place)
                if not _is_near(most, size + other_size - most):
                    continue
                shared = len(own & self._sets[other])
                union = size + other_size - shared
                match = (shared, union, other)
                if _is_near(shared, union) and (best is None or _better(match, best)):
                    best = match
        return None if best is None else self._texts[best[2]]

    def add(self, text: str) -> None:
        """Adds a text."""
        ordered = self._ordered(text)
        number = len(self._texts)
        self._texts.append(text)
        self._sets.append(frozenset(ordered))
        for place, gram in enumerate(ordered[: _prefix(len(ordered))]):
            self._postings.setdefault(gram, []).append((number, place))

    def _ordered(self, text: str) -> list[int]:
        grams = dict.fromkeys(ngrams(words(text)))
        numbers = [self._numbers.setdefault(gram, len(self._numbers)) for gram in grams]
        return sorted(numbers, reverse=True)


def _prefix(size: int) -> int:
    """Returns how many 3-grams of a set of this size must be compared: n - ceil(t n) + 1."""
    return size + -(size * MAX_PERCENT) // 100 + 1 if size else 0


def _is_near(shared: int, union: int) -> bool:
    return 100 * shared >= MAX_PERCENT * union


def _better(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Returns whether a match is more similar, or as similar and earlier."""
    difference = one[0] * other[1] - other[0] * one[1]
    return difference > 0 or (difference == 0 and one[2] < other[2])
