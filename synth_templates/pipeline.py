"""`longspan synth`: from a plan to a task set on disk.

Steps: documents -> corpora per split -> drafts -> contexts -> questions -> verification -> task
set. What each step gave and lost is printed and stands in the manifest. Resumable: parts are kept
in `<out>.work` until the task set appears under its name.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from longspan.harness.datasets.document_files import input_fingerprint
from longspan.harness.errors import SynthesisError
from longspan.harness.taskset import SPLITS, SampleRow, TaskSet, write_taskset
from longspan.harness.tokens import EstimatedTokens, TokenCounter, load_tokenizer
from longspan.harness.workers import folder_lock
from longspan.synth_templates.card import render_card
from longspan.synth_templates.curation.benchmark_questions import read_benchmarks
from longspan.synth_templates.curation.contamination import (
    BenchmarkIndex,
    Match,
    contamination_facts,
)
from longspan.synth_templates.curation.contamination_report import render_reports
from longspan.synth_templates.curation.deduplicate import count_duplicates
from longspan.synth_templates.curation.derive import count_kinds
from longspan.synth_templates.generate import Generator, prepare_work, versions
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.models.evolve import evolve
from longspan.synth_templates.models.model_steps import ModelSteps
from longspan.synth_templates.models.queries import write_queries
from longspan.synth_templates.models.votes import verify_taskset
from longspan.synth_templates.models.waves import Asking
from longspan.synth_templates.parts import Materials
from longspan.synth_templates.plan import (
    DEFAULT_NUM_SAMPLES,
    DEFAULT_TOKENS,
    DocumentsSource,
    Plan,
    default_splits,
    load_plan,
    num_wanted,
    offered,
    parse_plan,
)
from longspan.synth_templates.shapes.evolve import EvolveKind
from longspan.synth_templates.shapes.query import QueryKind
from longspan.synth_templates.shortfall import empty_splits
from longspan.synth_templates.sources import open_source
from longspan.synth_templates.spool import Spool
from longspan.synth_templates.workers import Crew, num_cores

UNVERIFIED = "unverified"
"""Task set in the work folder on which models are still to vote."""


def synth_command(
    plan: Annotated[
        Path | None, typer.Argument(help="Plan (YAML); a default one without it.")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="Folder or file of documents instead of generated worlds.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the task set.")] = Path("taskset"),
    seed: Annotated[int | None, typer.Option(help="Overrides the plan's seed.")] = None,
    num_samples: Annotated[
        int | None, typer.Option(help="Samples over train, validation and test (80/10/10).")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="Target length of contexts in tokens.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Checkpoint whose tokenizer counts lengths.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; as many as cores without it.", min=1)
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster that works instead; `local` starts one here."),
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Print nothing but errors.")] = False,
) -> TaskSet:
    """Build a task set from documents or from a generated world; run it again to resume."""
    resolved = resolve_plan(plan, docs, seed, num_samples, tokens, tokenizer)
    crew = Crew(workers or num_cores(), ray)
    taskset = synthesize(resolved, out, crew, quiet=quiet)
    if not quiet:
        print(f"task set {taskset.name} ({taskset.hash}): {out}; see {out / 'card.md'}")
    return taskset


def resolve_plan(
    plan: Path | None,
    docs: Path | None,
    seed: int | None,
    num_samples: int | None,
    tokens: int | None,
    tokenizer: str | None,
) -> Plan:
    """Returns the plan of a file, or a default one, with what the command line overrides.

    Raises:
        SynthesisError: the plan or an override is wrong.
    """
    for option, value in (("--num-samples", num_samples), ("--tokens", tokens)):
        if value is not None and value < 1:
            raise SynthesisError(f"{option} must be at least 1: got {value}")
    num, length = num_samples or DEFAULT_NUM_SAMPLES, tokens or DEFAULT_TOKENS
    splits = default_splits(num, length)
    content: dict[str, Any] = {"splits": splits}
    if plan is not None:
        content = load_plan(plan).model_dump()
        if num_samples is not None or tokens is not None:
            content["splits"] = splits
    if docs is not None:
        content["source"] = {"type": "documents", "path": docs}
    content |= {
        key: value for key, value in (("seed", seed), ("tokenizer", tokenizer)) if value is not None
    }
    return parse_plan(content, str(plan or "(default)"))


def synthesize(plan: Plan, out: Path, crew: Crew | None = None, *, quiet: bool = False) -> TaskSet:
    """Returns the task set of a plan, built now, resumed, or found whole at `out`.

    Args:
        plan: The plan.
        out: Folder of the task set.
        crew: Who works; it changes nothing in the task set. None: this process.
        quiet: Whether to print nothing.

    Raises:
        SynthesisError: the plan cannot be fulfilled, or `out` holds something else.
        DataError: the documents cannot be read.
        JobError: another run is building the same task set.
    """
    benchmarks = BenchmarkIndex(read_benchmarks(plan.decontaminate))
    fingerprint = _input_fingerprint(plan, benchmarks)
    work = out.with_name(f"{out.name}.work")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        return _existing(plan, out, fingerprint)
    with folder_lock(work) as lock:
        inputs = _Inputs(plan, fingerprint, benchmarks, crew or Crew(), lock)
        taskset = _synthesize(inputs, out, work, quiet=quiet)
        shutil.rmtree(work, ignore_errors=True)
    return taskset


@dataclass(frozen=True)
class _Inputs:
    """What a task set is made from, and by whom."""

    plan: Plan
    fingerprint: str
    benchmarks: BenchmarkIndex
    crew: Crew
    lock: Path


def _synthesize(inputs: _Inputs, out: Path, work: Path, *, quiet: bool) -> TaskSet:
    plan = inputs.plan
    steps = ModelSteps.open(work, plan.journal, quiet=quiet)
    if plan.verify is None:
        return _build(inputs, steps, out, quiet=quiet)
    unverified = work / UNVERIFIED
    if unverified.exists():
        built = _existing(plan, unverified, inputs.fingerprint)
    else:
        built = _build(inputs, steps, unverified, quiet=quiet)
    return verify_taskset(built, plan.verify, out, work, steps.journal, quiet=quiet)


def _ask_models(materials: Materials, steps: ModelSteps) -> None:
    """Lets models make the questions that the plan wants from them."""
    plan, kinds = materials.plan, materials.kinds
    if plan.evolve is None and plan.queries is None:
        return
    wanted = {
        split: {kind.name: numbers.get(kind.name, 0) for kind in kinds.kinds}
        for split, numbers in num_wanted(plan, kinds).items()
    }
    asking = Asking(
        {split: materials.source.corpus(split, 0, 0) for split in wanted},
        wanted,
        materials.counter,
        {split: max(plan.splits[split]) for split in wanted},
        plan.seed,
    )
    if plan.evolve is not None:
        evolved = [kind for kind in kinds.kinds if isinstance(kind, EvolveKind)]
        steps.propose(evolve, asking, evolved, plan.evolve)
    if plan.queries is not None:
        written = [kind for kind in kinds.kinds if isinstance(kind, QueryKind)]
        steps.propose(write_queries, asking, written, plan.queries)


def _build(inputs: _Inputs, steps: ModelSteps, out: Path, *, quiet: bool) -> TaskSet:
    """Returns the task set of a plan before any votes, written to `out`."""
    plan, fingerprint, benchmarks = inputs.plan, inputs.fingerprint, inputs.benchmarks
    work = steps.work
    kinds = offered(plan, load_kinds(plan.source_name, plan.kind_files))
    counter = open_counter(plan.tokenizer)
    source = open_source(plan, kinds, counter, steps)
    materials = Materials(plan, kinds, source, counter, benchmarks)
    _ask_models(materials, steps)
    resumed = prepare_work(work, plan, kinds, fingerprint)
    if resumed and not quiet:
        print(f"resuming from {work}", file=sys.stderr)
    result = _Result(Spool.in_work_folder(work))
    with inputs.crew.workers(materials, result.spool, inputs.lock) as workers:
        generator = Generator(materials, work, result.spool, workers)
        for split in SPLITS:
            for length in plan.splits.get(split, {}):
                _run(generator, split, length, result, quiet=quiet)
    for line in empty_splits(result.yields):
        if not quiet:
            print(line, file=sys.stderr)
    manifest = _manifest(plan, counter, result, source.report(), fingerprint)
    manifest["relations"] = [form.model_dump(mode="json") for form in kinds.relations]
    manifest["aliases"] = [list(names) for names in kinds.aliases]
    manifest["kinds"] = [k.model_dump(mode="json") for k in kinds.kinds if k.name in result.kinds()]
    manifest["cost"] = steps.cost.model_dump()
    if steps.facts:
        manifest |= {"models": sorted(steps.models), "model_steps": steps.facts}
    reports: dict[str, str] = {}
    if plan.decontaminate:
        manifest["contamination"] = contamination_facts(benchmarks, list(result.matches))
        reports = render_reports(manifest, benchmarks.facts(), list(result.matches))
    card = render_card(manifest, result.rows)
    return write_taskset(out, result.rows, result.spool.documents(), manifest, card, reports)


def open_counter(tokenizer: str | None) -> TokenCounter:
    """Returns the counter of a packaged checkpoint, a folder or a Hub repository; None estimates.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    if tokenizer is None:
        return EstimatedTokens()
    # Looked up as a data file: synthesis does not import the trainers' code.
    packaged = files("longspan.trainers").joinpath("checkpoints", Path(tokenizer).name)
    is_packaged = tokenizer == Path(tokenizer).name and packaged.is_dir()
    return load_tokenizer(str(packaged) if is_packaged else tokenizer)


