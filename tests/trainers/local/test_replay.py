"""Replay: a saved step computed again gives its own numbers, and says what it cannot know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from longspan.harness.cli import load_command
from longspan.harness.errors import DataError
from longspan.trainers.local.learner import Learner, NonFiniteError
from longspan.trainers.local.replay import replay
from longspan.trainers.local.saved_batch import read_batch
from longspan.trainers.metrics import MetricsFile
from longspan.trainers.objective import masked_share
from longspan.trainers.update import Update
from tests.trainers.toy import run_toy

# Entropy clipping and AEPO that masks after its first step: masks depend on weights and on state.
OBJECTIVE = {
    "aepo": {"low": 0.5, "high": 0.6, "thresholds": "relative", "reference_steps": 1},
    "clipping": {"threshold": 0.5, "thresholds": "quantile"},
}
# States after every second step only: the weights before the others are no state's.
KEPT = {"keep_batches_every_steps": 1, "state_every_steps": 2}


def batch_of(folder: Path, step: int) -> Path:
    return folder / "stage" / "batches" / f"step-{step:06d}"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Update]]:
    """A run that keeps its batches, and the updates that it took."""
    folder = tmp_path_factory.mktemp("kept")
    taken: list[Update] = []
    with pytest.MonkeyPatch.context() as patch:
        update = Learner.update

        def noted(self: Learner, batch: Any, objective: Any, step: int) -> Update:
            taken.append(update(self, batch, objective, step))
            return taken[-1]

        patch.setattr(Learner, "update", noted)
        run_toy(folder, KEPT, objective=OBJECTIVE)
    return folder, taken


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_kept_step_replays_to_its_own_numbers(kept: tuple[Path, list[Update]], step: int) -> None:
    folder, taken = kept
    found = replay(read_batch(batch_of(folder, step)))
    was = taken[step - 1]
    assert found.update is not None
    assert found.advantages.tolist() == was.advantages.tolist()
    assert found.update.step_weights.masked.tolist() == was.step_weights.masked.tolist()
    row = MetricsFile(folder / "stage" / "metrics.jsonl").rows()[step - 1]
    now, decision = found.update, found.update.step_weights.decision
    assert decision is not None
    assert (now.loss, now.gradient_norm, now.entropy) == (
        row["loss"],
        row["gradient_norm"],
        row["entropy"],
    )
    assert (decision.masking, decision.reason) == (row["aepo_masking"], row["aepo_reason"])
    assert masked_share(found.batch, now.step_weights.masked) == row["masked_share_by_type"]


def test_the_steps_that_are_replayed_have_masks_and_a_state(
    kept: tuple[Path, list[Update]],
) -> None:
    rows = MetricsFile(kept[0] / "stage" / "metrics.jsonl").rows()
    assert [row["aepo_reason"] for row in rows[:2]] == ["reference", "above"]
    assert rows[1]["masked_share"] > 0


def test_without_the_weights_advantages_are_shown_and_the_rest_is_said_to_be_unknown(
    kept: tuple[Path, list[Update]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, taken = kept
    copy = shutil.copytree(batch_of(folder, 2), tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    found = replay(read_batch(copy))
    assert found.update is None
    assert found.advantages.tolist() == taken[1].advantages.tolist()
    load_command("train")(replay=copy)
    shown = capsys.readouterr().out
    assert "not computed: batch entropy, AEPO's decision, masks, loss and gradient norm" in shown


def test_a_step_that_was_stopped_replays_to_what_it_would_have_been(
    kept: tuple[Path, list[Update]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, taken = kept
    apply = Learner._apply

    def broken(self: Learner, step: int, update: Update) -> None:
        if step == 2:
            raise NonFiniteError("the gradient is broken")
        apply(self, step, update)

    monkeypatch.setattr(Learner, "_apply", broken)
    with pytest.raises(NonFiniteError, match="broken .*failed-step-000003"):
        run_toy(tmp_path, objective=OBJECTIVE)
    failed = tmp_path / "stage" / "failed-step-000003"
    found = replay(read_batch(failed))
    assert found.record.error == "the gradient is broken"
    assert found.update is not None
    assert (found.update.loss, found.update.gradient_norm) == (
        taken[2].loss,
        taken[2].gradient_norm,
    )
    assert found.update.step_weights.masked.tolist() == taken[2].step_weights.masked.tolist()


def test_the_command_prints_every_rollout_and_changes_nothing(
    kept: tuple[Path, list[Update]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, taken = kept
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    # A file of the folder serves as well.
    load_command("train")(replay=batch_of(folder, 3) / "rollouts.jsonl")
    shown = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in shown if line.startswith("toy_words")]
    assert len(rows) == 16
    assert [float(row[5]) for row in rows] == [round(x, 4) for x in taken[2].advantages.tolist()]
    assert f"loss {taken[2].loss:.6g}" in shown
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_only_the_steps_that_are_due_are_kept(tmp_path: Path) -> None:
    run_toy(tmp_path, {"keep_batches_every_steps": 3})
    assert [path.name for path in (tmp_path / "stage" / "batches").iterdir()] == ["step-000003"]


def test_what_is_no_saved_batch_is_one_line(
    kept: tuple[Path, list[Update]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no rollouts.jsonl in .*; give a folder of a saved batch"):
        read_batch(tmp_path)
    copy = shutil.copytree(batch_of(kept[0], 1), tmp_path / "copy")
    content = json.loads((copy / "step.json").read_text())
    for damaged in ("{", json.dumps({**content, "step": None, "stage": {}}), "[]"):
        (copy / "step.json").write_text(damaged)
        with pytest.raises(DataError, match="step.json is no record of a step"):
            read_batch(copy)


def test_a_batch_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("longspan.trainers.local.saved_batch.save_weights", full)
    with pytest.raises(OSError, match="No space left"):
        run_toy(tmp_path, {"keep_batches_every_steps": 1})
    assert not [path for path in (tmp_path / "stage" / "batches").iterdir() if path.name[0] != "."]
