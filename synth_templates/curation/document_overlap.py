"""Evidence documents that a benchmark shows, too: runs of 13 words that stand in both.

Public text stands in many benchmarks, so this alone is no contamination of a question; whether
samples over such documents are dropped is the caller's decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from longspan.harness.datasets.documents import Document
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.curation.benchmark_questions import Benchmark
from longspan.synth_templates.curation.contamination import RUN_WORDS
from longspan.synth_templates.curation.ngrams import ngrams, words

SHARED_PART = 0.5
"""Share of a document's runs that stand in one context of a benchmark, for it to be the same."""


def evidence_documents(row: SampleRow) -> frozenset[str]:
    """Returns the ids of the documents that a sample's evidence stands in."""
    return (
        frozenset(span.document for span in row.passport.evidence) if row.passport else frozenset()
    )


def shared_documents(
    rows: Sequence[SampleRow],
    documents: Iterable[Document],
    benchmarks: Sequence[Benchmark],
) -> list[dict[str, Any]]:
    """Returns the evidence documents that stand in a benchmark's contexts, the most shared first.

    Each has "document", "title", "benchmark", "id" (the first question with the largest share),
    "share" in [0, 1] and "num_samples". Memory grows with the evidence documents, not with the
    benchmarks.
    """
    num_samples = Counter(name for row in rows for name in evidence_documents(row))
    titles: dict[str, str] = {}
    num_runs: dict[str, int] = {}
    holders: dict[str, list[str]] = {}
    for document in documents:
        if document.id in num_samples:
            runs = set(ngrams(words(document.text), RUN_WORDS))
            titles[document.id], num_runs[document.id] = document.title, len(runs)
            for run in runs:
                holders.setdefault(run, []).append(document.id)
    best: dict[str, tuple[float, str, str]] = {}
    for benchmark in benchmarks:
        for question in benchmark.questions:
            runs = set(ngrams(words(question.context), RUN_WORDS))
            shared = Counter(name for run in runs for name in holders.get(run, ()))
            for name, num in shared.items():
                share = num / num_runs[name]
                if share >= SHARED_PART and share > best.get(name, (0.0,))[0]:
                    best[name] = (share, benchmark.name, question.id)
    return [
        {
            "document": name,
            "title": titles[name],
            "benchmark": benchmark,
            "id": question,
            "share": round(share, 3),
            "num_samples": num_samples[name],
        }
        for name, (share, benchmark, question) in sorted(
            best.items(), key=lambda item: (-item[1][0], item[0])
        )
    ]
