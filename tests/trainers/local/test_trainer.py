"""The loop: it learns, it resumes to the byte after kills, and it says what is wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from longspan.harness.errors import RecipeError, SpecError
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.stage import StageRun
from longspan.trainers.metrics import MetricsFile
from tests.trainers.tiny import save_tiny
from tests.trainers.toy import run_toy, stop_before_step, toy_stage

UNITS = ("seconds", "cpu_seconds")
TIMINGS = tuple(f"{part}_{unit}" for part in ("rollout", "train") for unit in UNITS)


def weights(folder: Path) -> bytes:
    return (folder / "stage" / "checkpoint" / "model.safetensors").read_bytes()


def rows(folder: Path) -> list[dict[str, Any]]:
    found = MetricsFile(folder / "stage" / "metrics.jsonl").rows()
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in found]


def child(folder: Path, num_steps: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    run_toy(folder, num_steps=num_steps)


def start(folder: Path, num_steps: int) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trainers.toy"])
    process = context.Process(target=child, args=(folder, num_steps))
    process.start()
    return process


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_toy(folder, num_steps=8)
    return folder


def test_reward_rises_and_the_policy_that_learns_is_the_one_that_samples(finished: Path) -> None:
    found = rows(finished)
    assert [row["step"] for row in found] == list(range(1, 9))
    assert sum(row["reward_mean"] for row in found[-2:]) > 2 * found[0]["reward_mean"]
    assert all(row["logprob_gap"] < 1e-5 for row in found)
    assert all(row["reward_by_type"].keys() == {"multi_hop", "dialogue_memory"} for row in found)


def test_metrics_hold_what_a_step_must_report(finished: Path) -> None:
    row = json.loads((finished / "stage" / "metrics.jsonl").read_text().splitlines()[2])
    expected = {
        "reward_mean", "reward_by_type", "entropy", "aepo_masking", "aepo_reason",
        "masked_share", "masked_share_by_type", "response_tokens", "gradient_norm",
        "num_live_groups", "num_groups", "num_invalid", "cut_off_share", "rollout_seconds",
        "train_seconds", "prompt_tokens", "sampled_tokens", "learning_rate",
    }  # fmt: skip
    assert expected <= row.keys()
    assert row["num_rollouts"] == 16


def test_a_finished_stage_keeps_its_checkpoint_and_no_states(finished: Path) -> None:
    before = weights(finished)
    run_toy(finished, num_steps=8)
    assert weights(finished) == before
    assert not (finished / "stage" / "states").exists()


def test_a_stage_shorter_than_the_distance_of_states_ends_like_others(tmp_path: Path) -> None:
    checkpoint = run_toy(tmp_path, run={"state_every_steps": 5}, num_steps=1)
    assert (checkpoint / "model.safetensors").is_file()


def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    finished: Path, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "start")
    dice, kills = random.Random(os.environ.get("LONGSPAN_KILL_SEED", "0")), 0
    num_kills = int(os.environ.get("LONGSPAN_KILLS", "2"))
    while True:
        process = start(tmp_path, num_steps=8)
        if kills < num_kills:
            # A step is about 0.3 s; beginning to count once the run is under way.
            metrics, before = tmp_path / "stage" / "metrics.jsonl", len_of(tmp_path)
            while process.is_alive() and (not metrics.exists() or len_of(tmp_path) == before):
                time.sleep(0.01)
            process.join(dice.uniform(0, 0.6))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.join()
        if process.exitcode != -signal.SIGKILL:
            break
    assert process.exitcode == 0
    assert kills > 0
    assert weights(tmp_path) == weights(finished)
    assert rows(tmp_path) == rows(finished)


def len_of(folder: Path) -> int:
    path = folder / "stage" / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def test_resuming_between_saved_states_repeats_the_steps_in_between(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = Learner.update, 0

    def stop_at_six(self: Learner, batch: Any, objective: Any, step: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return update(self, batch, objective, step)

    monkeypatch.setattr(Learner, "update", stop_at_six)
    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, {"state_every_steps": 3}, num_steps=8)
    assert len(rows(tmp_path)) == 5
    monkeypatch.setattr(Learner, "update", update)
    run_toy(tmp_path, {"state_every_steps": 3}, num_steps=8)
    assert weights(tmp_path) == weights(finished)
    assert rows(tmp_path) == rows(finished)


def test_tasks_that_changed_since_the_start_are_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before_step(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path)
    changed = [{"task": "toy/words", "args": {"size": 9}}]
    with pytest.raises(RecipeError, match="have changed since the run was started"):
        run_toy(tmp_path, tasks=changed)


def test_an_unknown_task_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown task.*toy/none"):
        run_toy(tmp_path, tasks=[{"task": "toy/none"}])


def test_samples_longer_than_the_stage_are_left_out(tmp_path: Path) -> None:
    sampling = toy_stage().sampling.model_dump()
    with pytest.raises(RecipeError, match="number of samples: got 4 > 3"):
        run_toy(tmp_path, sampling={**sampling, "max_input_tokens": 14})
    with pytest.raises(RecipeError, match="no sample has at most 3 input tokens"):
        run_toy(tmp_path, sampling={**sampling, "max_input_tokens": 3})


def test_stages_of_one_recipe_have_seeds_of_their_own(tmp_path: Path) -> None:
    seeds = {
        StageRun(toy_stage(name=name), tmp_path, "x", seed=seed).stage_seed
        for name in ("one", "two")
        for seed in (0, 1)
    }
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_training_leaves_torch_with_one_thread_for_a_small_model(finished: Path) -> None:
    assert torch.get_num_threads() == 1
