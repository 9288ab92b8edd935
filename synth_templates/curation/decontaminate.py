"""`longspan decontaminate`: a task set without the questions of named benchmarks, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from longspan.harness.errors import SynthesisError
from longspan.harness.files import written_whole
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.curation.benchmark_questions import read_benchmarks
from longspan.synth_templates.curation.contamination import (
    BenchmarkIndex,
    Match,
    contamination_facts,
    match_row,
)
from longspan.synth_templates.curation.contamination_report import (
    JSON_FILE,
    PAGE_FILE,
    render_reports,
    summary,
)
from longspan.synth_templates.curation.derive import derive
from longspan.synth_templates.curation.document_overlap import evidence_documents, shared_documents

Documents = Literal["ignore", "report", "drop"]
"""What is done about evidence documents that a benchmark shows, too."""


def decontaminate_command(
    taskset: Annotated[Path, typer.Argument(help="Folder of the task set.")],
    against: Annotated[
        list[str],
        typer.Option(help="Registered task, JSON lines file or task set (may be repeated)."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of a task set without what is dropped.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("contamination"),
    documents: Annotated[
        Documents, typer.Option(help="Evidence documents that a benchmark shows, too.")
    ] = "ignore",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> TaskSet | None:
    """Compare a task set with benchmarks; write a report and a task set without the matches."""
    opened = TaskSet.open(taskset)
    index = BenchmarkIndex(read_benchmarks(against))
    rows = opened.rows()
    matches = [match for row in rows for match in match_row(index, row)]
    overlaps: list[dict[str, Any]] = []
    if documents != "ignore":
        overlaps = shared_documents(rows, opened.documents.values(), index.benchmarks)
        overlaps = [{**one, "dropped": documents == "drop"} for one in overlaps]
    facts = {"name": opened.name, "num_samples": len(rows)}
    reports = render_reports(facts, index.facts(), matches, overlaps)
    report.mkdir(parents=True, exist_ok=True)
    for name, text in reports.items():
        with written_whole(report / name) as partial:
            partial.write_text(text, "utf-8")
    kept = kept_rows(rows, matches, overlaps)
    made = None
    if out is not None:
        made = _write(opened, out, kept, index, matches, reports)
    if not quiet:
        for line in summary(index.facts(), matches):
            print(line)
        if documents != "ignore":
            print(f"{len(overlaps)} evidence documents stand in contexts of the benchmarks")
        print(
            f"{len(rows) - len(kept)} of {len(rows)} samples are contaminated; "
            f"see {report / PAGE_FILE} ({JSON_FILE} for all matches)"
        )
    return made


def kept_rows(
    rows: Sequence[SampleRow], matches: Sequence[Match], overlaps: Sequence[dict[str, Any]] = ()
) -> list[SampleRow]:
    """Returns the samples that no match and no dropped document rules out."""
    dropped = {match.sample for match in matches if match.dropped}
    foreign = {one["document"] for one in overlaps if one["dropped"]}
    return [r for r in rows if r.id not in dropped and not evidence_documents(r) & foreign]


def _write(
    opened: TaskSet,
    out: Path,
    kept: list[SampleRow],
    index: BenchmarkIndex,
    matches: list[Match],
    reports: dict[str, str],
) -> TaskSet:
    if not kept:
        raise SynthesisError(
            f"every sample of {opened.folder} is contaminated; see the report, or compare with "
            "fewer benchmarks"
        )
    facts = contamination_facts(index, matches)
    operation = {"operation": "decontaminate", **facts}
    return derive(opened, out, kept, operation, changes={"contamination": facts}, reports=reports)
