"""Speed, size and exactness of model-free synthesis at long contexts.

    python benchmarks/synthesis.py [--samples 5000 --tokens 32000 --per-world 110]
    python benchmarks/synthesis.py --samples 20000 --tokens 8000 --per-world 24   # many documents

Fictional worlds and their questions are generated, verified and written; then a random 5% of the
samples is materialised, its lengths are counted again and its passports are re-executed. All of it
counts: a sample per second and core is one sample over the CPU seconds of the whole process. Bytes
per sample are those of the task set's folder (documents included), against JSON lines with whole
contexts, whose size is taken from the materialised samples.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from longspan.harness.datasets.documents import load_documents, render_context
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.pipeline import open_counter, synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset
from longspan.synth_templates.workers import Crew

SHARE_MATERIALISED = 0.05


def main() -> None:
    """Generates, materialises and checks; prints one table."""
    from paired import machine  # loads torch, which processes that generate would load, too

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=32_000)
    parser.add_argument("--per-world", type=int, default=110, help="samples of one world")
    parser.add_argument(
        "--tokenizer", help="checkpoint whose tokens are counted; estimated without"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that generate")
    parser.add_argument("--check-all", action="store_true", help="re-execute every passport")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure(options, Path(folder) / "set").items():
            print(f"{name:38} {value}")
    print(json.dumps(machine("cpu", 1)))


def measure(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Returns what the run took and gave."""
    plan = parse_plan(
        {
            "name": "benchmark",
            "seed": options.seed,
            "source": {"type": "fiction", "samples_per_world": options.per_world},
            "splits": {"train": {options.tokens: options.samples}},
            "tokenizer": options.tokenizer,
        },
        "benchmark",
    )
    wall, cpu = time.perf_counter(), cpu_seconds()
    taskset = synthesize(plan, out, Crew(options.workers), quiet=True)
    generated, built = time.perf_counter() - wall, cpu_seconds() - cpu
    chosen = random.Random(options.seed).sample(
        taskset.rows(), max(1, int(SHARE_MATERIALISED * options.samples))
    )
    sizes, errors = materialise(taskset, chosen, options)
    problems = check_taskset(taskset, {row.id for row in chosen})
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    num = len(taskset.rows())
    stored = sum(file.stat().st_size for file in out.iterdir()) / num
    facts = {
        "samples": num,
        "documents": taskset.manifest["num_documents"],
        "CPU seconds (generation / all)": f"{built:.1f} / {cpu:.1f}",
        "wall seconds (generation / all)": f"{generated:.1f} / {wall:.1f}",
        "verified samples per second and core": f"{num / cpu:.1f}",
        "re-verified, of which fail": f"{len(chosen)}, {len(problems)}",
        "shortfall of length, mean / most (%)": (
            f"{100 * statistics.mean(errors):.2f} / {100 * max(errors):.2f}"
        ),
        "bytes per sample": f"{stored:.0f}",
        "as JSON lines": f"{statistics.mean(sizes):.0f} ({statistics.mean(sizes) / stored:.0f}x)",
        "peak memory (MiB)": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
    }
    if options.check_all:
        cpu = cpu_seconds()
        facts["all passports, of which fail"] = f"{num}, {len(check_taskset(taskset))}"
        facts["CPU seconds of that"] = f"{cpu_seconds() - cpu:.1f}"
    return facts


def cpu_seconds() -> float:
    """Returns what this process and its ended children have used."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def materialise(
    taskset: TaskSet, rows: list[SampleRow], options: argparse.Namespace
) -> tuple[list[int], list[float]]:
    """Returns the bytes of each sample as a JSON line, and the share by which it is short.

    Raises:
        SystemExit: a context has another length than its row says.
    """
    counter = open_counter(options.tokenizer)
    documents = load_documents(taskset.folder)
    sizes, errors = [], []
    for row in rows:
        context = render_context(documents[name] for name in row.documents)
        tokens = counter.count(context)
        if tokens != row.input_tokens or tokens > options.tokens:
            raise SystemExit(f"{row.id} has {tokens} tokens, its row says {row.input_tokens}")
        record = {"context": context, "question": row.question, "answer": list(row.target)}
        sizes.append(len(json.dumps(record, ensure_ascii=False).encode()) + 1)
        errors.append(1 - tokens / options.tokens)
    return sizes, errors


if __name__ == "__main__":
    main()
