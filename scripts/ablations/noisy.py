"""A task set whose rewards are wrong at times, for ablations under noise."""

from __future__ import annotations

import hashlib

from inspect_ai import Task, task, task_with
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from longspan.harness.resolve import registered_task


@task
def noisy(path: str, split: str, flipped: float) -> Task:
    """The task set of a folder; a share `flipped` (0 to 1) of rewards r is 1 - r instead."""
    clean = registered_task("longspan/taskset", path=path, split=split)
    assert clean.scorer is not None
    return task_with(clean, scorer=flip(clean.scorer[0], flipped))


@scorer(metrics=[mean()])
def flip(inner: Scorer, share: float) -> Scorer:
    """Turns a share of the scores around; which ones follows from sample, epoch and answer."""

    async def score(state: TaskState, target: Target) -> Score | None:
        result = await inner(state, target)
        if result is None or not unlucky(state, share):
            return result
        return result.model_copy(update={"value": 1.0 - result.as_float()})

    return score


def unlucky(state: TaskState, share: float) -> bool:
    """Whether this rollout's reward is turned around."""
    text = f"{state.sample_id} {state.epoch} {state.output.completion}"
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    return drawn < share