@dataclass
class _Result:
    """What the parts gave together."""

    spool: Spool
    rows: list[SampleRow] = field(default_factory=list)
    yields: dict[str, dict[str, Any]] = field(default_factory=dict)
    matches: dict[Match, None] = field(default_factory=dict)
    """Each once, in order: drafts that are dropped are drawn again."""

    def kinds(self) -> set[str]:
        return {row.kind for row in self.rows}


def _run(generator: Generator, split: Any, length: int, result: _Result, *, quiet: bool) -> None:
    """Runs one split at one length and adds what it gave to the result."""
    rejected: Counter[str] = Counter()
    num_before = len(result.rows)
    wanted = generator.materials.plan.splits[split][length]
    hidden = quiet or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as progress:
        bar = progress.add_task(f"{split} at {length} tokens", total=wanted)
        for part in generator.parts(split, length):
            rejected.update(part.rejected)
            result.matches.update(dict.fromkeys(part.matches))
            result.rows.extend(part.rows)
            for row in part.rows:
                result.spool.use(row.document_group)
            progress.advance(bar, len(part.rows))
    generated = len(result.rows) - num_before
    result.yields[f"{split}/{length}"] = {
        "wanted": wanted,
        "drawn": generated + sum(rejected.values()),
        "accepted": generated,
        "rejected": dict(rejected.most_common()),
    }
    if not quiet:
        reasons = ", ".join(f"{reason} {n}" for reason, n in rejected.most_common(3))
        short = f", {wanted - generated} short" if generated < wanted else ""
        tail = f" (rejected: {reasons})" if reasons else ""
        print(
            f"{split} at {length} tokens: {generated} of {wanted} samples{short}{tail}",
            file=sys.stderr,
        )


