"""Tables in a sentence: an operation on their numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from longspan.harness.passport import Operation, TableProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.draft import Draft, Rejected, quote
from longspan.synth_templates.tables.cells import format_number
from longspan.synth_templates.tables.sentence_lists import find_tables
from longspan.synth_templates.triples.graph import find_mentions


class TableKind(KindBase):
    """A question for a number that follows from a table.

    Its wording may use `subject`, `column` and, where the operation has one, `threshold`.
    """

    shape: Literal["table"]
    operation: Operation
    """What is computed."""


def draw(kind: TableKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of an operation on a random table, or why there is none."""
    if not corpus.tables:
        return Rejected("no table", is_final=True)
    table = rng.choice(corpus.tables)
    threshold = None
    if kind.operation == "count_above":
        values = [value for _, value in table.rows]
        threshold = float(rng.randint(max(1, int(min(values)) - 1), max(1, int(max(values)))))
    result = compute(table.rows, kind.operation, threshold)
    variables = {"subject": table.subject, "column": table.column}
    if threshold is not None:
        variables["threshold"] = format_number(threshold)
    proof = TableProof(
        document=table.document,
        subject=table.subject,
        column=table.column,
        rows=table.rows,
        operation=kind.operation,
        threshold=threshold,
    )
    span = quote(corpus, table.document, table.start, table.end)
    return Draft(kind, format_number(result), proof, (span,), variables, names_answer=True)


def check(proof: TableProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
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
    named = [proof.subject]
    if proof.threshold is not None:
        named.append(format_number(proof.threshold))
    problems += [
        f"question does not name {name!r}"
        for name in named
        if not find_mentions(name, row.question)
    ]
    return problems, format_number(compute(proof.rows, proof.operation, proof.threshold))


def compute(
    rows: Sequence[tuple[str, float]], operation: Operation, threshold: float | None = None
) -> float:
    """Returns the result of an operation on the values of a table."""
    values = [value for _, value in rows]
    if operation == "count_above":
        limit = 0.0 if threshold is None else threshold
        return sum(value > limit for value in values)
    if operation == "difference":
        return max(values) - min(values)
    if operation == "sum":
        return sum(values)
    return max(values) if operation == "max" else min(values)
