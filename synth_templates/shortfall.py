"""Why a plan came short, and what can be done about it.

Draws are rejected at one of several steps, and the remedy follows from the step. Kinds that find
nothing in the documents say little where others get further: a folder of tables has no questions
about source code, whatever is wrong with its tables. So each kind has its most frequent reason, and
the cause is the most frequent of these, those aside of kinds that find nothing where there are any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from longspan.harness.errors import SynthesisError
from longspan.harness.taskset import SPLITS
from longspan.synth_templates.curation.deduplicate import REASONS

_OTHER_DOCUMENTS = "give more documents or other ones, or choose other kinds in the plan (kinds)"
_REMEDIES = {
    "no documents that fill the target length": (
        "lower the target length (--tokens) or give more documents"
    ),
    "evidence exceeds target length": "raise the target length (--tokens)",
    "statement used too often": (
        "give more documents, ask for fewer samples or raise max_statement_uses in the plan"
    ),
    **dict.fromkeys(REASONS, "give more documents or ask for fewer samples (--num-samples)"),
    "in ": "give documents that the benchmarks do not use, or change decontaminate in the plan",
    "answer in question": "reword the kind (question), so that it does not tell its answer",
    "query refused": "correct the query of the kind (sql)",
    "verification": "correct the kind: what it draws does not stand its own check",
    "no confirmed proposal": (
        "give more documents, raise rounds in the plan (evolve, queries), or ask other models"
    ),
}
"""How a reason begins -> what to do about it."""


def explain(rejected: Mapping[str, int]) -> str:
    """Returns the main reason of rejected draws, how often it was met, and what to do about it.

    Args:
        rejected: "kind: reason" -> number of draws.
    """
    by_kind: dict[str, Counter[str]] = {}
    for label, num in rejected.items():
        kind, _, reason = label.partition(": ")
        by_kind.setdefault(kind, Counter())[reason] += num
    if not by_kind:
        return f"nothing was drawn; {_OTHER_DOCUMENTS}"
    counts = sum(by_kind.values(), Counter[str]())
    causes = {reasons.most_common(1)[0][0] for reasons in by_kind.values()}
    causes = {reason for reason in causes if _remedy(reason)} or causes
    cause = max(sorted(causes), key=counts.__getitem__)
    remedy = _remedy(cause) or _OTHER_DOCUMENTS
    return f"{counts[cause]} of {counts.total()} draws: {cause}; {remedy}"


def empty_splits(yields: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns a line for each split that samples are asked for and that has none.

    Args:
        yields: "split/length" -> what it gave: `wanted`, `accepted`, `rejected`.

    Raises:
        SynthesisError: all are empty.
    """
    rejected: dict[str, Counter[str]] = {}
    for split in SPLITS:
        parts = [facts for label, facts in yields.items() if label.startswith(f"{split}/")]
        if any(part["wanted"] for part in parts) and not any(part["accepted"] for part in parts):
            rejected[split] = sum((Counter(part["rejected"]) for part in parts), Counter[str]())
    if not any(facts["accepted"] for facts in yields.values()):
        every = sum(rejected.values(), Counter[str]())
        raise SynthesisError(f"no sample could be built: {explain(every)}")
    return [
        f"no sample could be built for split {split}: {explain(counts)}; or give its documents to "
        "the other splits (source.shares in a plan)"
        for split, counts in rejected.items()
    ]


def _remedy(reason: str) -> str | None:
    """Returns the remedy of a reason, None for a kind that found nothing to ask."""
    return next((text for start, text in _REMEDIES.items() if reason.startswith(start)), None)
