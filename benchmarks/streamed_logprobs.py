"""Peak memory and time of log-probability, entropy and loss with gradients, streamed and naive.

    python benchmarks/streamed_logprobs.py [--tokens 4096 --vocabulary 151936 --hidden 1024]

Each path runs in a process of its own, so that its peak is its own; the paths take turns, and the
ratio is that of the medians. The naive path is what a trainer does with a model's logits: the whole
[tokens, vocabulary] tensor, log_softmax, gather, entropy, autograd's backward. `statistics` is the
trainer's path where the weights of tokens follow from the entropies (two passes over the logits),
`loss` the one where they are known (one pass). Extra memory is the peak of the process above its
inputs and the gradients that every path must return; checksums of the gradients are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from longspan.trainers.entropy import OutputHead, token_statistics
from longspan.trainers.loss import policy_loss
from longspan.trainers.streamed_loss import streamed_loss

PATHS = ("naive", "statistics", "loss")


def main() -> None:
    """Measures every path in turns and prints what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    parser.add_argument("--path", choices=PATHS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.path:
        print(json.dumps(measure(options)))
        return
    found: dict[str, list[dict[str, float]]] = {path: [] for path in PATHS}
    for _ in range(options.repeats):
        for path in PATHS:
            command = [sys.executable, __file__, *sys.argv[1:], "--path", path]
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[path].append(json.loads(lines.splitlines()[-1]))
    report(options, found)


def report(options: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    """Prints the figures and their ratios, and writes them where asked."""
    medians = {
        path: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for path, runs in found.items()
    }
    print(
        f"{options.tokens} tokens x {options.vocabulary} vocabulary x {options.hidden} hidden, "
        f"{options.dtype}, {options.device}, {options.threads} threads, {options.repeats} repeats"
    )
    ratios = {}
    naive = medians["naive"]
    for path, values in medians.items():
        ratios[path] = {key: values[key] / naive[key] for key in ("seconds", "extra_mib")}
        print(
            f"{path:10} {values['seconds']:8.2f} s ({ratios[path]['seconds']:.2f}x) "
            f"{values['extra_mib']:8.0f} MiB extra (1/{1 / ratios[path]['extra_mib']:.0f})   "
            f"checksums {values['hidden_sum']:.6g} {values['weight_sum']:.6g}"
        )
    if options.out:
        options.out.write_text(json.dumps({"runs": found, "ratios": ratios}, indent=1) + "\n")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Returns seconds and extra MiB of one forward and backward of `options.path`."""
    torch.set_num_threads(options.threads)
    dtype, device = getattr(torch, options.dtype), torch.device(options.device)
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=random).to(device, dtype)

    hidden = draw(options.tokens, options.hidden).requires_grad_()
    weight = draw(options.vocabulary, options.hidden).mul_(0.02).requires_grad_()
    targets = torch.randint(options.vocabulary, (options.tokens,), generator=random).to(device)
    weights = torch.randn(options.tokens, generator=random).to(device) / options.tokens
    gradients = sum(one.numel() * one.element_size() for one in (hidden, weight)) / 2**20
    held = _peak(device)
    start = time.perf_counter()
    loss, entropies = PATH_FUNCTIONS[options.path](hidden, weight, targets, weights)
    loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return {
        "seconds": time.perf_counter() - start,
        "extra_mib": _peak(device) - held - gradients,
        "hidden_sum": float(hidden.grad.double().abs().sum()),
        "weight_sum": float(weight.grad.double().abs().sum()),
        "entropy": float(entropies.double().mean()),
    }


def naive(hidden: Any, weight: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Returns loss and entropies by way of the whole logits tensor."""
    logits = (hidden @ weight.T).float()
    log_p = logits.log_softmax(-1)
    logprobs = log_p.gather(-1, targets[:, None])[:, 0]
    with torch.no_grad():
        entropies = -(log_p.exp() * log_p).sum(-1)
    return policy_loss(logprobs, weights), entropies


def statistics_first(hidden: Any, weight: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Returns the same by the trainer's path that measures before it weighs."""
    found = token_statistics(hidden, targets, OutputHead(weight))
    return policy_loss(found.logprobs, weights), found.entropies.detach()


def loss_at_once(hidden: Any, weight: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Returns the same by the trainer's path that knows the weights."""
    loss, found = streamed_loss(
        hidden, targets, OutputHead(weight), lambda lp, part: policy_loss(lp, weights[part])
    )
    return loss, found.entropies


PATH_FUNCTIONS = dict(zip(PATHS, (naive, statistics_first, loss_at_once), strict=True))


def _peak(device: torch.device) -> float:
    """Returns the peak memory so far, MiB; on an accelerator since the last call."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
