"""Proposals in waves: each subject is asked about at most once a wave, and knows what it gave.

A subject is what questions are made from: a cluster of documents, some tables. Results do not
depend on which call is answered first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from longspan.harness.passport import Cost
from longspan.harness.taskset import Split
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.models.proposals import Accepted

MAX_HISTORY = 12
"""Confirmed questions that a model is shown, the last ones."""


@dataclass
class Subject:
    """What questions are made from, and the questions confirmed so far."""

    name: str
    history: list[str] = field(default_factory=list)
    """Subjects of which one question would do for all may share it."""


@dataclass
class ProposalReport:
    """What proposals gave and lost."""

    proposed: Counter[str] = field(default_factory=Counter)
    """Kind -> proposals asked for."""
    accepted: Counter[str] = field(default_factory=Counter)
    """Kind -> questions confirmed."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> proposals."""
    problems: Counter[str] = field(default_factory=Counter)
    """Kind of problem -> replies that did not fit."""
    cost: Cost = Cost()

    def facts(self) -> dict[str, Any]:
        """Returns what the manifest says."""
        return {
            "proposed": dict(sorted(self.proposed.items())),
            "accepted": dict(sorted(self.accepted.items())),
            "rejected": dict(sorted(self.rejected.items())),
            "unfit_replies": dict(sorted(self.problems.items())),
            "cost": self.cost.model_dump(),
        }


@dataclass(frozen=True)
class Asking:
    """What models are asked to make questions about.

    Attributes:
        corpora: Corpus of each split.
        wanted: Split -> kind -> number of questions.
        counter: Counts lengths.
        longest: Split -> tokens of its longest contexts.
        seed: Decides what is asked about first.
    """

    corpora: Mapping[Split, Corpus]
    wanted: Mapping[Split, Mapping[str, int]]
    counter: TokenCounter
    longest: Mapping[Split, int]
    seed: int

    def fits(self, split: Split, documents: Sequence[str]) -> bool:
        """Returns whether a context of a split has room for some documents."""
        sizes = self.corpora[split].lengths(self.counter).sizes
        return sum(sizes[name] for name in documents) <= self.longest[split]


Proposals = tuple[dict[Split, dict[str, list[Accepted]]], ProposalReport]
"""Confirmed questions by split and kind, and what became of all proposals."""
SubjectT = TypeVar("SubjectT", bound=Subject)
KindT = TypeVar("KindT", bound=KindBase)


async def in_waves(
    subjects: Sequence[SubjectT],
    kinds: Sequence[KindT],
    wanted: Mapping[str, int],
    rounds: int,
    propose: Callable[[SubjectT, KindT, int], Awaitable[Accepted | None]],
) -> dict[str, list[Accepted]]:
    """Returns confirmed questions by kind.

    Args:
        subjects: What is asked about.
        kinds: Kinds of question.
        wanted: Kind -> number of questions.
        rounds: Most waves.
        propose: Subject, kind and number of the wave -> a question, None if it was not confirmed.
    """
    found: dict[str, list[Accepted]] = {kind.name: [] for kind in kinds}
    if not subjects:
        return found
    for wave in range(rounds):
        owed = {kind.name: wanted[kind.name] - len(found[kind.name]) for kind in kinds}
        queue = _in_turn([kind for kind in kinds for _ in range(max(0, owed[kind.name]))])
        # Another subject is first in every wave, so that all have their turn.
        turned = [*subjects[wave % len(subjects) :], *subjects[: wave % len(subjects)]]
        jobs = list(zip(turned, queue, strict=False))
        if not jobs:
            break
        results = await asyncio.gather(*(propose(subject, kind, wave) for subject, kind in jobs))
        for (subject, kind), accepted in zip(jobs, results, strict=True):
            if accepted is not None:
                subject.history.append(accepted.proof.question)
                found[kind.name].append(accepted)
    return found


def _in_turn(kinds: Iterable[KindT]) -> list[KindT]:
    """Returns the kinds so that each comes as early as its number allows."""
    seen: Counter[str] = Counter()
    placed = []
    for kind in kinds:
        placed.append((seen[kind.name], kind))
        seen[kind.name] += 1
    return [kind for _, kind in sorted(placed, key=lambda pair: pair[0])]
