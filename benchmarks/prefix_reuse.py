"""How much of the memory agent's prompts vLLM need not compute again, in either layout.

    python benchmarks/prefix_reuse.py --taskset FOLDER --work out/prefix [--model nano] [--epochs 8]

A server of vLLM is started on 127.0.0.1. `longspan eval` reads every sample `--epochs` times with
the memory agent, as the rollouts of a group do, first with the question before the chunk and then
with the chunk first; the server's own counters say how many prompt tokens came from its cache of
prefixes, which is emptied in between. Needs vLLM's CPU build (make openrlhf-cpu).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inspect_ai.log import read_eval_log
from paired import machine, write_results

from longspan.harness.cli import load_command
from longspan.trainers.local.checkpoint import find_checkpoint, resolve_directory
from longspan.trainers.openrlhf.cpu import ENVIRONMENT

LAYOUTS = ("question_first", "chunk_first")
START_SECONDS = 300.0
BLOCK_TOKENS = 32
"""Of the cache: a prefix is found in whole blocks. The smallest that vLLM's CPU build takes."""
COUNTERS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "asked": "vllm:prefix_cache_queries_total",
    "found": "vllm:prefix_cache_hits_total",
    "sampled_tokens": "vllm:generation_tokens_total",
    "prefill_seconds": "vllm:request_prefill_time_seconds_sum",
}


def main() -> None:
    """Reads the task set in both layouts and prints what the cache spared."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--taskset", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="Folder of logs.")
    parser.add_argument("--model", default="nano", help="Packaged checkpoint, or a folder.")
    parser.add_argument("--epochs", type=int, default=8, help="Rollouts of a sample.")
    parser.add_argument("--limit", type=int, default=2, help="Samples.")
    parser.add_argument("--chunk-tokens", type=int, default=128)
    parser.add_argument("--memory-tokens", type=int, default=40)
    parser.add_argument("--output-tokens", type=int, default=48)
    parser.add_argument("--out", type=Path, help="Write the figures here as JSON.")
    options = parser.parse_args()
    if importlib.util.find_spec("vllm") is None:
        raise SystemExit("vllm is not installed; run make openrlhf-cpu")
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = resolve_directory(find_checkpoint(options.model)).resolve()
    runs = {}
    with server(folder, work) as address:
        for layout in LAYOUTS:
            post(f"{address}/reset_prefix_cache")
            runs[layout] = measure(layout, folder, address, work, options)
            print(report(layout, runs[layout]), flush=True)
    write_results(options.out, {"machine": machine("cpu", 1), "runs": runs})


@contextmanager
def server(folder: Path, work: Path) -> Iterator[str]:
    """Yields the address of a server that answers, and ends it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--served-model-name", "policy", "--host", "127.0.0.1", "--port", str(port)),
        *("--api-key", "inspectai", "--enforce-eager", "--enable-prefix-caching"),
        *("--block-size", str(BLOCK_TOKENS)),
    ]
    environment = {**ENVIRONMENT, **os.environ, "VLLM_SERVER_DEV_MODE": "1"}
    log = work / "server.log"
    with log.open("w") as output:
        run = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_for(address, run, log)
            yield address
        finally:
            run.terminate()
            try:
                run.wait(60)
            except subprocess.TimeoutExpired:
                run.kill()


def wait_for(address: str, run: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and run.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"vLLM ended, or did not answer within {START_SECONDS:.0f} s; see {log}")


def post(url: str) -> None:
    """Asks the server to do something; exits where it does not."""
    request = urllib.request.Request(
        url, data=b"", headers={"Authorization": "Bearer inspectai"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=60).close()


def counters(address: str) -> dict[str, float]:
    """Returns the server's counters."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        name: sum(
            float(value)
            for value in re.findall(rf"^{re.escape(metric)}(?:{{.*}})? (\S+)$", text, re.M)
        )
        for name, metric in COUNTERS.items()
    }


def measure(
    layout: str, folder: Path, address: str, work: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Returns what the server counted while the agent read all samples in one layout."""
    os.environ |= {"VLLM_BASE_URL": f"{address}/v1", "VLLM_API_KEY": "inspectai"}
    log_dir = work / f"logs-{layout}-{time.time_ns()}"
    before, started = counters(address), time.monotonic()
    load_command("eval")(
        task=str(options.taskset),
        model="vllm/policy",
        solver="memory_agent",
        solver_args={
            "layout": layout,
            "tokenizer": str(folder),
            "chunk_tokens": options.chunk_tokens,
            "memory_tokens": options.memory_tokens,
        },
        log_dir=log_dir,
        temperature=1.0,
        max_tokens=options.output_tokens,
        epochs=options.epochs,
        limit=options.limit,
        quiet=True,
    )
    after = counters(address)
    (path,) = log_dir.rglob("*.eval")
    if (status := read_eval_log(str(path), header_only=True).status) != "success":
        raise SystemExit(f"{layout}: the evaluation ended as {status}; see {path}")
    spent = {name: after[name] - before[name] for name in after}
    if not spent["asked"]:
        raise SystemExit(f"{layout}: the server counted nothing under {COUNTERS['asked']}")
    return {
        **spent,
        "seconds": round(time.monotonic() - started, 1),
        "reused_share": spent["found"] / spent["asked"],
    }


def report(layout: str, run: dict[str, Any]) -> str:
    """Returns a line for a layout."""
    computed = run["asked"] - run["found"]
    return (
        f"{layout:15} {run['prompt_tokens']:10,.0f} prompt tokens, {100 * run['reused_share']:.1f}%"
        f" from the cache, {computed:10,.0f} computed; {run['sampled_tokens']:,.0f} sampled; "
        f"{run['seconds']:.0f} s in all, {run['prefill_seconds']:.0f} s of prefill over requests"
    )


if __name__ == "__main__":
    main()
