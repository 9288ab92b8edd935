"""A small RL problem for the tiny model: two task types, and rewards that chance already earns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Target, mean, scorer
from inspect_ai.solver import TaskState, generate

from longspan.trainers.local.learner import Learner
from longspan.trainers.local.stage import StageRun
from longspan.trainers.local.trainer import train_stage
from longspan.trainers.stages import TrainStage
from tests.trainers.tiny import save_tiny

PLACES = ("Kukton", "Tastal", "Karo", "Dresex")


@scorer(metrics=[mean()])
def share_of_short_words():
    """Scores the share of words with at most three letters: dense, and learnable in a few steps."""

    async def score(state: TaskState, target: Target) -> Score:
        words = state.output.completion.split()
        value = sum(len(word) <= 3 for word in words) / len(words) if words else 0.0
        return Score(value=value, answer=state.output.completion)

    return score


@task(name="toy/words")
def words(size: int = 8) -> Task:
    """Returns a task over two task types."""
    samples = [
        Sample(
            id=f"s{i}",
            input=f"what is the {('red', 'blue')[i % 2]} lamp of {PLACES[i % 4]} {'new ' * i}?",
            metadata={
                "task_type": ("multi_hop", "dialogue_memory")[i % 2],
                "advantage_group": ("multi_hop/words", "dialogue_memory/words")[i % 2],
                "input_tokens": 12 + i,
            },
        )
        for i in range(size)
    ]
    return Task(
        dataset=MemoryDataset(samples),
        solver=generate(),
        scorer=share_of_short_words(),
        name="toy_words",
        version="1",
    )


def toy_stage(**changes: object) -> TrainStage:
    """Returns a stage of a few fast steps; keyword arguments replace its keys."""
    content = {
        "name": "toy",
        "tasks": [{"task": "toy/words"}],
        "num_steps": 4,
        "sampling": {
            "batch_size": 4,
            "group_size": 4,
            "temperature": 1.0,
            "top_p": 1.0,
            "max_output_tokens": 6,
        },
        "objective": {
            "aepo": {"low": 0.9, "high": 0.99, "thresholds": "relative", "reference_steps": 1}
        },
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2},
    }
    return TrainStage.model_validate({**content, **changes})


def run_toy(folder: Path, run: Mapping[str, Any] | None = None, **changes: object) -> Path:
    """Trains the toy stage in `folder` from the tiny model; returns its checkpoint.

    Args:
        folder: of the start checkpoint and of the stage.
        run: attributes of the `StageRun`.
        **changes: keys of the stage.
    """
    start = folder / "start"
    if not start.exists():
        save_tiny(start)
    stage = toy_stage(**changes)
    content = {"stage": stage, "folder": folder / "stage", "start": str(start)}
    content["sources"] = stage.tasks
    return train_stage(StageRun(**{**content, "quiet": True, **(run or {})}))


def stop_before_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Makes training stop where step number `step` (from 0) would update, as Ctrl-C does."""
    update = Learner.update

    def stopped(self: Learner, batch: Any, objective: Any, number: int) -> Any:
        if number == step:
            raise KeyboardInterrupt
        return update(self, batch, objective, number)

    monkeypatch.setattr(Learner, "update", stopped)
