"""Re-executing passports offline: does the evidence stand, does the proof hold?

Nothing here is taken from the passport on trust: spans are compared with the documents, triples are
looked up in them, uniqueness is recomputed on a graph built anew from all documents of the group,
tables are parsed again. What is not
checked: whether a triple follows from its passage in meaning (the passage holds subject and
object).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated

import typer
from pydantic import ValidationError

from longspan.harness.datasets.documents import Document
from longspan.harness.datasets.parquet import read_table
from longspan.harness.errors import DataError, one_line
from longspan.harness.files import file_hash
from longspan.harness.passport import EvidenceSpan
from longspan.harness.scoring.rules import RULES
from longspan.harness.taskset import SAMPLES_FILE, SampleRow, TaskSet
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.declared import (
    check_counts,
    check_declared,
    check_lengths,
    declared_kinds,
)
from longspan.synth_templates.models.vote_rules import check_votes
from longspan.synth_templates.questions import list_options
from longspan.synth_templates.shapes.registry import CHECK
from longspan.synth_templates.triples.graph import normalise_entity
from longspan.synth_templates.triples.relations import Lexicon, RelationForm

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
    num_samples = read_table(taskset / SAMPLES_FILE).num_rows
    problems = check_taskset(opened)
    num_failed = len(problems.keys() - {WHOLE})
    for name, found in problems.items():
        print(one_line(f"{name}: {'; '.join(found)}"))
    print(f"{num_samples - num_failed} of {num_samples} passports hold")
    if problems:
        raise DataError(
            f"task set {taskset} fails: {num_failed} of {num_samples} samples, first "
            f"{next(iter(problems))}; build it again"
        )
    if changed:
        raise DataError(f"changed since it was built: {taskset / changed[0]}; build it again")


def check_taskset(taskset: TaskSet, only: Container[str] | None = None) -> dict[str, list[str]]:
    """Returns the problems by sample id, under `WHOLE` those of the whole.

    Args:
        taskset: The task set; the documents of one group are in memory at a time.
        only: Ids of the samples whose passports are re-executed. None: all.

    Raises:
        DataError: a table or the manifest is damaged.
    """
    lexicon = _lexicon(taskset)
    kinds = declared_kinds(taskset)
    counter = taskset.manifest.get("counter")
    is_estimated = isinstance(counter, dict) and counter.get("name") == EstimatedTokens.name
    every, damaged = taskset.sound_rows()
    by_group: dict[str, list[SampleRow]] = {}
    for row in every:
        if only is None or row.id in only:
            by_group.setdefault(row.document_group, []).append(row)
    problems = {
        name: [f"cannot be read: {found}"]
        for name, found in damaged.items()
        if only is None or name in only
    }
    for group, documents in taskset.groups():
        corpus = Corpus(group, documents, lexicon)
        for row in by_group.pop(group, ()):
            found = check_passport(row, corpus) or check_declared(row, kinds, corpus)
            found = found or check_lengths(row, corpus, is_estimated=is_estimated)
            found = found or check_votes(row, taskset.manifest.get("verification"))
            if found:
                problems[row.id] = found
    for group, rows in by_group.items():
        problems |= {row.id: [f"group {group} has no documents"] for row in rows}
    whole = _check_whole(every) + check_counts(taskset, len(every) + len(damaged))
    return {**problems, WHOLE: whole} if whole else problems


def _lexicon(taskset: TaskSet) -> Lexicon:
    try:
        forms = [RelationForm.model_validate(form) for form in taskset.manifest["relations"]]
        return Lexicon(forms, taskset.manifest["aliases"])
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
    if len(set(row.documents)) < len(row.documents):
        return ["a document stands twice in the context"]
    problems = [p for span in passport.evidence if (p := _check_span(span, row, corpus.by_id))]
    if problems:
        return problems
    found, answer = CHECK[passport.proof.type](passport.proof, row, corpus)
    return found or _check_target(row, answer) or _check_gold(row)


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
    text = documents[span.document].text
    if span.end <= len(text) and text[span.start : span.end] == span.quote:
        return None
    return f"document {span.document} does not say {span.quote[:60]!r} at {span.start}-{span.end}"


def _check_gold(row: SampleRow) -> list[str]:
    """Checks that the gold answer scores 1 by the sample's own scorer."""
    rule = RULES.get(row.scorer)  # another than its kind's is found by `check_declared`
    if rule is None or rule.needs:  # what a passport does not hold, such as a repetition's prefix
        return []
    try:
        score = rule.strict(row.target[0], row.target, {})
    except ValueError:
        return [f"scorer {row.scorer} cannot read the gold answer"]
    return [] if score == 1 else [f"the gold answer scores {score:g} by {row.scorer}"]


def _check_target(row: SampleRow, answer: str) -> list[str]:
    """Checks that the target is the proof's answer, or the letter of the option that is."""
    options = row.passport.options if row.passport else ()
    if options:
        if [normalise_entity(o) for o in options].count(normalise_entity(answer)) != 1:
            return [f"answer {answer!r} is not exactly one of the options"]
        if list_options(options) not in row.question:
            return ["question does not list the options of the passport"]
        answer = ascii_uppercase[options.index(answer)] if answer in options else ""
    if row.target != (answer,):
        return [f"target is {list(row.target)}, but the proof gives {answer!r}"]
    return []
