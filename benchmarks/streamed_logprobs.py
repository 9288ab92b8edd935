r"""Peak memory and time of log-probability, entropy and loss with gradients, streamed and naive.

    python benchmarks/streamed_logprobs.py [--tokens 4096 --vocabulary 151936 --hidden 1024]
    python benchmarks/streamed_logprobs.py --device cuda --dtype bfloat16 --tokens 50000 \
        --paths naive liger statistics loss

Each path runs in a process of its own, so that its peak is its own; the paths take turns, and the
ratio is that of the medians. The naive path is what a trainer does with a model's logits: the whole
[tokens, vocabulary] tensor, log_softmax, gather, entropy, autograd's backward. `statistics` is the
trainer's path where the weights of tokens follow from the entropies (two passes over the logits),
`loss` the one where they are known (one pass). Extra memory is the peak of the process above its
inputs and the gradients that every path must return; checksums of the gradients are compared.

`liger` is the fused linear cross entropy of liger-kernel, where that is installed (it needs a GPU):
the mean negative log-likelihood, so it takes no weights of tokens, returns no entropies and has
checksums of its own. A path that does not fit into the memory of a GPU is reported as such.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from paired import Runs, Watch, alternate, machine, medians, peak_mib, write_results

from longspan.trainers.entropy import OutputHead, token_statistics
from longspan.trainers.loss import policy_loss
from longspan.trainers.streamed_loss import streamed_loss

WARM_UP_TOKENS = 64
"""A GPU loads its kernels in a small step before the measured one."""


def main() -> None:
    """Measures every path in turns and prints what it took."""
    options = parse()
    if options.path:
        print(json.dumps(measure(options)))
        return

    def command(path: str) -> list[str]:
        return [sys.executable, __file__, *sys.argv[1:], "--path", path]

    report(options, alternate(command, options.paths, options.repeats))


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--paths", nargs="+", choices=tuple(PATHS), default=list(DEFAULT_PATHS))
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    parser.add_argument("--path", choices=tuple(PATHS), help=argparse.SUPPRESS)
    return parser.parse_args()


def report(options: argparse.Namespace, runs: Runs) -> None:
    """Prints the figures and their ratios, and writes them where asked."""
    where = machine(options.device, options.threads)
    print(
        f"{options.tokens} tokens x {options.vocabulary} vocabulary x {options.hidden} hidden, "
        f"{options.dtype}, {where['device']}, {options.threads} threads of {where['processor']}, "
        f"{where['date']}, {options.repeats} repeats"
    )
    found = {path: medians(own) for path, own in runs.items()}
    naive = found.get("naive", {})
    ratios: dict[str, dict[str, float]] = {}
    for path, values in found.items():
        if "seconds" not in values:
            print(f"{path:10} {runs[path][0]['failed']}")
            continue
        text = f"{values['seconds']:8.2f} s {values['extra_mib']:8.0f} MiB extra"
        if "seconds" in naive:
            ratios[path] = {key: values[key] / naive[key] for key in ("seconds", "extra_mib")}
            text += f" ({ratios[path]['seconds']:.2f}x, 1/{1 / ratios[path]['extra_mib']:.0f})"
        sums = f"{values['hidden_sum']:.6g} {values['weight_sum']:.6g}"
        print(f"{path:10} {text}   checksums {sums}")
    settings = {key: str(value) for key, value in vars(options).items() if value is not None}
    results = {"machine": where, "settings": settings, "runs": runs, "ratios": ratios}
    write_results(options.out, results)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what one forward and backward of `options.path` takes, or why it failed."""
    torch.set_num_threads(options.threads)
    try:
        if options.device.startswith("cuda"):
            measure_tokens(options, WARM_UP_TOKENS)
        return measure_tokens(options, options.tokens)
    except torch.OutOfMemoryError:
        return {"failed": "does not fit into the memory of the device"}


def measure_tokens(options: argparse.Namespace, num_tokens: int) -> dict[str, Any]:
    """Returns seconds, extra MiB and checksums of one forward and backward."""
    dtype, device = getattr(torch, options.dtype), torch.device(options.device)
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=random).to(device, dtype)

    hidden = draw(num_tokens, options.hidden).requires_grad_()
    weight = draw(options.vocabulary, options.hidden).mul_(0.02).requires_grad_()
    targets = torch.randint(options.vocabulary, (num_tokens,), generator=random).to(device)
    weights = torch.randn(num_tokens, generator=random).to(device) / num_tokens
    gradients = sum(one.numel() * one.element_size() for one in (hidden, weight)) / 2**20
    held = peak_mib(device) if device.type == "cpu" else torch.cuda.memory_allocated() / 2**20
    peak_mib(device)
    watch = Watch(device)
    loss, entropies = PATHS[options.path](hidden, weight, targets, weights)
    loss.backward()
    seconds, _ = watch.lap()
    return {
        "seconds": seconds,
        "extra_mib": peak_mib(device) - held - gradients,
        "hidden_sum": float(hidden.grad.double().abs().sum()),
        "weight_sum": float(weight.grad.double().abs().sum()),
        "entropy": None if entropies is None else float(entropies.double().mean()),
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


def liger(hidden: Any, weight: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Returns the mean negative log-likelihood by liger-kernel's fused kernel, and no entropies."""
    # Optional, and it cannot be imported where there is no GPU.
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    return LigerFusedLinearCrossEntropyLoss()(weight, hidden, targets), None


PATHS = {"naive": naive, "statistics": statistics_first, "loss": loss_at_once, "liger": liger}
DEFAULT_PATHS = ("naive", "statistics", "loss")


if __name__ == "__main__":
    main()
