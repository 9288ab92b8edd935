"""Exact and near-duplicates among the questions of a task set, by comparing every pair.

    python benchmarks/question_duplicates.py [TASKSET] [--samples 5000 --tokens 2000 --seed 0]

Without a task set, questions about fictional worlds are generated first. Two questions are
near-duplicates when the Jaccard similarity of their word 3-grams is 0.8 or more, names kept. It
shares no code with the search that drops repetitions while questions are drawn: all pairs are
counted by one sparse matrix product, a block of questions at a time.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from longspan.harness.taskset import TaskSet
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan

NEAR = 0.8
NUM_WORDS = 3
BLOCK = 500
"""Questions compared with all others at a time."""


def main() -> None:
    """Prints how many questions repeat an earlier one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("taskset", type=Path, nargs="?")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taskset = (
            TaskSet.open(options.taskset) if options.taskset else generate(options, Path(folder))
        )
        rows = taskset.rows()
    questions = [row.question for row in rows]
    exact, near, highest = count_duplicates(questions)
    print(f"questions: {len(rows)} of {len({row.kind for row in rows})} kinds")
    print(f"exact duplicates: {exact}")
    print(f"near-duplicates (Jaccard >= {NEAR}): {near} ({100 * near / len(questions):.2f}%)")
    print(f"highest similarity of two questions: {highest:.3f}")


def generate(options: argparse.Namespace, folder: Path) -> TaskSet:
    """Returns a task set over fictional worlds."""
    plan = {
        "name": "fiction",
        "seed": options.seed,
        "source": {"type": "fiction"},
        "splits": {"train": {options.tokens: options.samples}},
    }
    return synthesize(parse_plan(plan, "question_duplicates"), folder / "set", quiet=True)


def count_duplicates(questions: Sequence[str]) -> tuple[int, int, float]:
    """Returns how many questions repeat an earlier one exactly, how many nearly or exactly.

    The third is the highest Jaccard similarity of two questions, in [0, 1].
    """
    grams = _grams(questions)
    sizes = np.asarray(grams.sum(axis=1), dtype=np.float64).ravel()
    near, highest = 0, 0.0
    for start in range(0, len(questions), BLOCK):
        block = grams[start : start + BLOCK]
        shared = (block @ grams.T).toarray().astype(np.float64)
        whole = sizes[start : start + BLOCK, None] + sizes[None, :] - shared
        similarity = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
        earlier = (
            np.arange(len(questions))[None, :] < np.arange(start, start + len(shared))[:, None]
        )
        best = np.where(earlier, similarity, 0).max(axis=1)
        near += int((best >= NEAR).sum())
        highest = max(highest, float(best.max(initial=0)))
    return len(questions) - len(set(questions)), near, highest


def _grams(questions: Sequence[str]) -> csr_matrix:
    """Returns a matrix [questions, 3-grams] of ones; a shorter question is one gram."""
    columns: dict[tuple[str, ...], int] = {}
    rows, places = [], []
    for number, question in enumerate(questions):
        words = re.findall(r"[\w.-]+", question.casefold())
        starts = range(max(1, len(words) - NUM_WORDS + 1))
        for gram in {tuple(words[i : i + NUM_WORDS]) for i in starts}:
            rows.append(number)
            places.append(columns.setdefault(gram, len(columns)))
    ones = np.ones(len(rows), dtype=np.int32)
    return csr_matrix((ones, (rows, places)), shape=(len(questions), max(1, len(columns))))


if __name__ == "__main__":
    main()
