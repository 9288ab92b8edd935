"""Length extension: evidence among other documents of its corpus, up to a target in tokens.

The length is never above the target, and short of it by at most the declared tolerance. Evidence
order and depth are drawn from the seed, within declared bounds. Distractors come from the same
corpus, whose graph has shown that the answer is unique: so none of them states another one. Those
that hold the answer's text can be left out, and those that are about the same things drawn first.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longspan.harness.datasets.documents import Document
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.lengths import Lengths
from longspan.synth_templates.shapes.draft import Draft, Rejected

MAX_MISFITS = 24
"""Documents in a row that do not fit before the context counts as full."""
MAX_SWAPS = 64
"""Exchanges of one distractor for another that are tried to come closer to the target."""
LOOSE_TOLERANCE = 0.03
"""Where no tolerance is asked for or can be kept, a corpus that is used up must come this close."""
SMALL_CORPUS = 20
"""A corpus of fewer tokens than this many contexts has too few documents to keep a tolerance."""


class Distractors(BaseModel):
    """How a context is filled, and where its evidence stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: float | None = Field(default=0.01, gt=0, lt=1)
    """By what share of the target a context may be short. None: as many documents as fit. Where a
    corpus holds less than 20 contexts, as close as its documents allow."""
    hard_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the room that goes first to documents about the same entities or relations."""
    may_hold_answer: bool = False
    """Whether a distractor may hold the answer's text. Numbers and options are not looked for."""
    order: Literal["random", "proof", "reversed"] = "random"
    """In what order the evidence documents stand."""
    depth: tuple[float, float] = (0.0, 1.0)
    """Between which depths (fractions of the documents) they stand."""

    @model_validator(mode="after")
    def _depths_are_ordered(self) -> Self:
        low, high = self.depth
        if not 0 <= low < high <= 1:
            raise ValueError(f"depth must be two fractions in order: got {low}, {high}")
        return self


@dataclass(frozen=True, slots=True)
class Context:
    """A context by reference.

    Attributes:
        documents: The documents in order.
        input_tokens: Tokens of the rendered context.
        depths: For each evidence document asked for, the fraction of tokens that stand before it.
    """

    documents: tuple[Document, ...]
    input_tokens: int
    depths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Filling:
    """What one context is filled from.

    Attributes:
        corpus: Where documents come from.
        lengths: Their lengths.
        target: Tokens asked for.
        options: How it is filled.
        rng: What is drawn with.
        evidence: Documents of the evidence.
        candidates: The evidence and what may stand beside it: sessions of a dialogue stand with
            nothing but sessions.
        holders: Documents that hold the answer's text.
        is_dialogue: Whether the evidence is sessions.
    """

    corpus: Corpus
    lengths: Lengths
    target: int
    options: Distractors
    rng: random.Random
    evidence: tuple[str, ...]
    candidates: Sequence[str]
    holders: frozenset[str]
    is_dialogue: bool

    @property
    def num_allowed(self) -> int:
        """Number of documents that a context may be made of."""
        sessions = self.corpus.sessions.place
        others = self.holders.difference(self.evidence)
        return len(self.candidates) - sum((n in sessions) == self.is_dialogue for n in others)

    @property
    def enough(self) -> float:
        """By how many tokens a context may be short before nothing more is looked for."""
        return self.target * (self.options.tolerance or 0)

    def is_full(self, total: int, num_documents: int) -> bool:
        """Whether a context is long enough: few documents need not fit, but must not run out."""
        short = (self.target - total) / self.target
        tolerance = self.options.tolerance
        if tolerance is None or self.lengths.total < SMALL_CORPUS * self.target:
            return short <= LOOSE_TOLERANCE or num_documents < self.num_allowed
        return short <= tolerance


def extend(
    draft: Draft,
    corpus: Corpus,
    target_tokens: int,
    counter: TokenCounter,
    rng: random.Random,
    options: Distractors,
) -> Context | Rejected:
    """Returns a context of `target_tokens` around a draft's evidence, or why there is none."""
    evidence = draft.documents
    secret = None if options.may_hold_answer else draft.secret
    is_dialogue = evidence[0] in corpus.sessions.place
    filling = _Filling(
        corpus,
        corpus.lengths(counter),
        target_tokens,
        options,
        rng,
        evidence,
        corpus.session_names if is_dialogue else corpus.page_names,
        corpus.words.holders(secret) if secret else frozenset(),
        is_dialogue,
    )
    used = sum(filling.lengths.sizes[name] for name in evidence)
    if used > target_tokens and filling.lengths.count(evidence) > target_tokens:
        return Rejected("evidence exceeds target length")
    chosen = _fill(filling, draft, target_tokens - used)
    order = _place(evidence, chosen, filling)
    total = filling.lengths.count(order)
    # Where a tokenizer merges across documents, the sum of their sizes is not exact.
    while total > target_tokens and chosen:
        chosen.pop()
        order = _place(evidence, chosen, filling)
        total = filling.lengths.count(order)
    if total > target_tokens:
        return Rejected("evidence exceeds target length")
    if not filling.is_full(total, len(order)):
        return Rejected("no documents that fill the target length")
    documents = tuple(corpus.by_id[name] for name in order)
    return Context(documents, total, filling.lengths.depths(evidence, order))


