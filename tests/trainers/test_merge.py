"""SCE: worked examples by hand, properties, equality with mergekit, and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from longspan.harness.cli import main
from longspan.harness.errors import ModelError
from longspan.trainers import merge_files
from longspan.trainers.local.checkpoint import find_checkpoint, load_checkpoint
from longspan.trainers.merge import sce
from longspan.trainers.merge_files import RECORD_FILE, merge_checkpoints


def test_weights_are_mean_squares_and_the_minority_sign_is_erased():
    base = torch.zeros(2)
    one, two = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 2.0])
    # mean squares 5 and 2.5: weights 2/3 and 1/3. First element: (2/3 * 3 + 1/3 * 1) / 1; second:
    # the sum is +1, so -1 is erased and what is left is 2.
    expected = torch.tensor([7 / 3, 2.0])
    assert torch.allclose(sce(base, [one, two]), expected)


def test_selection_keeps_the_elements_that_vary_most():
    base = torch.ones(4)
    one, two = torch.tensor([1.0, 2.0, 5.0, 1.5]), torch.tensor([1.0, 2.0, 1.0, 1.0])
    # variances 0, 0, 4, 0.0625; two are not zero, half of them is one element
    assert sce(base, [one, two], density=0.5).tolist() == [1.0, 1.0, 5.0, 1.0]
    assert sce(base, [one, two], density=0.0).tolist() == base.tolist()


def test_tiny_updates_weigh_alike_under_the_floor_and_by_the_formula_without_it():
    base, small = torch.zeros(1), [torch.tensor([3e-4]), torch.tensor([1e-4])]
    assert sce(base, small).item() == pytest.approx(2e-4)
    assert sce(base, small, weight_floor=0).item() == pytest.approx(0.9 * 3e-4 + 0.1 * 1e-4)


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=20), st.integers(1, 4))
def test_merging_copies_gives_the_copy_and_no_change_gives_the_base(values, number):
    base = torch.zeros(len(values))
    model = torch.tensor(values)
    assert torch.allclose(sce(base, [model] * number), model, atol=1e-5)
    assert torch.equal(sce(model, [model] * number), model)


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_the_result_lies_between_base_and_models(seed, density):
    random = torch.Generator().manual_seed(seed)
    base, *models = (torch.randn(6, 5, generator=random) for _ in range(4))
    merged = sce(base, models, density)
    every = torch.stack([base, *models])
    assert (merged <= every.amax(0) + 1e-5).all() and (merged >= every.amin(0) - 1e-5).all()


@pytest.mark.parametrize("density", [1.0, 0.6, 0.15])
def test_it_is_mergekits_sce(density):
    kit = pytest.importorskip("mergekit.merge_methods.sce", reason="mergekit is not installed")
    random = torch.Generator().manual_seed(1)
    for shape, scale in (((64, 48), 0.1), ((33,), 1e-4), ((8, 8), 1e-2)):
        base = torch.randn(shape, generator=random)
        models = [base + scale * torch.randn(shape, generator=random) for _ in range(3)]
        assert torch.allclose(
            sce(base, models, density), theirs(kit, base, models, density), atol=1e-6
        )


def test_it_is_mergekits_sce_on_trained_checkpoints():
    kit = pytest.importorskip("mergekit.merge_methods.sce", reason="mergekit is not installed")
    base, trained = (
        load_file(Path(find_checkpoint(name)) / "model.safetensors")
        for name in ("nano", "nano-ceiling")
    )
    for name, tensor in base.items():
        # Between the two: a second model with differences of another size.
        models = [trained[name].float(), (0.7 * tensor + 0.3 * trained[name]).float()]
        ours = sce(tensor.float(), models, 0.6)
        assert torch.allclose(ours, theirs(kit, tensor.float(), models, 0.6), atol=1e-6), name


def theirs(
    kit: Any, base: torch.Tensor, models: list[torch.Tensor], density: float
) -> torch.Tensor:
    """What mergekit makes of the same tensors."""
    entries = [SimpleNamespace(tensor=model) for model in models]
    group = SimpleNamespace(base=SimpleNamespace(tensor=base), non_base=entries)
    return kit.sce_merge.implementation(group, select_topk=density)


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[str]:
    """The packaged policy and two that differ from it, one of them in two shards."""
    base = Path(find_checkpoint("nano"))
    made = [str(base)]
    for number in (1, 2):
        folder = tmp_path / f"model-{number}"
        shutil.copytree(base, folder)
        random = torch.Generator().manual_seed(number)
        tensors = load_file(folder / "model.safetensors")
        moved = {
            name: (t + 0.01 * torch.randn(t.shape, generator=random)).to(t.dtype)
            for name, t in tensors.items()
        }
        names = sorted(moved)
        (folder / "model.safetensors").unlink()
        cuts = {"a": names[: len(names) // 2], "b": names[len(names) // 2 :]}
        for part, own in cuts.items():
            save_file(
                {n: moved[n] for n in own}, folder / f"model-{part}.safetensors", {"format": "pt"}
            )
        index = {n: f"model-{part}.safetensors" for part, own in cuts.items() for n in own}
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": index})
        )
        made.append(str(folder))
    return made


def test_folders_are_merged_and_the_record_says_from_what(checkpoints, tmp_path, monkeypatch):
    base, *models = checkpoints
    record = merge_checkpoints(models, base, tmp_path / "whole", density=0.8)
    monkeypatch.setattr(merge_files, "SHARD_BYTES", 100_000)
    sharded = merge_checkpoints(models, base, tmp_path / "sharded", density=0.8)
    assert record["weights"] == sharded["weights"]
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    for name in ("whole", "sharded"):
        loaded = load_checkpoint(tmp_path / name)
        written = json.loads((tmp_path / name / RECORD_FILE).read_text())
        assert written["models"][0]["name"] == "model-1" and written["density"] == 0.8
    tensors = load_file(tmp_path / "whole" / "model.safetensors")
    name = next(n for n, t in tensors.items() if t.dim() == 2)
    sides = [load_checkpoint(one).model.state_dict()[name].float() for one in checkpoints]
    expected = sce(sides[0], sides[1:], 0.8)
    assert torch.allclose(loaded.model.state_dict()[name].float(), expected, atol=1e-2)
    assert not torch.equal(loaded.model.state_dict()[name].float(), sides[0])


def test_the_command_merges_and_refuses_what_does_not_fit(checkpoints, tmp_path, capsys):
    base, one, two = checkpoints
    out = tmp_path / "merged"
    assert main(["merge", one, two, "--base", base, "--out", str(out)]) == 0
    assert "merged 2 checkpoints" in capsys.readouterr().out
    assert main(["merge", one, "--base", base, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["merge", one, "--base", "nowhere", "--out", str(tmp_path / "x")]) == 2
    assert "no packaged checkpoint or folder 'nowhere'" in capsys.readouterr().err


def test_checkpoints_that_do_not_fit_are_refused_and_leave_nothing(checkpoints, tmp_path):
    base, one, two = map(Path, checkpoints)
    shard: dict[str, Any] = load_file(two / "model-a.safetensors")
    first = sorted(shard)[0]
    save_file({**shard, first: shard[first][:1].contiguous()}, two / "model-a.safetensors")
    with pytest.raises(ModelError, match=f"{first} is .* there"):
        merge_checkpoints([str(two)], str(base), tmp_path / "out")
    del shard[first]
    save_file(shard, two / "model-a.safetensors")
    with pytest.raises(ModelError, match=f"only nano has {first}"):
        merge_checkpoints([str(two)], str(base), tmp_path / "out")
    (two / "model-a.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot read the weights"):
        merge_checkpoints([str(one), str(two)], str(base), tmp_path / "out")
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]
