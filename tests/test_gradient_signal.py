"""How far the gradients of kinds of question stand out of their noise."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from longspan.harness.cli import load_command
from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.batch import build_batch
from longspan.trainers.local.learner import Learner
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings
from tests.trainers.tiny import tiny_model

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture(scope="module")
def script() -> Any:
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("gradient_signal")
    sys.path.remove(str(SCRIPTS))


def rollout(sample: str, epoch: int, reward: float, *sampled: int) -> Rollout:
    turn = Turn((7, 8, 9), sampled, (-1.0,) * len(sampled), "stop")
    return Rollout("k", "t", "t/x", sample, epoch, (turn,), reward, "answered", 0, 0.0, 3, 3)


def test_groups_gradients_are_the_summands_of_a_steps(script: Any) -> None:
    rollouts = [
        rollout("a", 1, 1.0, 20, 5),
        rollout("a", 2, 0.0, 21, 22, 23, 5),
        rollout("b", 1, 0.0, 30, 5),
        rollout("b", 2, 0.25, 31, 5),
        rollout("c", 1, 0.5, 32, 33, 5),  # no advantage: its tokens count, its gradient is zero
        rollout("c", 2, 0.5, 34, 5),
    ]
    optimizer = OptimizerSettings(learning_rate=1.0, max_gradient_norm=1e9)
    learner = Learner(tiny_model(), optimizer, temperature=1.0)
    found = script.group_gradients(rollouts, {"a": "one", "b": "two", "c": "two"}, learner)
    assert [len(found[kind]) for kind in ("one", "two")] == [1, 2]
    assert not found["two"][1].any()
    learner.gradient(build_batch(rollouts), Objective(ObjectiveSettings()), step=0)
    expected = torch.cat([one.grad.flatten() for one in learner.parameters.values()])
    mean = torch.stack([*found["one"], *found["two"]]).mean(0)
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("length", [0.0, 0.5])
def test_signal_and_noise_are_estimated_without_bias(script: Any, length: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.zeros(50)
    mean[0] = length
    found = [
        script.signal_of(mean + torch.randn(12, 50, generator=generator), reward=0.0)
        for _ in range(1500)
    ]
    signals = torch.tensor([one.signal for one in found])
    error = float(signals.std()) / math.sqrt(len(found))
    assert abs(float(signals.mean()) - length**2) < 3 * error  # of |mean|^2, for all the noise
    assert sum(one.noise for one in found) / len(found) == pytest.approx(50, rel=0.02)
    if not length:
        stated = sum(one.error for one in found) / len(found)
        assert stated == pytest.approx(float(signals.std()), rel=0.05)
        assert sum(one.is_told for one in found) < 0.05 * len(found)


def test_a_kind_without_signal_is_not_told_and_has_no_cosine(script: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(30, generator=generator)
    gradients = {
        "up": [shared + 0.1 * torch.randn(30, generator=generator) for _ in range(8)],
        "down": [-2 * shared + 0.1 * torch.randn(30, generator=generator) for _ in range(8)],
        "noise": [torch.randn(30, generator=generator) for _ in range(8)],
    }
    signals = {k: script.signal_of(torch.stack(one), 0.5) for k, one in gradients.items()}
    assert [k for k, one in signals.items() if one.is_told] == ["up", "down"]
    cosines = script.cosines_of(gradients, signals)
    assert set(cosines) == {"up", "down"}
    assert cosines["up"]["down"] == pytest.approx(-1, abs=0.01)
    assert "| noise | 8 | 8 | 0.50 |" in "\n".join(script.signal_table(signals))
    assert script.signal_table(signals)[-1].endswith("| not told from zero |")
    assert script.cosine_table(cosines)[2].startswith("| up | 1 | -1.00")


def test_a_task_sets_kinds_are_measured_with_the_embedded_policy(
    script: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_command("synth")(out=tmp_path / "ts", tokens=130, num_samples=120, quiet=True)
    arguments = ["gradient_signal.py", str(tmp_path / "ts"), "-T", "split=train"]
    arguments += ["-T", "task_types=dialogue_memory,multi_hop", "--model", "nano", "--groups", "3"]
    arguments += ["--group-size", "3", "--max-output-tokens", "24", "--out", str(tmp_path / "f")]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    figures = json.loads((tmp_path / "f").read_text())
    assert "world_recall" in figures["kinds"] and "world_hop2" in figures["kinds"]
    assert all(one["num_groups"] == 3 for one in figures["kinds"].values())
    assert sum(one["num_live"] for one in figures["kinds"].values()) > 0
    printed = capsys.readouterr().out
    assert "| kind | groups | rewards differ in |" in printed and "| world_recall | 3 |" in printed
