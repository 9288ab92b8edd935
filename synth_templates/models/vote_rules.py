"""What votes mean: which samples a check drops, and whether recorded votes allow a sample.

Pure rules over recorded votes, so that `longspan check` can apply them again without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longspan.harness.passport import Vote, VoteCheck
from longspan.harness.taskset import SampleRow

PASS_VALUE = 0.5
"""Score in [0, 1] from which an answer passes; rules give 0 or 1, dense rewards what lies between.
"""
NO_VOTE = "no vote: the model failed"
DROPPED: dict[VoteCheck, str] = {
    "grounding": "answered without documents",
    "scarce": "answered from titles and one document",
    "robustness": "pass@k = 0",
}
"""Check -> why it drops a sample."""


def why_dropped(check: VoteCheck, votes: Sequence[Vote]) -> str | None:
    """Returns why the votes of a check drop a sample, None where they keep it."""
    given = [vote.verdict for vote in votes if vote.check == check and vote.verdict is not None]
    if not given:
        return NO_VOTE
    is_kept = any(given) if check == "robustness" else not any(given)
    return None if is_kept else DROPPED[check]


def check_votes(row: SampleRow, verification: Mapping[str, Any] | None) -> list[str]:
    """Returns which of a task set's checks a sample's recorded votes do not pass."""
    votes = row.passport.votes if row.passport else ()
    problems = []
    for check, facts in (verification or {}).get("checks", {}).items():
        cast = [vote for vote in votes if vote.check == check]
        reason = why_dropped(check, cast)
        if len(cast) != facts["attempts"]:
            problems.append(f"{len(cast)} votes of {check}, expected {facts['attempts']}")
        elif reason is not None:
            problems.append(f"{check}: {reason}")
    return problems
