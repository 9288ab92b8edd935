"""Training step (forward and backward) of one group of rollouts, prompt computed once or G times.

    python benchmarks/shared_prefix.py --shape nano --out shared_prefix.json
    python benchmarks/shared_prefix.py --shape smollm2-135m --layers 6

Both sides are the trainer's own step, `Learner.gradient`: attention without a dense mask, streamed
loss, micro-batches. `shared` packs a group as [prompt | response 1 | ... | response G]; `unshared`
has a row of its own for every rollout. Weights and tokens are random. Each run has a process of its
own, steps once unmeasured and once measured; the ratio is the median over pairs, and the gradients
of the first pair are compared.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from paired import Watch, alternate, machine, medians, peak_mib, write_results
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.batch import PackedItem, RolloutBatch, build_batch
from longspan.trainers.local.learner import Learner
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings

SIDES = ("shared", "unshared")
SHAPES: dict[str, dict[str, int]] = {
    "nano": {
        "vocab_size": 416,
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "smollm2-135m": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "qwen3-0.6b": {
        "vocab_size": 151_936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
}
"""Shapes of the packaged checkpoint, of SmolLM2-135M and of Qwen3-0.6B, as Llama layers."""
NO_CLIPPING = 1e9
"""Gradients are compared as they are."""


def main() -> None:
    """Measures both sides in turns and prints what they took."""
    options = parse()
    if options.side:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as folder:

        def command(side: str) -> list[str]:
            own = ["--side", side, "--gradients", f"{folder}/{side}"]
            return [sys.executable, __file__, *sys.argv[1:], *own]

        runs = alternate(command, SIDES, options.repeats)
        shared, unshared = (load_file(f"{folder}/{side}") for side in SIDES)
    report(options, runs, relative_difference(shared, unshared))


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=tuple(SHAPES), default="nano")
    parser.add_argument("--layers", type=int, help="Number of layers, in place of the shape's.")
    parser.add_argument("--prompt-tokens", type=int, default=4096)
    parser.add_argument("--response-tokens", type=int, default=256)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--micro-batch-tokens", type=int, default=8192)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--gradients", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def report(options: argparse.Namespace, runs: dict[str, Any], difference: float) -> None:
    """Prints the figures and their ratios, and writes them where asked."""
    found = {side: medians(own) for side, own in runs.items()}
    pairs = list(zip(runs["shared"], runs["unshared"], strict=True))
    ratios = {
        key: statistics.median(unshared[key] / shared[key] for shared, unshared in pairs)
        for key in ("seconds", "cpu_seconds")
    }
    where = machine(options.device, options.threads)
    layers = options.layers or SHAPES[options.shape]["num_hidden_layers"]
    print(
        f"{options.shape}, {layers} layers, prompt {options.prompt_tokens}, {options.group_size} "
        f"responses of {options.response_tokens}, {options.dtype}, {where['device']}, "
        f"{options.threads} threads of {where['processor']}, {where['date']}, "
        f"{options.repeats} pairs"
    )
    for side, values in found.items():
        print(
            f"{side:9} {values['seconds']:8.2f} s {values['cpu_seconds']:8.2f} CPU s "
            f"{values['num_tokens']:8.0f} tokens {values['peak_mib']:8.0f} MiB peak"
        )
    print(
        f"shared is {ratios['seconds']:.2f}x faster ({ratios['cpu_seconds']:.2f}x in CPU seconds); "
        f"relative difference of the gradients {difference:.1e}"
    )
    settings = {key: str(value) for key, value in vars(options).items() if value is not None}
    results = {
        "machine": where,
        "settings": settings,
        "runs": runs,
        "ratios": ratios,
        "relative_gradient_difference": difference,
    }
    write_results(options.out, results)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Returns what one training step of `options.side` takes; saves its gradient."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    model = build_model(options).to(device)
    optimizer = OptimizerSettings(
        learning_rate=1e-6,
        max_gradient_norm=NO_CLIPPING,
        micro_batch_tokens=options.micro_batch_tokens,
    )
    learner = Learner(model, optimizer, temperature=1.0)
    batch = build_batch(rollouts(options))
    if options.side == "unshared":
        batch = unshared(batch)
    objective = Objective(ObjectiveSettings(deviation="group"))
    learner.gradient(batch, objective, 0)
    peak_mib(device)
    watch = Watch(device)
    update = learner.gradient(batch, objective, 0)
    seconds, cpu_seconds = watch.lap()
    gradients = {
        name: parameter.grad.float().cpu()
        for name, parameter in learner.parameters.items()
        if parameter.grad is not None
    }
    save_file(gradients, options.gradients)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mib": peak_mib(device),
        "num_tokens": update.num_computed_tokens,
        "loss": update.loss,
        "gradient_norm": update.gradient_norm,
    }


def build_model(options: argparse.Namespace) -> Any:
    """Returns the model of the options."""
    shape = SHAPES[options.shape]
    shape = {**shape, "num_hidden_layers": options.layers or shape["num_hidden_layers"]}
    window = options.prompt_tokens + options.response_tokens
    return shaped_model(shape, window, getattr(torch, options.dtype))


def shaped_model(shape: dict[str, int], window: int, dtype: torch.dtype) -> Any:
    """Returns a model of a shape with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=window, tie_word_embeddings=True)
    return LlamaForCausalLM(config).to(dtype).eval()


def rollouts(options: argparse.Namespace) -> list[Rollout]:
    """Returns a group of rollouts of random tokens; every other one earns the reward."""
    rng = random.Random(0)
    vocabulary = SHAPES[options.shape]["vocab_size"]

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(count))

    prompt = tokens(options.prompt_tokens)
    return [
        rollout("prompt", number, prompt, tokens(options.response_tokens), float(number % 2))
        for number in range(options.group_size)
    ]


def rollout(
    sample_id: str, number: int, prompt: tuple[int, ...], sampled: tuple[int, ...], reward: float
) -> Rollout:
    """Returns a rollout of one turn, the `number`-th of its sample."""
    return Rollout(
        task="benchmark",
        task_type=None,
        advantage_group="benchmark",
        sample_id=sample_id,
        epoch=number + 1,
        turns=(Turn(prompt, sampled, (0.0,) * len(sampled), "stop"),),
        reward=reward,
        validity="answered",
        policy_version=0,
        seconds=0.0,
        prompt_tokens=len(prompt),
        sampled_tokens=len(sampled),
        error=None,
    )


def unshared(batch: RolloutBatch) -> RolloutBatch:
    """Returns the batch with a row of its own for every branch: its prompt and its tokens."""
    items = []
    for item in batch.items:
        start = item.start
        for suffix, sampled in item.branches:
            whole = ((*item.prefix, *suffix), sampled)
            items.append(PackedItem((), (whole,), item.group, start))
            start += len(sampled)
    return replace(batch, items=tuple(items))


def relative_difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns |found - expected| / |expected| over all parameters together (Euclidean norms)."""
    difference = sum(
        float((found[k].double() - expected[k].double()).square().sum()) for k in expected
    )
    size = sum(float(one.double().square().sum()) for one in expected.values())
    return float((difference / size) ** 0.5)


if __name__ == "__main__":
    main()
