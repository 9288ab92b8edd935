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
from inspect_ai.dataset import Sample

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


def rollout(sample: str, epoch: int, reward: float | None, *sampled: int) -> Rollout:
    turn = Turn((7, 8, 9), sampled, (-1.0,) * len(sampled), "stop")
    validity = "answered" if reward is not None else "engine_failed"
    return Rollout("k", "t", "t/x", sample, epoch, (turn,), reward, validity, 0, 0.0, 3, 3)


def sample(name: str, kind: str, document: str | None = None) -> Sample:
    return Sample("?", id=name, metadata={"kind": kind, "document_group": document})


def of(script: Any, vectors: torch.Tensor, documents: list[str] | None = None) -> Any:
    """Returns gradients of one kind, of as many documents as groups unless they are named."""
    names = documents or [str(i) for i in range(len(vectors))]
    return script.Gradients(vectors, names, [0.5])


def test_groups_gradients_are_the_summands_of_a_steps(script: Any) -> None:
    rollouts = [
        rollout("a", 1, 1.0, 20, 5),
        rollout("a", 2, 0.0, 21, 22, 23, 5),
        rollout("b", 1, 0.0, 30, 5),
        rollout("b", 2, 0.25, 31, 5),
        rollout("b", 3, None, 35, 36, 37, 5),  # failed: no part of anything
        rollout("c", 1, 0.5, 32, 33, 5),  # no advantage: it counts, its gradient is zero
        rollout("c", 2, 0.5, 34, 5),
        rollout("d", 1, None, 38, 5),  # a group that failed: no part of a step
        rollout("d", 2, None, 39, 5),
    ]
    optimizer = OptimizerSettings(learning_rate=1.0, max_gradient_norm=1e9)
    learner = Learner(tiny_model(), optimizer, temperature=1.0)
    kinds = {"a": "one", "b": "two", "c": "two", "d": "two"}
    samples = {name: sample(name, kind) for name, kind in kinds.items()}
    found = script.group_gradients(rollouts, samples, learner)
    assert [found[kind].documents for kind in ("one", "two")] == [["a"], ["b", "c"]]
    assert found["two"].rewards == [0.0, 0.25, 0.5, 0.5] and not found["two"].vectors[1].any()
    learner.gradient(build_batch(rollouts), Objective(ObjectiveSettings()), step=0)
    expected = torch.cat([one.grad.flatten() for one in learner.parameters.values()])
    mean = script.joined(found.values()).vectors.mean(0)
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("length", [0.0, 0.5])
def test_signal_and_noise_are_estimated_without_bias(script: Any, length: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.zeros(50)
    mean[0] = length
    found = [
        script.signal_of(of(script, mean + torch.randn(12, 50, generator=generator)))
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


def test_groups_about_one_document_are_not_taken_for_independent(script: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(800):  # four groups for each of six documents, all with its own common part
        common = torch.randn(6, 1, 20, generator=generator).expand(6, 4, 20).reshape(24, 20)
        vectors = common + 0.1 * torch.randn(24, 20, generator=generator)
        found.append(script.signal_of(of(script, vectors, [str(i // 4) for i in range(24)])))
    signals = torch.tensor([one.signal for one in found])
    assert abs(float(signals.mean())) < 3 * float(signals.std()) / math.sqrt(len(found))
    stated = sum(one.error for one in found) / len(found)
    assert stated == pytest.approx(float(signals.std()), rel=0.1)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_documents_tell_nothing(script: Any, count: int) -> None:
    names = ["ab"[i % count] for i in range(5)]
    found = script.signal_of(of(script, torch.ones(5, 3), names))
    assert not found.is_told and found.num_groups == 5


def test_a_kind_without_signal_is_not_told_and_has_no_cosine(script: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(30, generator=generator)
    noise = {kind: torch.randn(8, 30, generator=generator) for kind in ("up", "down", "noise")}
    vectors = {"up": shared + 0.1 * noise["up"], "down": -2 * shared + 0.1 * noise["down"]}
    gradients = {k: of(script, one) for k, one in (noise | vectors).items()}
    signals = {kind: script.signal_of(one) for kind, one in gradients.items()}
    assert [kind for kind, one in signals.items() if one.is_told] == ["up", "down"]
    cosines = script.cosines_of(gradients, signals)
    assert set(cosines) == {"up", "down"}
    assert cosines["up"]["down"] == pytest.approx(-1, abs=0.01)
    assert "| noise | 8 | 8 | 0.50 |" in "\n".join(script.signal_table(signals))
    assert script.signal_table(signals)[-1].endswith("| not told from zero |")
    assert script.cosine_table(cosines)[2].startswith("| up | 1 | -1.00")
    assert script.cosine_table({"up": {}}) == ["No two kinds have a signal to be compared."]


def test_samples_of_a_kind_are_of_many_documents(script: Any) -> None:
    samples = [("t", sample(f"{d}{i}", "a", f"d{d}")) for d in range(3) for i in range(5)]
    samples += [("t", sample("b", "b"))]
    chosen = script.first_of_kinds(samples, 4)
    assert [one.id for _, one in chosen] == ["00", "10", "20", "01", "b"]


def test_a_task_sets_kinds_are_measured_with_the_embedded_policy(
    script: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_command("synth")(out=tmp_path / "ts", tokens=130, num_samples=120, quiet=True)
    arguments = ["gradient_signal.py", str(tmp_path / "ts"), "--temperature", "1"]
    arguments += ["-T", "task_types=dialogue_memory,multi_hop", "--model", "nano", "--groups", "4"]
    arguments += ["--group-size", "3", "--max-output-tokens", "24", "--out", str(tmp_path / "f")]
    arguments += ["--mix", "world_recall", "world_hop2"]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    figures = json.loads((tmp_path / "f").read_text())
    assert "world_recall" in figures["kinds"] and "world_hop2" in figures["kinds"]
    mixed = [
        figures["kinds"].pop(name)["num_groups"] for name in ("all", "world_recall, world_hop2")
    ]
    assert mixed == [4 * len(figures["kinds"]), 8]
    assert all(one["num_groups"] == 4 for one in figures["kinds"].values())
    assert sum(one["num_live"] for one in figures["kinds"].values()) > 0
    printed = capsys.readouterr().out
    assert "| kind | groups | rewards differ in |" in printed and "| world_recall | 4 |" in printed
    assert "| world_recall, world_hop2 | 8 |" in printed
    for given, message in (
        (["--mix", "world_x"], "--mix: no kind 'world_x' here; use world_hop"),
        (["--groups", "3"], "--groups must be 4 or more: got 3"),
        (["--group-size", "1"], "sampling.group_size: .*equal to 2"),
        (["--out", str(tmp_path / "no" / "f")], "no such folder"),
    ):
        monkeypatch.setattr(sys, "argv", [*arguments, *given])
        with pytest.raises(SystemExit, match=message):
            script.main()