def _fill(filling: _Filling, draft: Draft, room: float) -> list[str]:
    """Returns distractors: hard ones first, then any, then exchanges that come closer."""
    taken = set(draft.documents)
    chosen: list[str] = []
    if filling.options.hard_share:
        allowed = set(filling.candidates)
        related = [name for name in filling.corpus.related(draft.proof) if name in allowed]
        hard_room = room * filling.options.hard_share
        chosen += _draw(filling, related, hard_room, taken)
        room -= sum(filling.lengths.sizes[name] for name in chosen)
    drawn = _draw(filling, filling.candidates, room, taken)
    room -= sum(filling.lengths.sizes[name] for name in drawn)
    chosen += drawn
    if filling.options.tolerance is not None:
        _come_closer(filling, chosen, taken, room)
    return chosen


def _draw(filling: _Filling, names: Sequence[str], room: float, taken: set[str]) -> list[str]:
    """Returns documents drawn without replacement while they fit; adds them to `taken`."""
    chosen: list[str] = []
    sizes, holders, enough = filling.lengths.sizes, filling.holders, filling.enough
    misfits = 0
    if room < enough:
        return chosen
    for name in _shuffled(names, filling.rng):
        if name in taken or name in holders:
            continue
        size = sizes[name]
        if size <= room:
            chosen.append(name)
            room -= size
            if room < enough:
                break
        else:
            misfits += 1
            if misfits >= MAX_MISFITS:
                break
    taken.update(chosen)
    return chosen


def _come_closer(filling: _Filling, chosen: list[str], taken: set[str], room: float) -> None:
    """Adds and exchanges distractors in place until the room left is within the tolerance.

    The last separator is not part of a context, so a room of zero is one separator short.
    """
    for _ in range(MAX_SWAPS):
        if room <= filling.enough:
            return
        added = _best_fit(filling, room, taken)
        if added is not None:
            chosen.append(added)
            taken.add(added)
            room -= filling.lengths.sizes[added]
            continue
        if not chosen:
            return
        place = filling.rng.randrange(len(chosen))
        freed = room + filling.lengths.sizes[chosen[place]]
        better = _best_fit(filling, freed, taken)
        if better is not None and freed - filling.lengths.sizes[better] < room:
            taken.remove(chosen[place])
            taken.add(better)
            chosen[place] = better
            room = freed - filling.lengths.sizes[better]


def _best_fit(filling: _Filling, room: float, taken: set[str]) -> str | None:
    """Returns the largest free document that fits, None where none of the nearest is free."""
    sizes, names = filling.lengths.ascending
    end = bisect_right(sizes, room)
    sessions = filling.corpus.sessions.place
    for name in reversed(names[max(0, end - MAX_MISFITS) : end]):
        is_alike = (name in sessions) == filling.is_dialogue
        if is_alike and name not in taken and name not in filling.holders:
            return name
    return None


def _shuffled(names: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Yields names in random order, drawing only as many as are asked for."""
    order = list(names)
    for i in range(len(order)):
        j = rng.randrange(i, len(order))
        order[i], order[j] = order[j], order[i]
        yield order[i]


def _place(evidence: Sequence[str], distractors: Sequence[str], filling: _Filling) -> list[str]:
    """Returns all documents with the evidence at random positions within the declared depths.

    Sessions of a dialogue stand in the order of time, whatever is declared.
    """
    if filling.is_dialogue:
        return sorted([*evidence, *distractors], key=filling.corpus.sessions.place.__getitem__)
    num = len(evidence) + len(distractors)
    low, high = filling.options.depth
    first = min(int(low * num), num - len(evidence))
    last = max(-(-int(high * num * 1000) // 1000), first + len(evidence))
    positions = filling.rng.sample(range(first, min(num, last)), len(evidence))
    if filling.options.order != "random":
        positions.sort(reverse=filling.options.order == "reversed")
    at = dict(zip(positions, evidence, strict=True))
    others = iter(distractors)
    return [at[i] if i in at else next(others) for i in range(num)]
