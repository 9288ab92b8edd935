"""A finished Inspect sample -> a rollout: its turns, its reward, how it ended.

Rules kept here: only the policy's own calls are turns (calls of a model role, and calls made while
scoring, are not); a score that is missing, unreadable or not a number is no reward rather than 0.
This module does not run anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inspect_ai import Task, TaskSource
from inspect_ai.event import Event, ModelEvent, SpanBeginEvent
from inspect_ai.log import EvalSample
from inspect_ai.scorer import Score, value_to_float
from inspect_ai.util import registry_info

from longspan.harness.errors import RecipeError, one_line
from longspan.harness.rollout import Call, Rollout, Turn, pop_call
from longspan.harness.scoring.validity import (
    VALIDITIES,
    Validity,
    is_scored,
    stop_reason_of,
    validity_of,
)

NAME_KEY = "longspan_batch_name"
"""Key of `Task.metadata` with a task's name in its batch: Inspect hands out copies of tasks."""

_WORDS = frozenset({"C", "I", "P", "N", "yes", "no", "true", "false"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sample is worth: a reward, or the reason why there is none."""

    reward: float | None
    validity: Validity
    error: str | None = None
    not_finite: bool = False
    """Whether there is no reward because the scorer returned nan or an infinity without a reason.
    Inspect's `Score.unscored(reason=...)` is nan, too, but said so."""


class Collector(TaskSource):
    """Turns samples into rollouts as they finish; Inspect keeps none of them.

    Args:
        tasks: The tasks to run by name, each with its name in `metadata[NAME_KEY]`.
        reward_keys: Which score is the reward, by task name; see `choose_value`.
    """

    def __init__(self, tasks: Mapping[str, Task], reward_keys: Mapping[str, str]) -> None:
        self.rollouts: list[Rollout] = []
        self.error: Exception | None = None
        self._tasks = tasks
        self._groups = {name: default_group(name, task) for name, task in tasks.items()}
        self._reward_keys = reward_keys

    def initial_tasks(self) -> list[Task]:
        """Returns the tasks of the batch."""
        return list(self._tasks.values())

    async def sample_complete(self, sample: EvalSample, task: Task) -> None:
        """Keeps the rollout of a finished sample; an exception is kept for the caller."""
        name = (task.metadata or {})[NAME_KEY]
        try:
            rollout = to_rollout(sample, name, self._groups[name], self._reward_keys.get(name))
            self.rollouts.append(rollout)
        except Exception as error:
            # Raised here it would end as a line in a log; `rollouts` raises it to the caller.
            self.error = self.error or error


def to_rollout(
    sample: EvalSample, task: str, default_group: str, reward_key: str | None = None
) -> Rollout:
    """Returns the rollout that a finished sample was, taking its calls out of the side table.

    Args:
        sample: The sample, with its events.
        task: Name of the task for the record.
        default_group: Advantage group of samples that name none.
        reward_key: Which score is the reward, for tasks with several; see `choose_value`.

    Raises:
        RecipeError: the scores do not tell which of them is the reward.
    """
    calls = pop_policy_calls(sample.events)
    outcome = sample_outcome(sample, reward_key, task)
    metadata = sample.metadata or {}
    return Rollout(
        task=task,
        task_type=metadata.get("task_type"),
        advantage_group=metadata.get("advantage_group") or default_group,
        sample_id=str(sample.id),
        epoch=sample.epoch,
        turns=tuple(Turn.from_call(call) for call in calls),
        reward=outcome.reward,
        validity=outcome.validity,
        policy_version=min((call.policy_version for call in calls), default=0),
        seconds=sample.total_time or 0.0,
        prompt_tokens=sum(len(call.prompt_ids) for call in calls),
        sampled_tokens=sum(len(call.token_ids) for call in calls),
        error=outcome.error,
        role_tokens={role: usage.total_tokens for role, usage in (sample.role_usage or {}).items()},
        not_finite=outcome.not_finite,
    )


def pop_policy_calls(events: Iterable[Event]) -> list[Call]:
    """Returns the policy's recorded calls in order; every call of the sample leaves the table."""
    scoring: set[str] = set()
    calls = []
    for event in events:
        if isinstance(event, SpanBeginEvent):
            if event.type == "scorer" or event.parent_id in scoring:
                scoring.add(event.id)
        elif isinstance(event, ModelEvent):
            call = pop_call(event.output.metadata)
            if call is not None and event.role is None and event.span_id not in scoring:
                calls.append(call)
    return calls


def sample_outcome(
    sample: EvalSample, reward_key: str | None = None, task: str = "task"
) -> Outcome:
    """Returns the reward of a finished sample and how it ended.

    Raises:
        RecipeError: the scores do not tell which of them is the reward.
    """
    if sample.error is not None:
        return Outcome(None, _who_failed(sample.events), one_line(sample.error.message, 300))
    if not sample.scores:
        return Outcome(None, "scorer_failed", "the scorer returned no score")
    value, score = choose_value(sample.scores, reward_key, task)
    validity = _declared_validity(score)
    if validity is not None and not is_scored(validity):
        return Outcome(None, validity, one_line(score.explanation or f"score says {validity}", 300))
    reward = read_value(value)
    if reward is None:
        failed: Validity = "judge_failed" if score.reason == "grader_failed" else "scorer_failed"
        error = one_line(f"score has no number: {value!r}", 300)
        return Outcome(None, failed, error, score.reason is None and _is_not_finite(value))
    if validity is None:
        validity = validity_of(stop_reason_of(sample.output), bool(score.answer or reward))
    return Outcome(reward, validity)


def default_group(name: str, task: Task) -> str:
    """Returns the advantage group of a task's samples that name none: "<task>/<scorer>"."""
    scorers = task.scorer or []
    return f"{name}/{registry_info(scorers[0]).name.split('/')[-1]}" if scorers else name


def choose_value(
    scores: Mapping[str, Score], key: str | None, task: str = "task"
) -> tuple[Any, Score]:
    """Returns the value that is the reward, and the score that holds it.

    A task with one scorer and a plain value needs no key. Otherwise the key is a scorer's name, a
    key of a scorer's dictionary, or "scorer/key".

    Raises:
        RecipeError: several values and no key, or a key that no score has.
    """
    values: dict[str, tuple[Any, Score]] = {}
    for name, score in scores.items():
        if isinstance(score.value, Mapping):
            values |= {f"{name}/{part}": (value, score) for part, value in score.value.items()}
        else:
            values[name] = (score.value, score)
    if key is None and len(values) == 1:
        return next(iter(values.values()))
    chosen = [name for name in values if key is not None and key in (name, name.split("/")[-1])]
    if len(chosen) != 1:
        raise RecipeError(
            f"reward of {task} is not one of its scores: got {key!r}; "
            f"name one of {sorted(values)} as its reward key"
        )
    return values[chosen[0]]


def read_value(value: Any) -> float | None:
    """Returns a score's value as a number (C and yes 1, P 0.5, I, N and no 0), None if it is none.

    Inspect's `value_to_float` turns what it cannot read into 0.0; that would be a reward.
    """
    if isinstance(value, str) and value not in _WORDS and value.lower() not in _WORDS:
        try:
            number = float(value)
        except ValueError:
            return None
    elif isinstance(value, str | int | float):
        number = value_to_float()(value)
    else:
        return None
    return number if math.isfinite(number) else None


def _is_not_finite(value: Any) -> bool:
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _declared_validity(score: Score) -> Validity | None:
    declared = (score.metadata or {}).get("validity")
    return next((known for known in VALIDITIES if known == declared), None)


def _who_failed(events: Iterable[Event]) -> Validity:
    """Returns who caused a sample's error: before scoring the engine, then judge or scorer."""
    failed: Validity = "engine_failed"
    for event in events:
        if isinstance(event, SpanBeginEvent) and event.type == "scorer":
            failed = "scorer_failed"
        elif isinstance(event, ModelEvent) and failed != "engine_failed":
            failed = "judge_failed" if event.error is not None else "scorer_failed"
    return failed
