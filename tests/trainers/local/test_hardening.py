"""What goes wrong in a step: what is skipped, what is counted, what stops with its batch saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from inspect_ai import Task, task
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Target, mean, scorer
from inspect_ai.solver import TaskState
from safetensors.torch import load_file

from longspan.harness.environment import Environment
from longspan.harness.errors import DataError, ModelError
from longspan.harness.rollout import Rollout
from longspan.trainers.local.learner import Learner, NonFiniteError
from longspan.trainers.local.replay import replay
from longspan.trainers.local.saved_batch import read_batch
from longspan.trainers.metrics import MetricsFile, alarm
from longspan.trainers.update import Update
from tests.harness.scripted import SCRIPTS
from tests.trainers.toy import run_toy, toy_stage, words

Judgement = Callable[[TaskState, int], "Score | float"]
"""What a rollout is worth, given the step that it belongs to."""


class Faults:
    """What the scorer of `toy/told` does."""

    judge: Judgement
    step = 0


def length(state: TaskState, step: int) -> float:
    return len(state.output.completion) / 100


@scorer(metrics=[mean()])
def as_told():
    """Scores as the test says."""

    async def score(state: TaskState, target: Target) -> Score:
        found = Faults.judge(state, Faults.step)
        return found if isinstance(found, Score) else Score(value=found, answer="x")

    return score


@scorer(metrics=[mean()])
def judged():
    """Scores by a judge's word."""

    async def score(state: TaskState, target: Target) -> Score:
        found = await get_model(role="grader").generate(state.output.completion)
        return Score(value=float(found.completion), answer="x")

    return score


