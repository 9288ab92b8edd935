"""Accuracy and cost of every agent at 1x, 4x, 16x and 64x a policy's window, in one table.

    python scripts/agents_by_length.py --out out/agents [--checkpoint nano] [--scale 0.25]

Task sets come from generated worlds, one per length; all agents read the same samples greedily. The
policy's words make no world of 64 windows (they are used up at 25): there, pages that hold no
evidence stand in a context several times. Each evaluation runs in a process of its own, so that its
peak memory is its own. What is finished is kept, so that the same command continues after a kill.
OUT then holds `agents.json` and `agents.md`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from inspect_ai.log import EvalSample, read_eval_log

from longspan.harness.cli import load_command
from longspan.harness.datasets.documents import DOCUMENT_SEPARATOR, render_document
from longspan.harness.taskset import TaskSet, write_taskset
from longspan.leaderboards.statistics import estimate_difference, estimate_mean
from longspan.synth_templates.pipeline import open_counter

WINDOW = 256
LENGTHS = {1: 176, 4: 1024, 16: 4096, 64: 16384}
"""Length of a document in windows -> in tokens; at 1x prompt and response fill the rest."""
NUM_SAMPLES = {1: 200, 4: 120, 16: 120, 64: 48}
SAMPLES_PER_WORLD = 8
FULL_WORLD_TOKENS = 4096
"""Longer contexts are made of contexts of this length."""
OUTPUT_TOKENS = 48
CHUNKS: dict[str, Any] = {"chunk_tokens": 64}
"""The embedded policy finds facts more reliably in short texts than in half a window. It knows few
words, so MemAgent's turns end with few."""
AGENTS: dict[str, dict[str, Any]] = {
    "full_context": {},
    "memory_agent": {"layout": "chunk_first", **CHUNKS},
    "memagent": {"instruction": "New memory:", **CHUNKS},
    "retrieval": {},
    "map_reduce": {"layout": "chunk_first", **CHUNKS},
}
NAMES = {
    "full_context": "full context, cut in the middle",
    "memory_agent": "memory agent",
    "memagent": "MemAgent's protocol",
    "retrieval": "retrieval (BM25)",
    "map_reduce": "map-reduce",
}


def build_taskset(out: Path, windows: int, checkpoint: str, seed: int, scale: float) -> Path:
    """Returns the task set of a length, made where it is not there."""
    folder = out / "tasksets" / f"{windows}x"
    if not folder.exists():
        tokens = LENGTHS[windows]
        made = folder if tokens <= FULL_WORLD_TOKENS else folder.with_name(f"{windows}x-once")
        plan = {
            "name": f"agents-{windows}x",
            "seed": seed,
            "tokenizer": checkpoint,
            "source": {"type": "world", "samples_per_world": SAMPLES_PER_WORLD},
            "splits": {
                "test": {
                    min(tokens, FULL_WORLD_TOKENS): max(8, round(scale * NUM_SAMPLES[windows]))
                }
            },
        }
        path = out / "plans" / f"{windows}x.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
        if not made.exists():
            load_command("synth")(plan=path, out=made, quiet=True)
        if made != folder:
            lengthen(TaskSet.open(made), folder, tokens, checkpoint)
    return folder


def lengthen(taskset: TaskSet, out: Path, tokens: int, checkpoint: str) -> None:
    """Writes the task set with contexts of up to `tokens`: pages without evidence again and again.

    What stood in a context keeps its order, and no session of a dialogue is repeated, so that every
    answer stays as it was.
    """
    counter = open_counter(checkpoint)
    size = {
        name: counter.count(render_document(one) + DOCUMENT_SEPARATOR)
        for name, one in taskset.documents.items()
    }
    rows = []
    for row in taskset.rows():
        rng = random.Random(row.seed)
        evidence = {span.document for span in row.passport.evidence} if row.passport else set()
        pages = [
            name
            for name in row.documents
            if name not in evidence and taskset.documents[name].title != "Dialogue"
        ]
        room = tokens - sum(size[name] for name in row.documents)
        order = list(row.documents)
        while (page := rng.choice(pages)) and size[page] <= room:
            order.insert(rng.randrange(len(order) + 1), page)
            room -= size[page]
        changed: dict[str, Any] = {
            "documents": tuple(order),
            "target_tokens": tokens,
            "input_tokens": tokens - room,
        }
        if row.passport:  # where the evidence stands is another place now
            changed["passport"] = row.passport.model_copy(update={"depths": ()})
        rows.append(row.model_copy(update=changed))
    manifest = {k: v for k, v in taskset.manifest.items() if k not in ("format", "files")}
    documents = ((group, one) for group, own in taskset.groups() for one in own)
    card = f"The contexts of {taskset.name}, with pages repeated up to {tokens} tokens.\n"
    write_taskset(out, rows, documents, manifest, card)


