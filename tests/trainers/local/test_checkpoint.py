"""Checkpoints: whole or not at all, identity by weights, errors in one line."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from longspan.harness.errors import ModelError
from longspan.trainers.local import checkpoint as module
from longspan.trainers.local.checkpoint import (
    convert_gguf_command,
    load_checkpoint,
    save_checkpoint,
    weights_hash,
)
from tests.trainers.tiny import save_tiny, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path):
    return save_tiny(tmp_path / "tiny")


def test_a_saved_checkpoint_loads_with_the_same_logits_tokens_and_hash(tmp_path):
    model, tokenizer = tiny_model(), tiny_tokenizer()
    save_checkpoint(tmp_path / "new" / "one", model, tokenizer)
    loaded = load_checkpoint(tmp_path / "new" / "one")
    ids = torch.tensor([[7, 8, 9]])
    assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    assert loaded.tokenizer.encode("the mayor") == tokenizer.encode("the mayor")
    assert loaded.tokenizer.chat_template == tokenizer.chat_template
    save_checkpoint(tmp_path / "two", loaded.model, loaded.tokenizer)
    assert weights_hash(tmp_path / "two") == weights_hash(tmp_path / "new" / "one")
    save_checkpoint(tmp_path / "two", tiny_model(seed=1), tokenizer)
    assert weights_hash(tmp_path / "two") != weights_hash(tmp_path / "new" / "one")


def test_half_precision_is_stored_and_the_model_is_left_alone(tmp_path):
    model = tiny_model()
    save_checkpoint(tmp_path / "half", model, tiny_tokenizer(), torch.float16)
    assert model.dtype == torch.float32
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "float16"
    assert load_checkpoint(tmp_path / "half").model.dtype == torch.float32
    assert load_checkpoint(tmp_path / "half", dtype="bfloat16").model.dtype == torch.bfloat16


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(
    folder, tmp_path, monkeypatch
):
    before = weights_hash(folder)

    def no_space(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_flush", no_space)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(folder, tiny_model(seed=2), tiny_tokenizer())
    assert weights_hash(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_hash_does_not_depend_on_shards(tmp_path):
    tiny_model().save_pretrained(tmp_path / "one")
    tiny_model().save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    assert weights_hash(tmp_path / "one") == weights_hash(tmp_path / "many")


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def without_template(folder):
    shutil.rmtree(folder)
    tiny_model().save_pretrained(folder)
    tiny_tokenizer(chat_template=None).save_pretrained(folder)


def without_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def template(text):
    return lambda folder: tiny_tokenizer(chat_template=text).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "no such checkpoint folder"),
        (remove("config.json"), "no config.json"),
        (remove("model.safetensors"), "no safetensors"),
        (remove("tokenizer.json"), "no tokenizer"),
        (without_template, "has no chat template"),
        (without_a_tensor, "no weights for model.norm.weight; .*copy or download"),
        (template("{% for"), "chat template of .* does not work: .*; mend its chat_template"),
        (template("{{ messages + 1 }}"), "chat template of .* does not work: .*; mend its"),
        (lambda d: (d / "config.json").write_text('{"model_type": "no-such"}'), "cannot load"),
        (lambda d: (d / "config.json").write_text("{"), "cannot load"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "cannot load the tokenizer of .*copy"),
        (lambda d: (d / "model.safetensors").write_bytes(b"cut"), "cannot load model .*copy"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(folder, damage, words):
    damage(folder)
    with pytest.raises(ModelError, match=words) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_a_hub_id_that_cannot_be_had_is_one_line(monkeypatch):
    def offline(*_):
        raise OSError("We couldn't connect\nto the Hub")

    monkeypatch.setattr(module, "cached_file", offline)
    with pytest.raises(ModelError, match="no folder and no Hub model owner/name .*connect"):
        load_checkpoint("owner/name")


def write_gguf(path):
    """Writes a one-layer Llama with a byte-level vocabulary; returns its embedding."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    size, heads, inner, words = 32, 2, 64, ["a", "b", "ab", "<|im_start|>", "<|im_end|>", "aba"]
    writer.add_context_length(128)
    writer.add_embedding_length(size)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([1, 1, 1, 3, 3, 1])
    writer.add_token_merges(["a b", "ab a"])
    writer.add_bos_token_id(3)
    writer.add_eos_token_id(4)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        values = rng.normal(size=shape).astype(np.float32)
        quantised = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        kind = gguf.GGMLQuantizationType.Q8_0
        if len(shape) == 2:
            writer.add_tensor(name, quantised, raw_dtype=kind)
            return gguf.quants.dequantize(quantised, kind)
        writer.add_tensor(name, values)
        return values

    embedding = tensor("token_embd.weight", len(words), size)
    tensor("output_norm.weight", size)
    tensor("blk.0.attn_norm.weight", size)
    tensor("blk.0.ffn_norm.weight", size)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"blk.0.{name}.weight", size, size)
    tensor("blk.0.ffn_gate.weight", inner, size)
    tensor("blk.0.ffn_up.weight", inner, size)
    tensor("blk.0.ffn_down.weight", size, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return embedding


def test_a_gguf_file_becomes_an_ordinary_checkpoint(tmp_path):
    embedding = write_gguf(tmp_path / "model.gguf")
    convert_gguf_command(tmp_path / "model.gguf", tmp_path / "out")
    loaded = load_checkpoint(tmp_path / "out")
    weight = loaded.model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(weight, embedding, atol=2e-3)
    assert not hasattr(loaded.model.config, "quantization_config")
    assert loaded.tokenizer.eos_token == "<|im_end|>"
    assert loaded.tokenizer.chat_template.startswith("{% for m")
    with pytest.raises(ModelError, match="exists already"):
        convert_gguf_command(tmp_path / "model.gguf", tmp_path / "out")


def test_what_is_not_gguf_is_one_line(tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelError, match="not a GGUF file"):
        convert_gguf_command(tmp_path / "text.gguf", tmp_path / "out")
    with pytest.raises(ModelError, match="no such file"):
        convert_gguf_command(tmp_path / "missing.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()
