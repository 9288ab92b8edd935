"""One sample of 4 million tokens of real text: what the memory agent costs beside the model.

    python benchmarks/ultra_long.py [--million-tokens 4] [--tokenizer FOLDER] [--out FOLDER]

The text is the Python source that is installed here, as one task set. The model is scripted and
instant, and its memory is a digest of all that it was shown, so its answer depends on every chunk.
Three runs, each in a process of its own, through `longspan eval`'s own function: one undisturbed,
one that is killed (SIGKILL) at a random chunk, and the same started again. Tokens are estimated
(four characters) unless a tokenizer is named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspect_ai.log import read_eval_log
from inspect_ai.model import GenerateConfig, Model, ModelAPI, ModelOutput, ModelUsage, modelapi

from longspan.harness.datasets.documents import Document, document_id
from longspan.harness.evaluate import EvaluationSettings, evaluate
from longspan.harness.generation import GenerationSettings
from longspan.harness.references import expand
from longspan.harness.resolve import registered_task, resolve_solver
from longspan.harness.taskset import SampleRow, write_taskset
from longspan.harness.tokens import EstimatedTokens, TokenCounter, load_tokenizer

CHUNK_TOKENS = 32_768
WINDOW = 131_072
SMALL = "small"


class TimedTokens:
    """A counter that adds up the CPU seconds of counting."""

    def __init__(self, inner: TokenCounter) -> None:
        self.inner, self.seconds = inner, 0.0
        self.name, self.exact = inner.name, inner.exact

    def encode(self, text: str) -> list[int]:
        """Returns the token ids of a text."""
        return self.inner.encode(text)

    def decode(self, ids: list[int]) -> str:
        """Returns the text of token ids."""
        return self.inner.decode(ids)

    def count(self, text: str) -> int:
        """Returns the number of tokens of a text."""
        started = time.process_time()
        number = self.inner.count(text)
        self.seconds += time.process_time() - started
        return number


@modelapi(name="digest")
class DigestAPI(ModelAPI):
    """Notes a digest of its memory and text; may kill its process at a call."""

    expands_references = True
    checkpoint_hash = "digest"
    window = WINDOW

    def __init__(self, counter: TokenCounter, die_at: int | None) -> None:
        super().__init__("digest")
        self.token_counter, self.die_at, self.num_calls = counter, die_at, 0

    async def count_text_tokens(self, text: str) -> int:
        """Returns an estimate; Inspect's own counter would fetch a tokenizer."""
        return len(text) // 4

    async def generate(
        self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns the digest of the prompt as the new memory, or as the answer."""
        self.num_calls += 1
        if self.num_calls == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        prompt = expand(input)[-1].text
        digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        said = f"<memory>\nseen {digest}\n</memory>\n<plan>\nread on\n</plan>"
        if "<text>" not in prompt:
            said = f"Therefore, the answer is {digest}."
        output = ModelOutput.from_content(self.model_name, said)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output


def installed_sources(num_chars: int) -> Iterator[Document]:
    """Yields installed Python files, in the order of their names, of so many characters in all."""
    folders = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib")]
    seen: set[str] = set()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        name = document_id(path.name, text)
        if len(text) < 400 or name in seen:
            continue
        seen.add(name)
        yield Document(id=name, title=path.name, text=text[:num_chars])
        num_chars -= len(text)
        if num_chars <= 0:
            return


def write_sample(folder: Path, num_chars: int) -> int:
    """Writes a task set of one sample whose context is that much text; returns its UTF-8 bytes."""
    documents = list(installed_sources(num_chars))
    row = SampleRow(
        id="all",
        split="test",
        kind="digest",
        task_type=None,
        question="What was seen?",
        target=("nothing",),
        scorer="cover_exact_match",
        documents=tuple(document.id for document in documents),
        document_group="all",
        seed=0,
    )
    pairs = (("all", document) for document in documents)
    write_taskset(folder, [row], pairs, {"name": "ultra-long", "seed": 0}, "# Real text\n")
    return sum(len(document.text.encode()) for document in documents)


def child(folder: Path, log_dir: Path, tokenizer: str | None, die_at: int | None) -> None:
    """Evaluates the sample and prints what it took as one line of JSON."""
    counter = TimedTokens(load_tokenizer(tokenizer) if tokenizer else EstimatedTokens())
    solver = resolve_solver("memory_agent", {"chunk_tokens": CHUNK_TOKENS})
    settings = EvaluationSettings(generation=GenerationSettings(max_tokens=1024))
    # A small sample first: what is imported on use belongs to the interpreter.
    small = registered_task("longspan/taskset", path=str(folder.parent / SMALL))
    with tempfile.TemporaryDirectory() as elsewhere:
        first = Model(DigestAPI(counter, None), GenerateConfig())
        evaluate(small, first, Path(elsewhere), settings, solver=solver)
    before, started, counter.seconds = _peak_bytes(), time.process_time(), 0.0
    model = Model(DigestAPI(counter, die_at), GenerateConfig())
    task = registered_task("longspan/taskset", path=str(folder))
    log = evaluate(task, model, log_dir, settings, solver=solver)
    seconds = time.process_time() - started
    peak = _peak_bytes()
    location = log.location.removeprefix("file://")
    (sample,) = read_eval_log(location).samples or []
    record = sample.store["longspan:agent"]
    result = {
        "answer": sample.output.completion,
        "num_calls": record["num_calls"],
        "live_calls": model.api.num_calls,  # type: ignore[attr-defined]
        "replayed": record["replayed_calls"],
        "tokens": sample.store["longspan:memory"]["document_tokens"],
        "cpu": seconds,
        "tokenising": counter.seconds,
        "before": before,
        "peak": peak,
        "log": Path(location).stat().st_size,
        "left_over": len(list(log_dir.rglob("*.jsonl"))),
    }
    print("RESULT " + json.dumps(result))


def run_child(arguments: list[str]) -> dict[str, Any] | None:
    """Returns what a child printed, None where it was killed."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if done.returncode == -signal.SIGKILL:
        return None
    if found is None:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(found.group(1)))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(out: Path, million_tokens: float, tokenizer: str | None, seed: int) -> None:
    """Prints the three runs' figures beside their bounds."""
    write_sample(out / SMALL, 50_000)
    size = write_sample(out / "taskset", int(million_tokens * 4e6))
    shared = ["--child", str(out / "taskset")] + (["--tokenizer", tokenizer] if tokenizer else [])
    whole = run_child([*shared, "--logs", str(out / "whole")])
    if whole is None:
        raise RuntimeError("the undisturbed run was killed; is there enough memory?")
    die_at = random.Random(seed).randint(2, whole["num_calls"])
    kill = [*shared, "--logs", str(out / "killed")]
    was_killed = run_child([*kill, "--die-at", str(die_at)]) is None
    resumed = run_child(kill)
    if resumed is None or not was_killed:
        raise RuntimeError(f"the run was not killed at call {die_at}")
    beside = whole["cpu"] - whole["tokenising"]
    extra = whole["peak"] - whole["before"]
    print(f"document: {whole['tokens']:,} tokens, {size / 1e6:.1f} MB; {whole['num_calls']} calls")
    print(f"CPU beside tokenising: {beside:.2f} s (tokenising {whole['tokenising']:.2f} s)")
    print(
        f"memory: {extra / 1e6:.0f} MB above the interpreter's {whole['before'] / 1e6:.0f} MB, "
        f"{extra / size:.2f} times the document"
    )
    print(f"log: {whole['log'] / 1e6:.3f} MB")
    same = resumed["answer"] == whole["answer"] and resumed["num_calls"] == whole["num_calls"]
    print(
        f"killed at call {die_at} and started again: {resumed['replayed']} calls replayed, "
        f"{resumed['live_calls']} made; {'the same' if same else 'ANOTHER'} answer and call count; "
        f"{resumed['left_over']} files left over"
    )


def main() -> None:
    """Runs the measurement, or one run of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million-tokens", type=float, default=4.0)
    parser.add_argument("--tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--logs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.logs, given.tokenizer, given.die_at)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(given.out or Path(folder), given.million_tokens, given.tokenizer, given.seed)


if __name__ == "__main__":
    main()
