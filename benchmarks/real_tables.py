"""Questions over real tables: how many are verified, how fast, and a seeded sample to read.

    python benchmarks/real_tables.py [FOLDER ...] [--num-samples 900] [--read 40]

Without folders the data sets that statsmodels installs are read (CSV); give folders of CSV, HTML
or Markdown files for others, such as a package of documentation that was unpacked (see
docs/synthesis.md). Prints what was left out and why, how many questions are verified, and the
near-duplicates (Jaccard 0.8 over word 3-grams); `--out` keeps the task set, and beside it
`questions.txt` with a seeded sample to read.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import shutil
import tempfile
import time
from pathlib import Path

from question_duplicates import count_duplicates

from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset

TOKENS = 32_768
SUFFIXES = (".csv", ".tsv", ".html", ".htm", ".md")
MAX_FILE_BYTES = {".html": 1_000_000, ".htm": 1_000_000}
MAX_TEXT_BYTES = 120_000
"""Larger files do not fit into a context of this length; of HTML most is no text."""


def main() -> None:
    """Builds and checks a task set over the tables of the folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--num-samples", type=int, default=900)
    parser.add_argument("--read", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        docs = collect(arguments.folders or [installed_tables()], Path(scratch) / "docs")
        out = arguments.out or Path(scratch) / "tables"
        started = time.perf_counter()
        taskset = build(docs, out, arguments.num_samples, arguments.seed)
        built = time.perf_counter()
        problems = check_taskset(taskset)
        rows = taskset.rows()
        report(taskset, rows, problems, built - started, time.perf_counter() - built)
        chosen = random.Random(arguments.seed).sample(rows, min(arguments.read, len(rows)))
        text = "\n\n".join(f"{row.kind}: {row.question}\n-> {row.target[0]}" for row in chosen)
        out.with_name("questions.txt").write_text(text + "\n", "utf-8")


def installed_tables() -> Path:
    """Returns the folder of the data sets that statsmodels installs."""
    spec = importlib.util.find_spec("statsmodels")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "datasets"


def collect(folders: list[Path], docs: Path) -> Path:
    """Returns a folder with the files that hold tables and fit into a context."""
    docs.mkdir()
    for number, folder in enumerate(folders):
        if not folder.is_dir():
            raise SystemExit(f"no folder {folder}; give folders of CSV, HTML or Markdown files")
        for file in sorted(folder.rglob("*")):
            limit = MAX_FILE_BYTES.get(file.suffix, MAX_TEXT_BYTES)
            if file.suffix in SUFFIXES and file.is_file() and file.stat().st_size <= limit:
                place = docs / str(number) / file.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)
    return docs


def build(docs: Path, out: Path, num_samples: int, seed: int) -> TaskSet:
    """Returns a task set of all SQL kinds over the documents."""
    kinds = [kind.name for kind in load_kinds("documents").kinds if kind.shape == "sql"]
    plan = {
        "name": "tables",
        "seed": seed,
        "source": {"type": "documents", "path": docs, "shares": {"train": 1.0}},
        "splits": {"train": {TOKENS: num_samples}},
        "kinds": dict.fromkeys(kinds, 1.0),
    }
    return synthesize(parse_plan(plan, "tables"), out)


def report(
    taskset: TaskSet,
    rows: list[SampleRow],
    problems: dict[str, list[str]],
    build_seconds: float,
    check_seconds: float,
) -> None:
    """Prints the figures."""
    source = taskset.manifest["source"]
    print(f"documents: {source['documents']}; tables: {source['tables']}")
    print(
        f"verified: {len(rows) - len(problems)} of {len(rows)}, {len({r.kind for r in rows})} kinds"
    )
    print(f"built in {build_seconds:.1f} s, checked in {check_seconds:.1f} s")
    exact, near, _ = count_duplicates([row.question for row in rows])
    print(f"near-duplicates: {near}; exact: {exact}")


if __name__ == "__main__":
    main()
