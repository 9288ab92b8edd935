"""A random Llama of a few thousand parameters with a word-level tokenizer, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
WORDS = """
the a of in is was to who what where mayor town river lamp red blue old new and Therefore , answer
. ? : ( ) A B C D Kukton Tastal Karo Dresex Options one two three four five six seven memory plan
question document < > / Question Answer The think
"""
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def tiny_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """Returns a word-level tokenizer with a chat template unless None."""
    vocab = {token: i for i, token in enumerate(dict.fromkeys(SPECIAL + WORDS.split()))}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w ]"), "removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=SPECIAL[2:5],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_model(
    seed: int = 0, dtype: torch.dtype = torch.float32, **config: Any
) -> LlamaForCausalLM:
    """Returns a random Llama (grouped-query, window 256) whose vocabulary fits `tiny_tokenizer`."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": 80,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": SPECIAL.index("<|end|>"),
        "initializer_range": 0.3,
        "attn_implementation": "sdpa",
    }
    model = LlamaForCausalLM(LlamaConfig(**{**settings, **SIZES, **config}))
    return model.to(dtype).eval()


def save_tiny(directory: Path, seed: int = 0, **config: Any) -> Path:
    """Writes the tiny model and its tokenizer as a Hugging Face checkpoint; returns `directory`."""
    tiny_model(seed, **config).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory
