"""Re-executing passports offline: does the evidence stand, does the proof hold?

Nothing here is taken from the passport on trust: spans are compared with the documents, triples are
looked up in them, uniqueness is recomputed on a graph built anew from all documents of the group,
tables are parsed again. What is not
checked: whether a triple follows from its passage in meaning (the passage holds subject and
object).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated

import typer
from pydantic import ValidationError

from longspan.harness.datasets.documents import Document, Triple
from longspan.harness.errors import DataError
from longspan.harness.files import file_hash
from longspan.harness.passport import CompareProof, EvidenceSpan, PathProof, ProofStep, TableProof
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.graph import find_mentions, normalise_entity
from longspan.synth_templates.relations import Lexicon, RelationForm, numeric_value
from longspan.synth_templates.tables import compute, find_tables, format_number

WHOLE = "(task set)"
"""Stands for the whole task set among sample ids."""


def check_command(
    taskset: Annotated[Path, typer.Argument(help="Folder of the task set.")],
) -> None:
    """Re-execute every passport of a task set; names each sample that fails.

    Raises:
        DataError: a file was changed or is damaged, or a sample fails.
    """
    opened = TaskSet.open(taskset, check_sizes=False)
    changed = [
        name
        for name, facts in opened.manifest["files"].items()
        if file_hash(taskset / name) != facts["sha256"]
    ]
    num_samples = len(opened.rows())
    problems = check_taskset(opened)
    num_failed = len(problems.keys() - {WHOLE})
    for name, found in problems.items():
        print(f"{name}: {'; '.join(found)}")
    print(f"{num_samples - num_failed} of {num_samples} passports hold")
    if problems:
        raise DataError(
            f"task set {taskset} fails: {num_failed} of {num_samples} samples, first "
            f"{next(iter(problems))}; build it again"
        )
    if changed:
        raise DataError(f"changed since it was built: {taskset / changed[0]}; build it again")


def check_taskset(taskset: TaskSet) -> dict[str, list[str]]:
    """Returns the problems by sample id, under `WHOLE` those of the whole."""
    lexicon = _lexicon(taskset)
    documents, groups = taskset.documents, taskset.document_groups()
    by_group: dict[str, list[SampleRow]] = {}
    for row in taskset.rows():
        by_group.setdefault(row.document_group, []).append(row)
    problems: dict[str, list[str]] = {}
    for group, rows in by_group.items():
        corpus = Corpus(group, [documents[name] for name in groups.get(group, ())], lexicon)
        for row in rows:
            if found := check_passport(row, corpus):
                problems[row.id] = found
    whole = _check_whole(taskset.rows())
    return {**problems, WHOLE: whole} if whole else problems


def _lexicon(taskset: TaskSet) -> Lexicon:
    try:
        return Lexicon(
            [RelationForm.model_validate(form) for form in taskset.manifest["relations"]]
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise DataError(
            f"manifest of {taskset.folder} has no lexicon ({error}); build it again"
        ) from error


def check_passport(row: SampleRow, corpus: Corpus) -> list[str]:
    """Returns what is wrong with a sample, given all documents of its group."""
    passport = row.passport
    if passport is None:
        return ["has no passport"]
    missing = [name for name in row.documents if name not in corpus.by_id]
    if missing:
        return [f"document {missing[0]} is not in group {corpus.group}"]
    problems = [p for span in passport.evidence if (p := _check_span(span, row, corpus.by_id))]
    proof = passport.proof
    if problems:
        return problems
    if isinstance(proof, TableProof):
        found, answer = _check_table(proof, row, corpus)
    elif isinstance(proof, CompareProof):
        found, answer = _check_compare(proof, row, corpus)
    else:
        found, answer = _check_path(proof, row, corpus)
    return found or _check_target(row, answer)


def _check_whole(rows: Sequence[SampleRow]) -> list[str]:
    """Checks that ids are distinct and that no document is in two splits."""
    problems = [
        f"id {name} occurs {n} times" for name, n in Counter(r.id for r in rows).items() if n > 1
    ]
    split_of: dict[str, str] = {}
    shared = {
        name
        for row in rows
        for name in row.documents
        if split_of.setdefault(name, row.split) != row.split
    }
    return problems + [f"document {name} is in two splits" for name in sorted(shared)]


def _check_span(
    span: EvidenceSpan, row: SampleRow, documents: Mapping[str, Document]
) -> str | None:
    if span.document not in row.documents:
        return f"evidence document {span.document} is not in the context"
    found = documents[span.document].text[span.start : span.end]
    return (
        None
        if found == span.quote
        else f"document {span.document} does not say {span.quote[:60]!r}"
    )


def _check_step(step: ProofStep, span: EvidenceSpan, corpus: Corpus) -> list[str]:
    document = corpus.by_id.get(step.document)
    triple = Triple(subject=step.subject, relation=step.relation, object=step.object)
    where = f"({step.subject}, {step.relation}, {step.object})"
    if document is None or span.document != step.document:
        return [f"evidence for {where} is in another document"]
    if triple not in document.triples:
        return [f"document {step.document} does not state {where}"]
    is_page = normalise_entity(document.title) == normalise_entity(step.subject)
    if not find_mentions(step.object, span.quote) or not (
        is_page or find_mentions(step.subject, span.quote)
    ):
        return [f"evidence does not hold subject and object of {where}"]
    return []


def _check_steps(row: SampleRow, steps: Sequence[ProofStep], corpus: Corpus) -> list[str]:
    evidence = row.passport.evidence if row.passport else ()
    if len(steps) != len(evidence):
        return [f"{len(steps)} steps but {len(evidence)} evidence spans"]
    problems = [p for s, e in zip(steps, evidence, strict=True) for p in _check_step(s, e, corpus)]
    if len({step.document for step in steps}) < len(steps):
        problems.append("two steps share a document")
    return problems


def _check_path(proof: PathProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    steps = proof.steps
    problems = _check_steps(row, steps, corpus)
    nodes = [normalise_entity(name) for name in (steps[0].subject, *(s.object for s in steps))]
    for step, following in zip(steps, steps[1:], strict=False):
        if normalise_entity(step.object) != normalise_entity(following.subject):
            problems.append(f"path breaks between {step.object!r} and {following.subject!r}")
    if len(set(nodes)) < len(nodes):
        problems.append("path has a cycle")
    relations = [corpus.lexicon.canonical(_triple(step)) for step in steps]
    reached = corpus.graph.follow(nodes[0], relations)
    if reached != {nodes[-1]}:
        problems.append(f"answer is not unique: the path leads to {sorted(reached)}")
    if not find_mentions(steps[0].subject, row.question):
        problems.append(f"question does not name {steps[0].subject!r}")
    answer = steps[-1].object
    if proof.answer == "sentence":
        answer = row.passport.evidence[-1].quote.rstrip(".") if row.passport else ""
    elif not (row.passport and row.passport.options) and find_mentions(answer, row.question):
        problems.append("answer stands in the question")
    return problems, answer


def _check_compare(proof: CompareProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    problems = _check_steps(row, proof.steps, corpus)
    for step in proof.steps:
        relation = corpus.lexicon.canonical(_triple(step))
        if not corpus.graph.is_functional(normalise_entity(step.subject), relation):
            problems.append(f"{step.subject!r} has more than one {relation}")
        if not find_mentions(step.subject, row.question):
            problems.append(f"question does not name {step.subject!r}")
    values = [numeric_value(step.object) for step in proof.steps]
    if values[0] is None or values[1] is None or values[0] == values[1]:
        return [*problems, "values cannot be ordered"], ""
    first_wins = (values[0] > values[1]) == (proof.pick == "largest")
    return problems, proof.steps[0 if first_wins else 1].subject


def _check_table(proof: TableProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    span = row.passport.evidence[0] if row.passport else None
    document = corpus.by_id.get(proof.document)
    if document is None or span is None or span.document != proof.document:
        return ["evidence is not the table's document"], ""
    found = [
        table
        for table in find_tables(document)
        if (table.subject, table.column, table.rows) == (proof.subject, proof.column, proof.rows)
        and (table.start, table.end) == (span.start, span.end)
    ]
    if not found:
        return [f"document {proof.document} has no such table of {proof.subject!r}"], ""
    problems = []
    if len(corpus.tables_by_key[proof.subject, proof.column]) != 1:
        problems.append(f"another table is about {proof.subject!r}, {proof.column!r} too")
    named = (
        [proof.subject]
        if proof.threshold is None
        else [proof.subject, format_number(proof.threshold)]
    )
    problems += [
        f"question does not name {x!r}" for x in named if not find_mentions(x, row.question)
    ]
    return problems, format_number(compute(proof.rows, proof.operation, proof.threshold))


def _check_target(row: SampleRow, answer: str) -> list[str]:
    """Checks that the target is the proof's answer, or the letter of the option that is."""
    options = row.passport.options if row.passport else ()
    if options:
        if [normalise_entity(o) for o in options].count(normalise_entity(answer)) != 1:
            return [f"answer {answer!r} is not exactly one of the options"]
        listed = ", ".join(f"{o} ({x})" for o, x in zip(options, ascii_uppercase, strict=False))
        if listed not in row.question:
            return ["question does not list the options of the passport"]
        answer = ascii_uppercase[options.index(answer)] if answer in options else ""
    if row.target != (answer,):
        return [f"target is {list(row.target)}, but the proof gives {answer!r}"]
    return []


def _triple(step: ProofStep) -> Triple:
    return Triple(subject=step.subject, relation=step.relation, object=step.object)
