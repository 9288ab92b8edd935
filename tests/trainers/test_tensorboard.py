"""TensorBoard events repeat the metrics: every step once, also after a kill."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from longspan.harness.errors import RecipeError
from longspan.trainers.metrics import MetricsFile
from longspan.trainers.tensorboard import TensorBoard, scalars
from tests.trainers.toy import run_toy, stop_before_step


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder)).Reload()
    tags = found.Tags()["scalars"]
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in tags}


def test_every_step_is_there_once_although_the_run_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"tensorboard": tmp_path / "events", "state_every_steps": 2}
    stop_before_step(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, run, num_steps=5)
    assert [step for step, _ in events(tmp_path / "events")["reward_mean"]] == [1, 2, 3]
    monkeypatch.undo()
    run_toy(tmp_path, run, num_steps=5)
    found = events(tmp_path / "events")
    rows = MetricsFile(tmp_path / "stage" / "metrics.jsonl").rows()
    for name in ("reward_mean", "entropy", "gradient_norm"):
        expected = [(row["step"], pytest.approx(row[name])) for row in rows]
        assert found[name] == expected and len(expected) == 5
    by_type = [row["reward_by_type"]["multi_hop"] for row in rows]
    assert [value for _, value in found["reward_by_type/multi_hop"]] == pytest.approx(by_type)


def test_what_is_no_number_is_left_out() -> None:
    row = {
        "step": 3,
        "reason": "low",
        "masking": True,
        "gap": None,
        "by": {"a": {"b": 2}, "c": 0.5},
    }
    assert dict(scalars(row)) == {"masking": 1.0, "by/a/b": 2.0, "by/c": 0.5}


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RecipeError, match=r"longspan\[tensorboard\]"):
        TensorBoard(tmp_path / "events", [])
