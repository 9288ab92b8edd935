"""The model block: adapters, types and checkpointing train the same policy that samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.autograd.graph import saved_tensors_hooks

from longspan.harness.errors import ModelError
from longspan.trainers.local.checkpoint import load_checkpoint
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.policy import Policy, load_trainable
from longspan.trainers.metrics import MetricsFile
from longspan.trainers.model_settings import LoraSettings, ModelSettings
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings
from tests.trainers.local.test_learner import example
from tests.trainers.tiny import save_tiny, tiny_model
from tests.trainers.toy import run_toy, stop_before_step

IDS = torch.tensor([[7, 8, 9, 10, 11, 12]])
LORA = ModelSettings(device="cpu", lora=LoraSettings(rank=4, alpha=8))
OPTIMIZER = OptimizerSettings(learning_rate=1e-2, warmup_steps=0)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "start")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("adapted")
    run_toy(folder, {"model": LORA}, num_steps=4)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS.to(model.device)).logits


def updated(source: Path, settings: ModelSettings) -> Policy:
    """Returns a policy after one update."""
    trainable = load_trainable(str(source), settings, seed=0)
    policy = Policy(trainable)
    learner = Learner(trainable.model, OPTIMIZER, 1.0, trainable.compute)
    learner.update(example(), Objective(ObjectiveSettings()), step=0)
    policy.publish(1)
    return policy


def test_adapters_alone_are_trained_and_change_nothing_at_first(start: Path) -> None:
    plain = load_checkpoint(start).model
    trainable = load_trainable(str(start), LORA, seed=0)
    assert torch.equal(logits(trainable.model), logits(plain))
    names = [name for name, one in trainable.model.named_parameters() if one.requires_grad]
    assert names and all("lora_" in name for name in names)
    assert not any("lm_head" in name or "embed" in name for name in names)
    policy = updated(start, LORA)
    assert not torch.allclose(logits(policy.engine.model), logits(plain))
    frozen = dict(plain.named_parameters())
    for name, parameter in policy.trainable.model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, frozen[name.replace(".base_layer", "")])


def test_the_checkpoint_of_adapters_is_a_plain_one_with_their_part_in_it(
    adapted: Path, tmp_path: Path
) -> None:
    stage = adapted / "stage"
    merged = load_checkpoint(stage / "checkpoint").model
    base = load_checkpoint(adapted / "start").model
    loaded = PeftModel.from_pretrained(base, str(stage / "adapter"))
    assert not torch.allclose(logits(merged), logits(load_checkpoint(adapted / "start").model))
    torch.testing.assert_close(logits(merged), logits(loaded), rtol=1e-4, atol=1e-4)
    assert not any("lora" in name for name in load_file(stage / "checkpoint/model.safetensors"))


def test_what_adapters_sampled_is_what_is_trained(adapted: Path) -> None:
    rows = MetricsFile(adapted / "stage" / "metrics.jsonl").rows()
    assert len(rows) == 4 and all(row["logprob_gap"] < 1e-4 for row in rows)
    assert rows[-1]["gradient_norm"] > 0


def test_a_killed_run_with_adapters_ends_with_the_same_bytes(
    adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before_step(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, {"model": LORA}, num_steps=4)
    monkeypatch.undo()
    (state,) = sorted((tmp_path / "stage" / "states").glob("step-000002"))
    assert all("lora_" in name for name in load_file(state / "model.safetensors"))
    run_toy(tmp_path, {"model": LORA}, num_steps=4)
    files = [one / "stage/checkpoint/model.safetensors" for one in (adapted, tmp_path)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_layers_without_such_names_are_refused(start: Path) -> None:
    settings = ModelSettings(lora=LoraSettings(target_modules=("w_qkv",)), device="cpu")
    with pytest.raises(ModelError, match=r"w_qkv.*name others"):
        load_trainable(str(start), settings, seed=0)


def test_without_peft_the_extra_is_named(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"longspan\[lora\]"):
        load_trainable(str(start), LORA, seed=0)


def test_a_copy_in_bfloat16_samples_and_follows_the_weights(start: Path) -> None:
    settings = ModelSettings(device="cpu", dtype="bfloat16")
    trainable = load_trainable(str(start), settings, seed=0)
    policy = Policy(trainable)
    assert trainable.model.dtype == torch.float32
    assert policy.engine.model.dtype == torch.bfloat16
    before = logits(policy.engine.model)
    policy = updated(start, settings)
    assert not torch.equal(logits(policy.engine.model), before)
    copies = dict(policy.engine.model.named_parameters())
    for name, parameter in policy.trainable.model.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(copies[name], parameter.to(torch.bfloat16))
    assert policy.engine.policy_version == 1


def test_in_bfloat16_gradients_are_those_of_float32_but_for_rounding(start: Path) -> None:
    gradients = []
    for dtype in ("float32", "bfloat16"):
        found = load_trainable(str(start), ModelSettings(device="cpu", dtype=dtype), seed=0)
        learner = Learner(found.model, OPTIMIZER, 1.0, found.compute)
        learner.gradient(example(), Objective(ObjectiveSettings()), step=0)
        gradients.append(torch.cat([one.grad.flatten() for one in learner.parameters.values()]))
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    assert not torch.equal(*gradients) and float(cosine) > 0.99


def test_a_stage_in_bfloat16_learns_and_samples_alike(tmp_path: Path) -> None:
    run_toy(tmp_path, {"model": ModelSettings(device="cpu", dtype="bfloat16")}, num_steps=6)
    rows = MetricsFile(tmp_path / "stage" / "metrics.jsonl").rows()
    assert rows[-1]["reward_mean"] > rows[0]["reward_mean"]
    assert all(row["logprob_gap"] < 0.1 for row in rows)
    stored = load_file(tmp_path / "stage/checkpoint/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


def kept_bytes(learner: Learner) -> int:
    """Returns the bytes that autograd keeps between the forward and the backward of an update."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        learner.gradient(example(), Objective(ObjectiveSettings()), step=0)
    return sum(kept.values())


def test_checkpointing_gives_the_same_gradient_and_keeps_less() -> None:
    found = {}
    for checkpointing in (False, True):
        model = tiny_model(num_hidden_layers=6)
        learner = Learner(model, OPTIMIZER, 1.0, Compute(checkpointing=checkpointing))
        found[checkpointing] = kept_bytes(learner), [p.grad for p in model.parameters()]
        assert not any(module.training for module in model.modules())
    assert found[True][0] < found[False][0] / 2
    for ours, theirs in zip(found[True][1], found[False][1], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_models_that_cannot_be_computed_again_are_refused() -> None:
    compute = Compute(checkpointing=True)
    with pytest.raises(ModelError, match="no layers that transformers can compute again"):
        compute.check(torch.nn.Linear(2, 2))
    model = tiny_model()
    model.model.layers[0].dropout = 0.1
    with pytest.raises(ModelError, match="dropout"):
        compute.check(model)


def test_a_device_that_is_not_there_is_one_line(start: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ModelError, match="cuda is not available on this machine"):
        load_trainable(str(start), ModelSettings(device="cuda"), seed=0)
