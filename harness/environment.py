"""Inspect tasks as an RL environment: a batch of samples -> rollouts with rewards.

A step is one call of Inspect's `eval` over all tasks of the batch, with the group size as the
number of epochs. So solvers, scorers, limits and judges are the task's own; nothing is
re-implemented here. A `TaskSource` receives the finished samples in memory, which spares writing,
compressing and reading back a log that nobody reads (about 3 ms instead of 8 to 14 ms of CPU per
single-turn sample).
"""

from __future__ import annotations

import asyncio
import copy
import gc
import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from inspect_ai import Epochs, Task, eval, task_with
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import Model
from inspect_ai.solver import Generate, Solver, SolverSpec, TaskState, solver

from longspan.harness.errors import DataError, ModelError, RecipeError
from longspan.harness.generation import GenerationSettings
from longspan.harness.harvest import NAME_KEY, Collector
from longspan.harness.prompts import IDENTITY_KEY
from longspan.harness.resolve import TaskLike, resolve_model, resolve_task, with_settings
from longspan.harness.rollout import Rollout, recording

MAX_CONNECTIONS = 4096
"""Calls in flight at most: the engine, not Inspect, decides how many it computes at once."""


class Environment:
    """Runs tasks' own solvers and scorers against a policy model.

    Args:
        tasks: Registered names, tasks, or functions that return one. Batches name them by the
            registered name, else by the task's own name; a second one of a name gets "#2".
        model: The policy. Its provider records calls (see `harness.rollout`); with a model that
            records none, rollouts have rewards but no turns.
        solver: Takes the place of every task's own solver where given.
        model_roles: Models by role, for judges ("grader").
        generation: Sampling settings; they override what tasks and models say.
        reward_keys: Which score is the reward, by task name, for tasks with several.

    Raises:
        RecipeError: no task, or a task without a scorer.
        SpecError: an unknown task.
    """

    def __init__(
        self,
        tasks: Sequence[TaskLike],
        model: Model | str,
        *,
        solver: Solver | SolverSpec | None = None,
        model_roles: Mapping[str, Model | str] | None = None,
        generation: GenerationSettings | None = None,
        reward_keys: Mapping[str, str] | None = None,
    ) -> None:
        self.generation = generation or GenerationSettings()
        self.model = with_settings(
            resolve_model(model),
            # Connections are no eval arguments: a judge would inherit them.
            self.generation.config(max_connections=MAX_CONNECTIONS, adaptive_connections=False),
        )
        self._solver = solver
        self._model_roles = dict(model_roles or {})
        self._reward_keys = dict(reward_keys or {})
        self._tasks = named_tasks(tasks)

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return dict(self._tasks)

    def rollouts(
        self,
        batch: Mapping[str, Sequence[Sample]],
        group_size: int,
        step: int = 0,
        *,
        require_reward: bool = True,
    ) -> list[Rollout]:
        """Returns `group_size` rollouts of every sample, sorted by task, sample id and epoch.

        Errored samples are rollouts without a reward. The result depends on the samples, the
        weights, the generation settings and `step` only, if the engine's does.

        Args:
            batch: Samples by task name; ids are unique within a task.
            group_size: Rollouts per sample.
            step: Number of the training step; it is mixed into the seed.
            require_reward: Whether it is an error that not one rollout got a reward.

        Raises:
            DataError: an unknown task name, or a missing or repeated sample id.
            ModelError: rollouts are missing, or not one got a reward.
            RecipeError: the scores of a task do not tell which of them is the reward.
        """
        samples = _checked(batch, self._tasks)
        if not samples:
            return []
        collector = Collector(self._batch_tasks(samples), self._reward_keys)
        with recording(), rare_garbage_collection(), tempfile.TemporaryDirectory() as log_dir:
            logs = self._run(collector, samples, group_size, step, log_dir)
        expected = group_size * sum(len(part) for part in samples.values())
        _raise_unless_complete(logs, collector, expected)
        if require_reward:
            _raise_unless_rewarded(collector.rollouts)
        return sorted(collector.rollouts, key=lambda one: (one.task, one.sample_id, one.epoch))

    async def rollouts_async(
        self, batch: Mapping[str, Sequence[Sample]], group_size: int, step: int = 0
    ) -> list[Rollout]:
        """Returns what `rollouts` returns, run in a thread of its own with its own event loop."""
        return await asyncio.to_thread(self.rollouts, batch, group_size, step)

    def _batch_tasks(self, samples: Mapping[str, list[Sample]]) -> dict[str, Task]:
        """Returns copies of the tasks over this batch; the tasks themselves stay untouched."""
        tasks = {}
        for name, part in samples.items():
            task = copy.copy(self._tasks[name])
            before = [identify(), *solvers_of(task.setup)]
            metadata = {**(task.metadata or {}), NAME_KEY: name}
            tasks[name] = task_with(
                task, dataset=MemoryDataset(part), setup=before, metadata=metadata
            )
        return tasks

    def _run(
        self,
        collector: Collector,
        samples: Mapping[str, list[Sample]],
        group_size: int,
        step: int,
        log_dir: str,
    ) -> list[EvalLog]:
        return eval(
            collector,
            model=self.model,
            model_roles=self._model_roles or None,
            solver=self._solver,
            epochs=Epochs(group_size, "mean"),
            max_tasks=len(samples),
            max_samples=MAX_CONNECTIONS,
            fail_on_error=False,
            display="none",
            log_dir=log_dir,
            log_samples=False,
            log_realtime=False,
            log_model_api=False,
            score_display=False,
            ctl_server=False,
            acp_server=False,
            **self.generation.eval_arguments(step_seed(self.generation.seed, step)),
        )


