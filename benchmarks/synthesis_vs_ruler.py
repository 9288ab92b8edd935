"""Synthesis of long contexts beside RULER's generator, both in one run, in a tokenizer's tokens.

    longspan convert-gguf SmolLM2-135M-Instruct.gguf smollm2        # or any tokenizer's folder
    python benchmarks/synthesis_vs_ruler.py --tokenizer smollm2

The peer is variable tracking over four hops, RULER's task of several steps, as the installed
lm-eval generates it: whole prompts, which are written as JSON lines. Ours are questions over
fictional worlds, generated, verified and written as a task set; 5% are materialised, counted again
and re-executed. Sides take turns, in processes of their own, where each imports what it needs;
imports are not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("longspan", "RULER")


def main() -> None:
    """Measures both sides in turns and prints what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer")
    parser.add_argument("--samples", type=int, default=1100)
    parser.add_argument(
        "--peer-samples", type=int, default=110, help="each costs the peer the same"
    )
    parser.add_argument("--tokens", type=int, default=32_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure = measure_ruler if options.side == "RULER" else measure_ours
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(options, Path(folder))))
        return
    from paired import alternate, machine, medians  # loads torch

    command = [sys.executable, __file__, *sys.argv[1:], "--side"]
    runs = alternate(lambda side: [*command, side], SIDES, options.repeats)
    found = {side: medians(runs[side]) for side in SIDES}
    for side, numbers in found.items():
        per_second = numbers["samples"] / numbers["cpu_seconds"]
        size = numbers["bytes"] / numbers["samples"]
        print(f"{side:10} {per_second:7.1f} samples per CPU second {size:10,.0f} bytes a sample")
    print(json.dumps(machine("cpu", 1)))


def measure_ours(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Returns what our side took: samples, CPU seconds, bytes on disk."""
    from synthesis import cpu_seconds, measure

    from longspan.synth_templates.pipeline import open_counter

    asked = argparse.Namespace(
        samples=options.samples,
        tokens=options.tokens,
        tokenizer=options.tokenizer,
        per_world=110,
        workers=1,
        seed=0,
        check_all=False,
    )
    open_counter(options.tokenizer)  # imports what it needs
    before = cpu_seconds()
    measure(asked, folder / "set")
    size = sum(file.stat().st_size for file in (folder / "set").iterdir())
    return {"samples": options.samples, "cpu_seconds": cpu_seconds() - before, "bytes": size}


def measure_ruler(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Returns what RULER's generator took: samples, CPU seconds, bytes on disk."""
    from lm_eval.tasks.ruler.vt_utils import sys_vartrack_w_noise_random
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    before = time.process_time()
    with open(os.devnull, "w") as silent, contextlib.redirect_stdout(silent):
        (example,) = sys_vartrack_w_noise_random(tokenizer, 1, 500, incremental=5)
        samples = sys_vartrack_w_noise_random(
            tokenizer, options.peer_samples, options.tokens, icl_example=example
        )
    file = folder / "samples.jsonl"
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    used = time.process_time() - before
    return {"samples": len(samples), "cpu_seconds": used, "bytes": file.stat().st_size}


if __name__ == "__main__":
    main()