def run_unit(folder: Path, agent: str, checkpoint: str, log_dir: Path) -> dict[str, Any]:
    """Evaluates one agent at one length in this process and returns what the table needs."""
    started = time.monotonic()
    load_command("eval")(
        task=str(folder),
        model=checkpoint,
        solver=agent,
        solver_args=AGENTS[agent],
        log_dir=log_dir,
        temperature=0.0,
        max_tokens=OUTPUT_TOKENS,
        quiet=True,
    )
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (path,) = log_dir.rglob("*.eval")
    samples = read_eval_log(str(path)).samples or []
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "num_asked": len(samples),
        # Without a score: the policy refused a prompt, for words that it does not know.
        "samples": [_facts(one) for one in samples if one.scores],
    }


def _facts(sample: EvalSample) -> dict[str, Any]:
    (score,) = (sample.scores or {}).values()
    usage = list((sample.model_usage or {}).values())
    cost = sample.store.get("longspan:agent") or {}
    memory = sample.store.get("longspan:memory") or {}
    return {
        "id": str(sample.id),
        "group": (sample.metadata or {}).get("document_group"),
        "value": score.as_float(),
        "input_tokens": sum(one.input_tokens for one in usage),
        "output_tokens": sum(one.output_tokens for one in usage),
        "calls": cost.get("num_calls", 1),
        "depth": cost.get("sequential_calls", 1),
        "kept": memory.get("kept"),
    }


def unit_in_child(out: Path, windows: int, agent: str, given: argparse.Namespace) -> dict[str, Any]:
    """Returns a unit's result, from the disk where it is finished."""
    path = out / "units" / f"{agent}-{windows}x.json"
    if not path.exists():
        command = [sys.executable, __file__, "--out", str(out), "--checkpoint", given.checkpoint]
        command += ["--unit", f"{agent}:{windows}"]
        subprocess.run(command, check=True)
    return dict(json.loads(path.read_text("utf-8")))


def write_unit(out: Path, name: str, checkpoint: str) -> None:
    """Evaluates one unit and writes its result, whole or not at all."""
    agent, windows = name.split(":")
    log_dir = out / "logs" / f"{agent}-{windows}x"
    result = run_unit(out / "tasksets" / f"{windows}x", agent, checkpoint, log_dir)
    path = out / "units" / f"{agent}-{windows}x.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result) + "\n", "utf-8")
    temporary.rename(path)


def table_rows(results: dict[tuple[int, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of the table: accuracy, its interval, the lead of the memory agent, cost."""
    rows = []
    for (windows, agent), result in sorted(results.items(), key=lambda pair: _place(*pair[0])):
        samples = result["samples"]
        count = len(samples)
        groups = {one["id"]: one["group"] for one in samples}
        estimate = estimate_mean([one["value"] for one in samples], list(groups.values()))
        ours = {one["id"]: one["value"] for one in results[windows, "memory_agent"]["samples"]}
        theirs = {one["id"]: one["value"] for one in samples}
        lead = None if agent == "memory_agent" else estimate_difference(ours, theirs, groups)
        rows.append(
            {
                "windows": windows,
                "agent": agent,
                "num_samples": count,
                "num_asked": result["num_asked"],
                "accuracy": estimate.mean,
                "interval": [estimate.low, estimate.high],
                "memory_agent_leads_by": lead and [lead.mean, lead.low, lead.high],
                **{
                    name: sum(one[name] for one in samples) / count
                    for name in ("calls", "depth", "input_tokens", "output_tokens")
                },
                "seconds": result["seconds"] / result["num_asked"],
                "peak_bytes": result["peak_bytes"],
            }
        )
    return rows


def _place(windows: int, agent: str) -> tuple[int, int]:
    return windows, list(AGENTS).index(agent)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table; costs are means per sample, memory is the process's peak."""
    head = (
        "| length | agent | samples | accuracy | memory agent leads by | calls "
        "| one after the other | prompt tokens | sampled tokens | seconds | peak memory |"
    )
    lines = [head, "|---|---|" + "---:|" * 9]
    for row in rows:
        low, high = row["interval"]
        lead = row["memory_agent_leads_by"]
        shown = f"{_points(lead[0])} [{_points(lead[1])}, {_points(lead[2])}]" if lead else ""
        lines.append(
            f"| {row['windows']}x | {NAMES[row['agent']]} "
            f"| {row['num_samples']} of {row['num_asked']} "
            f"| {100 * row['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}] | {shown} "
            f"| {row['calls']:.1f} | {row['depth']:.1f} | {row['input_tokens']:,.0f} "
            f"| {row['output_tokens']:,.0f} | {row['seconds']:.2f} "
            f"| {row['peak_bytes'] / 2**20:.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def main() -> None:
    """Runs what is not finished and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--seed", type=int, default=707)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the samples")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--unit", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.unit:
        write_unit(given.out, given.unit, given.checkpoint)
        return
    results: dict[tuple[int, str], dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for windows in map(int, given.lengths.split(",")):
        build_taskset(given.out, windows, given.checkpoint, given.seed, given.scale)
        for agent in AGENTS:
            results[windows, agent] = unit_in_child(given.out, windows, agent, given)
            print(f"{agent} at {windows}x: {results[windows, agent]['seconds']:.0f} s", flush=True)
        # After every length, so that a run that ends early has told something.
        rows = table_rows(results)
        (given.out / "agents.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        (given.out / "agents.md").write_text(markdown(rows), "utf-8")
    print(markdown(rows))


if __name__ == "__main__":
    main()
