"""States: written whole, the last readable one is continued from, two are kept."""

from pathlib import Path

import pytest
import torch

from longspan.harness.errors import DataError
from longspan.trainers.local.state import (
    TrainingState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)


def state(step: int) -> TrainingState:
    weights = {"w": torch.full((2, 3), float(step)).T}
    return TrainingState(step, weights, {"exp_avg/w": torch.ones(3, 2)}, {"note": [step, None]})


def test_a_saved_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    save_state(tmp_path, state(7))
    found = load_state(tmp_path)
    assert found is not None
    assert (found.step, found.rest) == (7, {"note": [7, None]})
    assert torch.equal(found.model["w"], state(7).model["w"])


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none") is None


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        save_state(tmp_path, state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000011"]


def test_a_half_written_state_is_removed_and_not_taken_for_one(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    partial = tmp_path / ".step-000002.partial"
    partial.mkdir()
    (partial / "state.json").write_text("{}")
    found = load_state(tmp_path)
    assert found is not None
    assert found.step == 1
    assert not partial.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_state_is_passed_over_and_replaced(tmp_path: Path, name: str) -> None:
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    file = tmp_path / "step-000002" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found = load_state(tmp_path)
    assert found is not None
    assert found.step == 1
    save_state(tmp_path, state(2))
    again = load_state(tmp_path)
    assert again is not None
    assert again.step == 2


def test_only_damaged_states_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    (tmp_path / "step-000001" / "state.json").unlink()
    with pytest.raises(
        DataError, match="no readable state in .* delete it to start the stage over"
    ):
        load_state(tmp_path)


def test_restored_optimizer_continues_exactly() -> None:
    def make() -> tuple[dict[str, torch.Tensor], torch.optim.AdamW]:
        weight = torch.ones(3, requires_grad=True)
        return {"w": weight}, torch.optim.AdamW([weight], lr=0.1)

    def step(weights: dict[str, torch.Tensor], optimizer: torch.optim.AdamW, slope: float) -> None:
        weights["w"].grad = torch.tensor([slope, -slope, 2 * slope])
        optimizer.step()

    first, first_optimizer = make()
    step(first, first_optimizer, 1.0)
    second, second_optimizer = make()
    with torch.no_grad():
        second["w"].copy_(first["w"])
    saved = {k: v.clone() for k, v in optimizer_tensors(first_optimizer, first).items()}
    restore_optimizer(second_optimizer, second, saved)
    step(first, first_optimizer, 0.3)
    step(second, second_optimizer, 0.3)
    assert torch.equal(first["w"], second["w"])
