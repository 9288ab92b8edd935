"""Trains the embedded policy from scratch on the declared mixture, from a seed.

    python scripts/embedded_policy/train.py --mixture base --out nano-first
    python scripts/embedded_policy/train.py --mixture base --out nano --init nano-first --steps 1600
    python scripts/embedded_policy/train.py --mixture clean --out nano-ceiling

(`make policy`). The mixture never changes within a checkpoint; --init continues with fresh
optimizer state, new data and documents of full length from the start.

One process, one thread; the run is a function of the seed and the number of steps. Every 50 steps
a line with the training loss goes to `<out>.curve.jsonl`; `probe.py` measures accuracy.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
from demonstrations import BASE_MIXTURE, CLEAN_MIXTURE, Mixture, Row, draw_row
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from vocabulary import READING, WINDOW, build_tokenizer

from longspan.trainers.local.prefix import packed_target_hidden

MIXTURES = {"base": BASE_MIXTURE, "clean": CLEAN_MIXTURE}
CURRICULUM = ((0, 50), (150, 80), (350, 120), (600, 179))
"""(first step, largest document in tokens)"""
ROWS_PER_STEP = 16
MICRO_BATCH_ROWS = 4
WARM_UP_STEPS = 60
DECAY_SHARE, CONTINUED_DECAY_SHARE = 0.3, 0.6
"""The learning rate is constant and falls linearly to zero over the last part of the run."""
MATRIX_LEARNING_RATE, OTHER_LEARNING_RATE = 4e-3, 3e-3
WEIGHT_DECAY, MAX_GRADIENT_NORM = 0.05, 1.0

Item = tuple[list[int], list[tuple[list[int], list[int]]]]


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Returns the untrained policy: 4 layers, hidden size 128, tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        attn_implementation="sdpa",
        longspan_reading=READING,
    )
    return LlamaForCausalLM(config)


def encode_row(tokenizer: PreTrainedTokenizerFast, row: Row) -> Item:
    """Returns the row as token ids, with the chat template's tokens around prompt and response."""
    bos, user, assistant, end = (
        tokenizer.convert_tokens_to_ids(t) for t in ("<s>", "<|user|>", "<|assistant|>", "<|end|>")
    )
    texts = [row.prefix, *(part for block in row.blocks for part in block)]
    prefix, *rest = tokenizer(texts, add_special_tokens=False)["input_ids"]
    blocks = [([*rest[i], end, assistant], [*rest[i + 1], end]) for i in range(0, len(rest), 2)]
    return [bos, user, *prefix], blocks


def item_tokens(item: Item) -> int:
    """Returns the tokens of a packed row."""
    return len(item[0]) + sum(len(a) + len(b) for a, b in item[1])


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices and AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n]
    embeddings = [p for n, p in named if "embed" in n]
    norms = [p for _, p in named if p.ndim < 2]
    muon = torch.optim.Muon(
        matrices,
        lr=MATRIX_LEARNING_RATE,
        momentum=0.95,
        weight_decay=WEIGHT_DECAY,
        adjust_lr_fn="match_rms_adamw",
    )
    groups = [
        {"params": embeddings, "weight_decay": WEIGHT_DECAY},
        {"params": norms, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=OTHER_LEARNING_RATE, betas=(0.9, 0.98))
    return [muon, adam]


def rate_factor(step: int, num_steps: int, decay_share: float) -> float:
    """Returns the learning-rate factor in [0, 1]: warm-up, constant, linear decay."""
    decay_steps = decay_share * num_steps
    return min(1.0, (step + 1) / WARM_UP_STEPS, (num_steps - step) / decay_steps)


def train_step(
    model: LlamaForCausalLM, optims: list[torch.optim.Optimizer], items: list[Item]
) -> float:
    """Takes one step over packed rows; returns the mean loss per response token (nats)."""
    items = sorted(items, key=item_tokens)
    num_targets = sum(len(target) for _, blocks in items for _, target in blocks)
    total = 0.0
    for start in range(0, len(items), MICRO_BATCH_ROWS):
        packed = packed_target_hidden(model, items[start : start + MICRO_BATCH_ROWS])
        logits = model.lm_head(packed.hidden)
        loss = functional.cross_entropy(logits, packed.target_ids, reduction="sum") / num_targets
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    for optim in optims:
        optim.step()
        optim.zero_grad()
    if not math.isfinite(total):
        raise FloatingPointError(f"the training loss is {total}")
    return total


def largest_document(step: int) -> int:
    """Returns the curriculum's largest document at a step, in tokens."""
    return next(tokens for start, tokens in reversed(CURRICULUM) if step >= start)


def draw_items(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, mixture: Mixture, step: int
) -> list[Item]:
    """Returns one batch; most rows have the current length, the others any shorter one."""
    largest = largest_document(step)
    budgets = [
        largest if rng.random() < 0.5 else rng.randint(40, largest) for _ in range(ROWS_PER_STEP)
    ]
    return [encode_row(tokenizer, draw_row(rng, mixture, budget)) for budget in budgets]


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes the checkpoint in half precision."""
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    """Runs the training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixture", choices=sorted(MIXTURES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="continue from this checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, options.seed)
    first_step, decay_share = 0, DECAY_SHARE
    if options.init is not None:
        continued = LlamaForCausalLM.from_pretrained(options.init, dtype=torch.float32)
        model.load_state_dict(continued.state_dict())
        first_step, decay_share = CURRICULUM[-1][0], CONTINUED_DECAY_SHARE
    optims = optimizers(model)
    base_rates = [[group["lr"] for group in optim.param_groups] for optim in optims]
    rng = random.Random(f"{options.seed}/{first_step}" if first_step else options.seed)
    curve = options.out.with_name(options.out.name + ".curve.jsonl")
    curve.parent.mkdir(parents=True, exist_ok=True)
    started, tokens, average = time.monotonic(), 0, 0.0
    with curve.open("w") as log:
        for step in range(options.steps):
            factor = rate_factor(step, options.steps, decay_share)
            for optim, rates in zip(optims, base_rates, strict=True):
                for group, rate in zip(optim.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            items = draw_items(rng, tokenizer, MIXTURES[options.mixture], first_step + step)
            loss = train_step(model, optims, items)
            tokens += sum(map(item_tokens, items))
            average = loss if step == 0 else 0.95 * average + 0.05 * loss
            if (step + 1) % 50 == 0:
                seconds = round(time.monotonic() - started)
                line = {
                    "step": step + 1,
                    "loss": round(average, 4),
                    "tokens": tokens,
                    "seconds": seconds,
                }
                print(json.dumps(line), file=log, flush=True)
                print(json.dumps(line), file=sys.stderr, flush=True)
            if (step + 1) % 250 == 0:
                save(model, tokenizer, options.out)
    save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
