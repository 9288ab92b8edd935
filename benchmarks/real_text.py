"""Multi-hop questions over real text with extracted triples, and a seeded sample of them to read.

    python benchmarks/real_text.py TRIPLES.jsonl[.gz] [--num-samples 1000 --out questions.md]

No model takes part. Every question needs two to four statements, whose passages are quoted. Prints
how many are verified, by kind and number of statements, and the near-duplicates among them
(Jaccard 0.8 over word 3-grams); `--out` is a page (Markdown) with the sample.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from question_duplicates import count_duplicates

from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.card import escape
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset

KINDS = {
    "triples_hop2": 1,
    "triples_hop3": 1,
    "triples_select": 3,
    "triples_described_select": 1,
    "triples_earlier": 2,
    "triples_first_of_three": 2,
    "triples_last_of_four": 1,
    "triples_bridged": 0.5,
    "triples_years_between": 2,
}
"""Questions over two documents or more, with their weights."""


def main() -> None:
    """Builds and checks the task set, and writes the sample."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("documents", type=Path)
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--read", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        taskset = build(options, Path(folder) / "set")
        built = time.process_time() - started
        rows = taskset.rows()
        problems = check_taskset(taskset)
        checked = time.process_time() - started - built
        print(f"verified: {len(rows) - len(problems)} of {len(rows)}")
        print(f"CPU seconds: {built:.1f} to build, {checked:.1f} to check")
        print(f"statements: {dict(sorted(Counter(row.hops for row in rows).items()))}")
        print(f"kinds: {dict(Counter(row.kind for row in rows).most_common())}")
        exact, near, _ = count_duplicates([row.question for row in rows])
        print(f"near-duplicates: {near}; exact: {exact}")
        chosen = random.Random(options.seed).sample(rows, min(options.read, len(rows)))
        if options.out is not None:
            options.out.write_text(page(taskset, chosen, options), "utf-8")


def build(options: argparse.Namespace, out: Path) -> TaskSet:
    """Returns a task set of the multi-hop kinds over the documents."""
    plan = {
        "name": "text",
        "seed": options.seed,
        "source": {"type": "documents", "path": options.documents, "shares": {"train": 1.0}},
        "splits": {"train": {options.tokens: options.num_samples}},
        "kinds": KINDS,
    }
    return synthesize(parse_plan(plan, "text"), out)


def page(taskset: TaskSet, rows: list[SampleRow], options: argparse.Namespace) -> str:
    """Returns the sample as a page: question, answer, and the passages that hold the evidence."""
    lines = [
        f"# {len(rows)} questions over {options.documents.name}",
        "",
        f"Drawn with seed {options.seed} from {len(taskset.rows())} that were generated without a "
        "model and verified; below each one its evidence.",
    ]
    for number, row in enumerate(rows, start=1):
        lines += ["", f"{number}. {escape(row.question)} **{escape(row.target[0])}**"]
        lines += [
            f"   - *{escape(taskset.documents[span.document].title)}*: {escape(span.quote)}"
            for span in (row.passport.evidence if row.passport is not None else ())
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
