"""Questions that repeat an earlier one: word for word, or nearly.

The measure is the Jaccard similarity of two questions' sets of word 3-grams, names included. From
0.8 on, the usual limit, a question is a near-duplicate whatever it names: "... of the founder of
Oslo?" after "... of the founder of Rome?" in a long question. Where both name the same, 0.7 is
enough: a difference in a number or an adjective alone.

The search is exact and needs no library, where MinHash estimates. Sets of similarity t share a
3-gram among the first n - ceil(t n) + 1 of each, in any fixed order (prefix filter; Chaudhuri et
al. 2006), and the places of the first shared one bound what they can share in all (positional
filter; Xiao et al. 2008). The order is by first appearance, the latest first, so that prefixes hold
names rather than wordings.

It knows wordings only: two wordings of one question that share few words are two questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longspan.synth_templates.curation.ngrams import names, ngrams, words

NEAR_PERCENT = 80
"""Similarity, in percent, from which two questions are near-duplicates."""
SAME_NAMES_PERCENT = 70
"""The same for questions that name the same."""

Distinct = Literal["near", "question", "answer"]
"""What two samples may not share: nearly the question, the question, or question and answer."""
REPEATED = "repeats a question"
NEAR = "near-duplicate question"
NEAR_OTHER_NAMES = "near-duplicate question, other names"
REASONS = (REPEATED, NEAR, NEAR_OTHER_NAMES)
"""Why a question is dropped as a duplicate."""


def count_duplicates(distinct: Distinct, yields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what the manifest says: the rule, and how many draws were dropped for which reason.

    Args:
        distinct: The rule.
        yields: Of a manifest: step -> {"rejected": {"kind: reason": number}}.
    """
    dropped: Counter[str] = Counter()
    for step in yields.values():
        for reason, num in step["rejected"].items():
            dropped[reason.partition(": ")[2]] += num
    return {"distinct": distinct, "dropped": {reason: dropped[reason] for reason in REASONS}}


@dataclass
class Asked:
    """The questions of a task set so far, over all kinds and splits.

    Attributes:
        distinct: What no two samples may share.
    """

    distinct: Distinct
    _keys: set[tuple[str, ...]] = field(default_factory=set)
    _whole: Questions = field(default_factory=lambda: Questions())
    _cores: Questions = field(default_factory=lambda: Questions())

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
class Questions:
    """Questions among which near-duplicates are found."""

    _all: NearIndex = field(default_factory=lambda: NearIndex(NEAR_PERCENT))
    _by_names: NearIndex = field(default_factory=lambda: NearIndex(SAME_NAMES_PERCENT))

    def nearest(self, question: str) -> str | None:
        """Returns a question of which this one is a near-duplicate, the most similar one."""
        found = self._all.nearest(question)
        return found if found is not None else self._by_names.nearest(question, names(question))

    def add(self, question: str) -> None:
        """Adds a question."""
        self._all.add(question)
        self._by_names.add(question, names(question))


@dataclass
class NearIndex:
    """Texts by their 3-grams, for finding near-duplicates exactly and one after the other.

    Attributes:
        percent: Jaccard similarity from which two texts are near-duplicates.
    """

    percent: int
    _numbers: dict[tuple[Hashable, str], int] = field(default_factory=dict)
    """3-gram in its scope -> number, by first appearance."""
    _texts: list[str] = field(default_factory=list)
    _sets: list[frozenset[int]] = field(default_factory=list)
    _postings: dict[int, dict[tuple[int, int], list[int]]] = field(default_factory=dict)
    """3-gram -> (size of the text's set, place of the 3-gram in its prefix) -> texts."""

    def nearest(self, text: str, scope: Hashable = None) -> str | None:
        """Returns the most similar near-duplicate of the same scope, of equals the first added.

        The result depends on the texts that were added, not on those that were only looked up.
        """
        ordered = self._ordered(text, scope)
        own, size = frozenset(ordered), len(ordered)
        best: tuple[int, int, int] | None = None  # shared, size of the union, text
        for place, gram in enumerate(ordered[: self._prefix(size)]):
            for (other_size, other_place), others in self._postings.get(gram, {}).items():
                most = min(size - place, other_size - other_place)
                if not self._is_near(most, size + other_size - most):
                    continue
                for other in others:
                    shared = len(own & self._sets[other])
                    match = (shared, size + other_size - shared, other)
                    if self._is_near(*match[:2]) and (best is None or _better(match, best)):
                        best = match
        return None if best is None else self._texts[best[2]]

    def add(self, text: str, scope: Hashable = None) -> None:
        """Adds a text to a scope; texts of different scopes have nothing in common."""
        ordered = self._ordered(text, scope)
        number = len(self._texts)
        self._texts.append(text)
        self._sets.append(frozenset(ordered))
        for place, gram in enumerate(ordered[: self._prefix(len(ordered))]):
            by_place = self._postings.setdefault(gram, {})
            by_place.setdefault((len(ordered), place), []).append(number)

    def _ordered(self, text: str, scope: Hashable) -> list[int]:
        grams = dict.fromkeys((scope, gram) for gram in ngrams(words(text)))
        numbers = [self._numbers.setdefault(gram, len(self._numbers)) for gram in grams]
        return sorted(numbers, reverse=True)

    def _prefix(self, size: int) -> int:
        """Returns how many 3-grams of a set must be compared: n - ceil(t n) + 1."""
        return size + -(size * self.percent) // 100 + 1 if size else 0

    def _is_near(self, shared: int, union: int) -> bool:
        return 100 * shared >= self.percent * union


def _better(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Returns whether a match is more similar, or as similar and earlier."""
    difference = one[0] * other[1] - other[0] * one[1]
    return difference > 0 or (difference == 0 and one[2] < other[2])
