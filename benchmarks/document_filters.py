"""Reading and filtering many documents: CPU time and peak memory.

    python benchmarks/document_filters.py [--documents 100000] [--words 200]

Writes documents of random words as JSON lines, one in a hundred of them nearly the one before, then
reads and filters them as `longspan synth` does.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from longspan.harness.datasets.document_files import read_documents
from longspan.synth_templates.curation.filters import Filters, filter_documents

VOCABULARY = 30_000


def main() -> None:
    """Prints what reading and filtering takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.jsonl"
        write(path, arguments.documents, arguments.words)
        show(f"written, {path.stat().st_size >> 20} MiB", 0.0)
        started = time.process_time()
        documents = read_documents(path).documents
        show(f"{len(documents)} documents read", time.process_time() - started)
        started = time.process_time()
        left_out: Counter[str] = Counter()
        kept = sum(1 for _ in filter_documents(documents, Filters(), left_out, []))
        show(f"{kept} kept, {dict(left_out)} left out", time.process_time() - started)


def write(path: Path, num_documents: int, num_words: int) -> None:
    """Writes the documents."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(VOCABULARY)]
    words: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_documents):
            if number % 100 == 99:
                words[num_words // 2] = "changed"
            else:
                words = rng.choices(vocabulary, k=num_words)
            file.write(json.dumps({"title": f"Text {number}", "text": " ".join(words)}) + "\n")


def show(what: str, seconds: float) -> None:
    """Prints a step with its time and the peak of memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {seconds:.1f} s of CPU, peak {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