def named_tasks(tasks: Sequence[TaskLike]) -> dict[str, Task]:
    """Returns tasks by the names that batches use; see `Environment`.

    Raises:
        RecipeError: no task, or a task without a scorer.
        SpecError: an unknown task.
    """
    named: dict[str, Task] = {}
    for like in tasks:
        name, task = resolve_task(like)
        name = _unused(name, named)
        if not task.scorer:
            raise RecipeError(f"task {name!r} has no scorer, so no reward; add a scorer")
        named[name] = task
    if not named:
        raise RecipeError("no task to train on: got an empty list; name at least one task")
    return named


@solver
def identify() -> Solver:
    """Returns a solver that tags a sample's messages with its identity.

    Local engines derive the seed of a call from it, so that a resumed run repeats an uninterrupted
    one. Our own solvers tag the messages that they write; this serves solvers that know nothing of
    us: for the messages that the sample brings, and in the store for those that they write anew.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        identity = {"sample": str(state.sample_id), "epoch": state.epoch, "turn": 0}
        state.store.set(IDENTITY_KEY, identity)
        for message in state.messages:
            message.metadata = {**(message.metadata or {}), IDENTITY_KEY: identity}
        return state

    return solve


def solvers_of(setup: Solver | Sequence[Solver] | None) -> list[Solver]:
    """Returns a task's setup as a list of solvers."""
    if setup is None:
        return []
    return list(setup) if isinstance(setup, Sequence) else [setup]


def step_seed(seed: int, step: int) -> int:
    """Returns the seed of one training step, a number below 2**31."""
    digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    names = itertools.chain([name], (f"{name}#{number}" for number in itertools.count(2)))
    return next(one for one in names if one not in taken)


def _checked(
    batch: Mapping[str, Sequence[Sample]], tasks: Mapping[str, Any]
) -> dict[str, list[Sample]]:
    for name, samples in batch.items():
        if name not in tasks:
            raise DataError(f"no task named {name!r} in this environment; it has {sorted(tasks)}")
        ids = [sample.id for sample in samples]
        if None in ids or len({str(one) for one in ids}) < len(ids):
            raise DataError(f"samples of {name!r} need ids of their own: got {ids[:5]}")
    return {name: list(samples) for name, samples in batch.items() if samples}


def _raise_unless_complete(logs: list[EvalLog], collector: Collector, expected: int) -> None:
    if any(log.status == "cancelled" for log in logs):
        raise KeyboardInterrupt
    if collector.error is not None:
        raise collector.error
    rollouts = collector.rollouts
    if len(rollouts) < expected:
        reasons = [log.error.message for log in logs if log.error is not None] or [
            "no reason given"
        ]
        raise ModelError(
            f"{expected - len(rollouts)} of {expected} rollouts are missing: {reasons[0]}"
        )


def _raise_unless_rewarded(rollouts: Sequence[Rollout]) -> None:
    if all(rollout.reward is None for rollout in rollouts):
        first = rollouts[0]
        raise ModelError(
            f"not one of {len(rollouts)} rollouts has a reward; the first ended as "
            f"{first.validity}: {first.error}"
        )


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Keeps the collector off the objects that exist already, and lets it run rarely.

    Inspect allocates thousands of small objects per sample; with the modules of torch and
    transformers loaded, the collections that they trigger cost a third of a step. What the block
    leaves behind in cycles is collected at its end, while the older objects are still left out:
    otherwise it would become old with them, and old objects are hardly ever looked at.
    """
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 5, 10)
    try:
        yield
    finally:
        gc.collect()
        gc.set_threshold(*threshold)
        gc.unfreeze()
