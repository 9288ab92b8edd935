"""What `longspan forecast train` computes against what a real training step takes.

    python benchmarks/forecast_check.py --out forecast_check.json

Each case is the embedded engine's own update (`Learner.update`) of a random model, in a process of
its own: the peak of memory beyond the imports, and the time of the second step. The forecast of the
time is told the rate of plain matrix products, which is measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
from paired import Watch, alternate, machine, medians, peak_mib, write_results
from transformers import AutoConfig, AutoModelForCausalLM

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.batch import build_batch
from longspan.trainers.forecast.architecture import architecture_of
from longspan.trainers.forecast.memory import (
    local_holding,
    local_precision,
    packed_tokens,
    training_memory,
)
from longspan.trainers.forecast.timing import num_passes, packed_flops
from longspan.trainers.forecast.workload import Workload
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.lora import Adapters
from longspan.trainers.model_settings import LoraSettings, ModelSettings
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, OptimizerSettings

DENSE = {
    "model_type": "qwen3",
    "vocab_size": 8000,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
EXPERTS = {
    **DENSE,
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 192,
    "num_experts": 16,
    "num_experts_per_tok": 4,
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dense": (DENSE, {}),
    "dense, checkpointing": (DENSE, {"gradient_checkpointing": True}),
    "dense, bfloat16": (DENSE, {"dtype": "bfloat16"}),
    "dense, adapters": (DENSE, {"lora": {"rank": 16}}),
    "experts": (EXPERTS, {}),
    "experts, checkpointing": (EXPERTS, {"gradient_checkpointing": True}),
}
WORK = Workload(2, 4, 1, prefix_tokens=1024, suffix_tokens=0, output_tokens=128)
MICRO_BATCH_TOKENS = 2048
RATE_SECONDS = 2.0


def main() -> None:
    """Measures every case and prints it beside its forecast."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    parser.add_argument("--case", choices=tuple(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        torch.set_num_threads(options.threads)
        print(json.dumps(measure(options.case, torch.device(options.device))))
        return
    runs = alternate(
        lambda case: [sys.executable, __file__, *sys.argv[1:], "--case", case],
        tuple(CASES),
        options.repeats,
    )
    where = machine(options.device, options.threads)
    print(f"{options.threads} threads of {where['processor']}, {where['date']}")
    print(f"{'':24}  computed MiB  measured  ratio   computed s  measured  ratio")
    for case, own in runs.items():
        found = medians(own)
        print(
            f"{case:24}  {found['computed_mib']:12,.0f}  {found['measured_mib']:8,.0f}  "
            f"{found['computed_mib'] / found['measured_mib']:5.2f}   "
            f"{found['computed_seconds']:10.2f}  {found['measured_seconds']:8.2f}  "
            f"{found['computed_seconds'] / found['measured_seconds']:5.2f}"
        )
    write_results(options.out, {"machine": where, "runs": runs})


def measure(case: str, device: torch.device) -> dict[str, float]:
    """Returns what a case takes and what was computed for it."""
    config, model_settings = CASES[case]
    settings = ModelSettings.model_validate(model_settings)
    before = peak_mib(device)
    config = AutoConfig.for_model(**config)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(device).eval()
    precision = local_precision(settings, device.type == "cpu")
    compute = Compute(
        torch.bfloat16 if precision.is_autocast else None, settings.gradient_checkpointing
    )
    if settings.lora is not None:
        Adapters(model, LoraSettings(rank=settings.lora.rank), 0)
    optimizer = OptimizerSettings(learning_rate=1e-5, micro_batch_tokens=MICRO_BATCH_TOKENS)
    learner = Learner(model, optimizer, 1.0, compute)
    objective = Objective(ObjectiveSettings.model_validate({"aepo": {"low": 0.0, "high": 99.0}}))
    batch = build_batch(random_rollouts(config.vocab_size))
    learner.update(batch, objective, 0)
    watch = Watch(device)
    learner.update(batch, objective, 1)
    seconds, _ = watch.lap()
    sizes = architecture_of(config, case)
    computed = training_memory(
        sizes,
        local_holding(sizes, precision),
        precision,
        packed_tokens(WORK, MICRO_BATCH_TOKENS),
        settings.gradient_checkpointing,
    )
    copy = computed.holding.copy  # of the weights, for an engine that is not there
    flops = num_passes(True, settings.gradient_checkpointing)
    flops *= packed_flops(sizes, WORK, MICRO_BATCH_TOKENS)
    return {
        "computed_mib": (computed.total - copy) / 2**20,
        "measured_mib": peak_mib(device) - before,
        "computed_seconds": flops / rate_of_products(device),
        "measured_seconds": seconds,
    }


def random_rollouts(vocabulary: int) -> list[Rollout]:
    """Returns a step's rollouts of random tokens and rewards, of the lengths of `WORK`."""
    draw = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(count))

    found = []
    for group in range(WORK.num_groups):
        prompt = ids(WORK.prefix_tokens)
        for epoch in range(1, WORK.group_size + 1):
            sampled = ids(WORK.output_tokens)
            turn = Turn(prompt, sampled, (-1.0,) * len(sampled), "stop")
            rollout = Rollout(
                "k", "t", "t/x", f"s{group}", epoch, (turn,), float(epoch % 2), "answered",
                0, 0.0, 0, 0,
            )  # fmt: skip
            found.append(rollout)
    return found


def rate_of_products(device: torch.device) -> float:
    """Returns the operations per second of float32 matrix products of a layer's shape."""
    tokens, hidden, inner = MICRO_BATCH_TOKENS, DENSE["hidden_size"], DENSE["intermediate_size"]
    left, right = (
        torch.rand(tokens, hidden, device=device),
        torch.rand(hidden, inner, device=device),
    )
    left @ right
    watch, count, started = Watch(device), 0, time.perf_counter()
    while time.perf_counter() - started < RATE_SECONDS:
        left @ right
        count += 1
    seconds, _ = watch.lap()
    return 2.0 * tokens * hidden * inner * count / seconds


if __name__ == "__main__":
    main()
