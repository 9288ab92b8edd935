"""What is trained on are the model's own logits, whatever an architecture does to them."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    HyperCLOVAXConfig,
    LlamaConfig,
    PreTrainedConfig,
)

from longspan.harness.errors import ModelError
from longspan.trainers.local.output import check_training_forward, output_logits
from longspan.trainers.local.policy import load_trainable
from longspan.trainers.model_settings import ModelSettings
from tests.trainers.tiny import SIZES, save_tiny, tiny_model

SMALL = {**SIZES, "vocab_size": 80, "pad_token_id": 0, "initializer_range": 0.3}
REFUSED = "log-probabilities of the training forward are not the model's own"
KNOWN = {
    "plain": LlamaConfig(**SMALL),
    "divided": GraniteConfig(**SMALL, logits_scaling=8.0),
    "multiplied": CohereConfig(**SMALL, logit_scale=0.0625),
    "capped": Gemma2Config(**SMALL, final_logit_softcapping=2.0),
}


def build(config: PreTrainedConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", KNOWN)
def test_logits_of_known_architectures_are_the_models_own(name: str) -> None:
    model, ids = build(KNOWN[name]), torch.tensor([[7, 8, 9]])
    check_training_forward(model)
    with torch.no_grad():
        hidden = model.base_model(ids).last_hidden_state
        torch.testing.assert_close(output_logits(model, hidden), model(ids).logits)


def test_logits_that_are_multiplied_by_what_others_divide_by_are_refused() -> None:
    model = build(HyperCLOVAXConfig(**SMALL, logits_scaling=4.0))
    with pytest.raises(ModelError, match=REFUSED):
        check_training_forward(model)


def test_hidden_states_that_are_scaled_before_the_head_are_refused() -> None:
    model = tiny_model()
    model.lm_head.register_forward_pre_hook(lambda _, given: (given[0] / 4,))
    with pytest.raises(ModelError, match=REFUSED):
        check_training_forward(model)


def test_layers_that_do_not_attend_are_refused_before_training() -> None:
    model = tiny_model()
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ModelError, match="cannot train architecture Llama.*got linear_attention"):
        check_training_forward(model)


def test_a_policy_that_would_be_trained_on_other_logits_is_not_loaded(tmp_path, monkeypatch):
    folder = save_tiny(tmp_path / "start")
    load_trainable(str(folder), ModelSettings(device="cpu"), seed=0)
    monkeypatch.setattr(
        "longspan.trainers.local.output.token_statistics", lambda hidden, *_: tuple(hidden.T[:2])
    )
    with pytest.raises(ModelError, match=REFUSED):
        load_trainable(str(folder), ModelSettings(device="cpu"), seed=0)
