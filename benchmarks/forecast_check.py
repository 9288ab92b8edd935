"""What `longspan forecast train` computes against what a real training step takes.

    python benchmarks/forecast_check.py --out forecast_check.json

Each case is the embedded engine's own update (`Learner.update`) of a random model, in a process of
its own: the most bytes of tensors at once, and the time of the second step. The forecast of the
time is told the rate of plain matrix products, which is measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from paired import Watch, alternate, machine, medians, write_results
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.batch import build_batch
from longspan.trainers.forecast.architecture import architecture_of
from longspan.trainers.forecast.memory import (
    local_holding,
    local_precision,
    packed_forward,
    training_memory,
)
from longspan.trainers.forecast.timing import num_passes, packed_flops
from longspan.trainers.forecast.workload import Workload
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.lora import Adapters
from longspan.trainers.model_settings import ModelSettings
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
    shape, model_settings = CASES[case]
    settings = ModelSettings.model_validate(model_settings)
    precision = local_precision(settings, device.type == "cpu")
    learner = learner_of(shape, settings, device)
    update(learner, WORK)
    watch = Watch(device)
    update(learner, WORK)
    seconds, _ = watch.lap()
    sizes = architecture_of(AutoConfig.for_model(**shape), case)
    holding = local_holding(sizes, precision)
    forward = packed_forward(WORK, MICRO_BATCH_TOKENS)
    again = settings.gradient_checkpointing
    computed = training_memory(sizes, holding, precision, forward, again)
    copy = holding.copy  # of the weights, for an engine that is not there
    flops = num_passes(True, again) * packed_flops(sizes, WORK, MICRO_BATCH_TOKENS)
    return {
        "computed_mib": (computed.total - copy) / 2**20,
        "measured_mib": tensor_peak(learner, device) / 2**20,
        "computed_seconds": flops / rate_of_products(device),
        "measured_seconds": seconds,
    }


def learner_of(shape: dict[str, Any], settings: ModelSettings, device: torch.device) -> Learner:
    """Returns the learner of a random model."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), dtype=torch.float32)
    model = model.to(device).eval()
    precision = local_precision(settings, device.type == "cpu")
    autocast = torch.bfloat16 if precision.is_autocast else None
    if settings.lora is not None:
        Adapters(model, settings.lora, 0)
    optimizer = OptimizerSettings(learning_rate=1e-5, micro_batch_tokens=MICRO_BATCH_TOKENS)
    return Learner(model, optimizer, 1.0, Compute(autocast, settings.gradient_checkpointing))


def update(learner: Learner, work: Workload) -> None:
    """Takes a step on random rollouts."""
    batch = build_batch(random_rollouts(work, learner.model.config.vocab_size))
    objective = Objective(ObjectiveSettings.model_validate({"aepo": {"low": 0.0, "high": 99.0}}))
    learner.update(batch, objective, 0)


def tensor_peak(learner: Learner, device: torch.device) -> int:
    """Returns the most bytes of tensors, weights and moments among them, during a step."""
    held = [*learner.model.parameters()]
    held += [one for state in learner.optimizer.state.values() for one in state.values()]
    learner.optimizer.zero_grad()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        update(learner, WORK)
        return torch.cuda.max_memory_allocated(device)
    with LiveTensors(held) as live:
        update(learner, WORK)
    return live.peak


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, as a GPU's allocator would.

    The memory of a process says little on a CPU: what is freed stays with it.
    """

    def __init__(self, held: Sequence[torch.Tensor]) -> None:
        """Begins with tensors that are there already."""
        super().__init__()
        self._sizes: dict[int, int] = {}
        self._now = self.peak = 0
        for one in held:
            self._add(one)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Computes an operation and counts its result."""
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self._add(one)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._remove, storage._cdata)

    def _remove(self, key: int) -> None:
        self._now -= self._sizes.pop(key, 0)


def random_rollouts(work: Workload, vocabulary: int) -> list[Rollout]:
    """Returns a step's rollouts of random tokens, half of them with a reward."""
    draw = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(count))

    found = []
    for group in range(work.num_groups):
        prompt = ids(work.prefix_tokens)
        for epoch in range(1, work.group_size + 1):
            sampled = ids(work.output_tokens)
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
