"""A stage in OpenRLHF's options, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from longspan.harness.errors import RecipeError
from longspan.trainers.local.stage import StageRun
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.openrlhf.arguments import (
    EXECUTOR,
    Places,
    check_supported,
    command_line,
    openrlhf_options,
)
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.settings import ObjectiveSettings
from longspan.trainers.stages import TrainStage
from tests.trainers.toy import toy_stage

PLACES = Places(Path("/start"), Path("/states"), Path("/out"))


def run(stage: TrainStage | None = None, **changes: Any) -> StageRun[TrainStage]:
    return StageRun(**{"stage": stage or toy_stage(), "folder": Path("x"), "start": "s", **changes})


def test_the_recipes_numbers_reach_openrlhf() -> None:
    options = openrlhf_options(run(seed=3), load_cluster("cpu"), PLACES, window=256)
    assert {
        "rollout.batch_size": 4,
        "rollout.n_samples_per_prompt": 4,
        "rollout.max_new_tokens": 6,
        "rollout.temperature": 1.0,
        "rollout.top_p": 1.0,
        "data.max_len": 256,
        "actor.adam.lr": 1e-2,
        "actor.adam.betas": (0.9, 0.95),
        "actor.max_norm": 1.0,
        "train.seed": run(seed=3).stage_seed,
        "ckpt.save_steps": 1,
        "vllm.sync_backend": "gloo",
    }.items() <= options.items()


def test_our_executor_is_a_file_that_is_there() -> None:
    assert EXECUTOR.is_file()


def test_flags_lists_and_numbers_become_words() -> None:
    options = {"a.on": True, "a.off": False, "b": (0.9, 0.95), "c": 2e-6, "d": "x y"}
    words = ["--a.on", "--b", "0.9", "0.95", "--c", "2e-06", "--d", "x y"]
    assert command_line(options) == words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ModelSettings(lora={})}, "model.lora"),
        ({"model": ModelSettings(dtype="float32")}, "model.dtype float32"),
        ({"model": ModelSettings(device="cuda")}, "the cluster says cpu"),
        ({"model": ModelSettings(max_batch_rows=4)}, "max_batch_rows"),
        ({"keep_batches_every_steps": 5}, "keep_batches_every_steps"),
    ],
)
def test_what_the_engine_does_not_have_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_supported(run(**changes), load_cluster("cpu"))


@pytest.mark.parametrize(
    ("temperature", "top_p", "is_refused"), [(1, 0.9, False), (0.7, 1, False), (0.7, 0.95, True)]
)
def test_clipping_needs_log_probabilities_of_sampling(
    temperature: float, top_p: float, is_refused: bool
) -> None:
    stage = toy_stage(objective={"ratio_clip": {}})
    sampling = stage.sampling.model_copy(update={"temperature": temperature, "top_p": top_p})
    stage = stage.model_copy(update={"sampling": sampling})
    assert isinstance(stage.objective, ObjectiveSettings)
    if is_refused:
        with pytest.raises(RecipeError, match="ratio_clip"):
            check_supported(run(stage), load_cluster("cpu"))
    else:
        check_supported(run(stage), load_cluster("cpu"))