@task(name="toy/told")
def told(by_judge: bool = False) -> Task:
    """Returns the toy task with a scorer that the tests rule."""
    return Task(
        dataset=words().dataset,
        solver=words().solver,
        scorer=judged() if by_judge else as_told(),
        name="toy_told",
        version="1",
    )


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the scorer know the step, from 1."""
    rollouts = Environment.rollouts

    def noting(self: Environment, batch: Any, size: int, step: int = 0, **options: Any) -> Any:
        Faults.step = step + 1
        return rollouts(self, batch, size, step, **options)

    monkeypatch.setattr(Environment, "rollouts", noting)
    Faults.judge = length
    yield


def run_told(folder: Path, judge: Judgement = length, **changes: Any) -> Path:
    Faults.judge = judge
    return run_toy(folder, tasks=[{"task": "toy/told"}], **changes)


def rows(folder: Path) -> list[dict[str, Any]]:
    return MetricsFile(folder / "stage" / "metrics.jsonl").rows()


def failed(folder: Path, step: int) -> Path:
    return folder / "stage" / f"failed-step-{step:06d}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "-inf"])
def test_a_reward_that_is_not_finite_stops_the_step_with_its_batch_saved(
    tmp_path: Path, value: float | str
) -> None:
    def judge(state: TaskState, step: int) -> Score | float:
        bad = step == 2 and state.epoch == 3
        return Score(value=value) if bad else length(state, step)

    with pytest.raises(DataError, match="reward of rollout toy_told/s. epoch 3 is not finite"):
        run_told(tmp_path, judge)
    assert len(rows(tmp_path)) == 1
    saved = read_batch(failed(tmp_path, 2))
    assert "is not finite" in (saved.record.error or "")
    assert [one.not_finite for one in saved.rollouts].count(True) == 4
    found = replay(saved)
    assert found.update is not None
    assert int(found.batch.valid.sum()) == 12
    state = load_file(tmp_path / "stage" / "states" / "step-000001" / "model.safetensors")
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.weights().items())


def test_a_mended_scorer_continues_where_the_run_was_stopped(tmp_path: Path) -> None:
    def judge(state: TaskState, step: int) -> float:
        return math.inf if step == 3 else length(state, step)

    with pytest.raises(DataError):
        run_told(tmp_path / "stopped", judge)
    run_told(tmp_path / "stopped")
    run_told(tmp_path / "straight")
    finals = [
        (tmp_path / name / "stage/checkpoint/model.safetensors").read_bytes()
        for name in ("stopped", "straight")
    ]
    assert finals[0] == finals[1]


def test_a_scorer_that_raises_or_declines_makes_rollouts_invalid_and_counted(
    tmp_path: Path,
) -> None:
    def judge(state: TaskState, step: int) -> Score | float:
        if state.epoch == 1:
            raise ValueError("no such unit")
        if state.epoch == 2:
            return Score.unscored(reason="ambiguous")
        return length(state, step)

    run_told(tmp_path, judge, num_steps=2)
    for row in rows(tmp_path):
        assert row["invalid_by_kind"] == {"scorer_failed": 8}
        assert (row["num_invalid"], row["num_trained"]) == (8, 8)
        assert row["gradient_norm"] > 0
        assert (alarm(row) or "").startswith("50% of rollouts have no score (scorer_failed 8)")


def test_a_group_without_a_score_is_left_out_and_the_step_is_taken(tmp_path: Path) -> None:
    def judge(state: TaskState, step: int) -> float:
        if state.sample_id in ("s0", "s1", "s2", "s3"):
            raise ValueError("no such unit")
        return length(state, step)

    run_told(tmp_path, judge, num_steps=2)
    first, second = rows(tmp_path)
    # Each of the eight samples is drawn once in two steps of four.
    assert first["num_invalid"] + second["num_invalid"] == 16
    assert first["num_live_groups"] + second["num_live_groups"] == 4
    assert first["num_groups"] == 4


def test_equal_rewards_leave_the_weights_as_they_are(tmp_path: Path) -> None:
    checkpoint = run_told(tmp_path, lambda state, step: 0.5)
    start, final = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "start", checkpoint)
    )
    assert all(torch.equal(start[name], final[name]) for name in start)
    assert len(rows(tmp_path)) == 4
    for row in rows(tmp_path):
        assert (row["num_live_groups"], row["gradient_norm"], row["loss"]) == (0, 0.0, 0.0)
        assert row["entropy"] > 0 and row["reward_mean"] == 0.5


def breaks_at(*steps: int) -> Judgement:
    def judge(state: TaskState, step: int) -> float:
        if step in steps:
            raise ConnectionError("no route to the unit server")
        return length(state, step)

    return judge


def test_a_step_without_a_score_is_skipped_with_an_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Faults.judge = breaks_at(2, 3)
    tasks = [{"task": "toy/told"}]
    run_toy(tmp_path, {"quiet": False, "keep_batches_every_steps": 1}, tasks=tasks)
    assert "ALARM step 2: no rollout takes part, so the step is skipped" in capsys.readouterr().out
    found = rows(tmp_path)
    assert [row["num_trained"] for row in found] == [16, 0, 0, 16]
    assert [row["aepo_reason"] for row in found[1:3]] == ["no entropy"] * 2
    assert found[1]["entropy"] is None and found[1]["reward_mean"] is None
    # The weights before step 4 are those after step 1: both skipped steps left them alone.
    before = [
        load_file(tmp_path / f"stage/batches/step-00000{step}/model.safetensors")
        for step in (2, 3, 4)
    ]
    for later in before[1:]:
        assert all(torch.equal(before[0][name], tensor) for name, tensor in later.items())


def test_three_steps_in_a_row_without_a_score_end_the_run_and_it_can_go_on(tmp_path: Path) -> None:
    message = "no rollout of step 4 takes part; the first of 16 ended as scorer_failed: .*no route"
    with pytest.raises(ModelError, match=message):
        run_told(tmp_path, breaks_at(2, 3, 4), num_steps=6)
    assert len(read_batch(failed(tmp_path, 4)).rollouts) == 16
    # The count is in the state: not yet mended, it stops at the same step again.
    with pytest.raises(ModelError, match="no rollout of step 4 takes part"):
        run_told(tmp_path, breaks_at(4), num_steps=6)
    run_told(tmp_path, breaks_at(5, 6), num_steps=6)
    assert [row["num_trained"] for row in rows(tmp_path)] == [16, 0, 0, 16, 0, 0]


def test_a_run_that_yields_nothing_in_its_first_step_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no rollout of step 1 takes part.*no route"):
        run_told(tmp_path / "a", breaks_at(1))
    sampling = {**toy_stage().sampling.model_dump(), "train_on_cut_off": False}
    with pytest.raises(ModelError, match="no rollout of step 1 takes part.*ended as cut_off; mend"):
        run_told(tmp_path / "b", sampling={**sampling, "max_output_tokens": 1, "top_p": 0.2})


def test_a_judge_that_fails_for_some_rollouts_costs_those_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(request: Any) -> str:
        words = request.prompt.split()
        return "!the judge is down" if "one" in words else str(len(words) / 10)

    monkeypatch.setitem(SCRIPTS, "judge", judge)
    tasks = [{"task": "toy/told", "args": {"by_judge": True}}]
    run_toy(tmp_path, {"model_roles": {"grader": "scripted/judge"}}, tasks=tasks)
    found = rows(tmp_path)
    assert sum(row["num_invalid"] for row in found) > 0
    for row in found:
        lost = row["num_invalid"]
        assert row["invalid_by_kind"] == ({"judge_failed": lost} if lost else {})
        assert row["num_trained"] == 16 - lost
        assert row["gradient_norm"] > 0


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (0.5, math.inf), (0.5, math.nan)])
def test_a_loss_or_gradient_that_is_not_finite_stops_with_the_batch_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, norm: float
) -> None:
    backward, clip = Learner._backward, torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(Learner, "_backward", lambda *given: loss + 0 * backward(*given))
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *given: norm + 0 * float(clip(*given))
    )
    with pytest.raises(NonFiniteError, match=f"step 1 has loss {loss} and gradient norm {norm}"):
        run_told(tmp_path)
    assert len(read_batch(failed(tmp_path, 1)).rollouts) == 16
    assert not (tmp_path / "stage" / "checkpoint").exists()
    assert rows(tmp_path) == []


def test_weights_that_have_diverged_stop_the_run_where_sampling_meets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Learner.update

    def diverge(self: Learner, batch: Any, objective: Any, step: int) -> Update:
        found = update(self, batch, objective, step)
        if step == 1:
            with torch.no_grad():
                self.parameters["model.norm.weight"][0] = math.nan
        return found

    monkeypatch.setattr(Learner, "update", diverge)
    with pytest.raises(NonFiniteError, match="logits are not finite.*failed-step-000003"):
        run_told(tmp_path)
    saved = read_batch(failed(tmp_path, 3))
    assert {one.validity for one in saved.rollouts} == {"engine_failed"}
    assert saved.weights()["model.norm.weight"].isnan().sum() == 1
    assert replay(saved).advantages.tolist() == [0.0] * 16


def test_a_full_disk_does_not_hide_what_stopped_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("longspan.trainers.local.saved_batch.write_rollouts", full)
    with pytest.raises(DataError, match=r"is not finite.*could not be saved: .*No space left"):
        run_told(tmp_path, lambda state, step: math.nan)


def test_the_record_of_a_rollout_says_that_its_reward_was_not_finite() -> None:
    one = Rollout("k", None, "g", "s", 1, (), None, "scorer_failed", 0, 0.0, 0, 0, "nan", True)
    assert Rollout.from_json(one.to_json()) == one