def _existing(plan: Plan, out: Path, fingerprint: str) -> TaskSet:
    """Returns the task set at `out` when it is this plan's."""
    taskset = TaskSet.open(out)
    manifest = taskset.manifest
    if manifest["plan"] != plan.model_dump(mode="json") or manifest["input"] != fingerprint:
        raise SynthesisError(
            f"{out} holds the task set of another plan; remove it or choose another --out"
        )
    return taskset


def _manifest(
    plan: Plan,
    counter: TokenCounter,
    result: _Result,
    report: dict[str, object],
    fingerprint: str,
) -> dict[str, Any]:
    return {
        "name": plan.name,
        "plan": plan.model_dump(mode="json"),
        "input": fingerprint,
        "seed": plan.seed,
        "versions": versions(),
        "counter": {"name": plan.tokenizer or counter.name, "exact": counter.exact},
        "counts": count_kinds(result.rows),
        "num_samples": len(result.rows),
        "num_documents": result.spool.num_documents,
        "num_groups": result.spool.num_groups,
        "yields": result.yields,
        "duplicates": count_duplicates(plan.distinct_by_default, result.yields),
        "source": report,
    }


def _input_fingerprint(plan: Plan, benchmarks: BenchmarkIndex) -> str:
    """Returns a digest of documents and benchmarks that are read; "" where there are none."""
    facts: list[object] = [one["hash"] for one in benchmarks.facts()]
    if isinstance(plan.source, DocumentsSource):
        facts.append(input_fingerprint(plan.source.path))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest() if facts else ""
