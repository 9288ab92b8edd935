"""`longspan/retention`: what a memory agent read, noted, kept and used, as metrics of a log.

To be appended to a log (`inspect score LOG --scorer longspan/retention --action append`). It is no
part of a task: a sample without a passport or a memory would lower the task's own coverage.
"""

from __future__ import annotations

import math

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from longspan.agents.memory import STORE_KEY
from longspan.agents.retention import SHARES


@scorer(metrics={"*": [mean()]}, name="retention")
def retention_scorer() -> Scorer:
    """Scorer that returns the shares of the evidence; not a number where there is none."""

    async def score(state: TaskState, target: Target) -> Score:
        record = state.store.get(STORE_KEY) or {}
        return Score(value={name: float(record.get(name, math.nan)) for name in SHARES})

    return score
