"""Records -> samples: reading the rows of a task's data, counting what cannot be used.

Every reader turns one row into one `Record`; a row that it cannot use is left out with its number
and a reason, and the count goes into the log of every run.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from inspect_ai.dataset import Sample

from longspan.harness.datasets.data import Data
from longspan.harness.datasets.documents import Document, chat_context, document_id, render_context
from longspan.harness.datasets.rows import read_rows
from longspan.harness.errors import DataError, SpecError
from longspan.harness.files import Problem, by_reason
from longspan.harness.prompts import render_question
from longspan.harness.scoring.grading import grade
from longspan.harness.scoring.rules import RULES
from longspan.harness.spec import TaskSpec
from longspan.harness.templates import render

Row = dict[str, Any]
ReadRow = Callable[[Row], "Record | None"]
"""What reads a row; None: the task's options do not choose it."""

_UNUSABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError)
NUM_PLACES = 5
"""Rows that are named for a reason why rows were left out."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One question with its documents, before it is put to anyone."""

    id: str
    values: dict[str, Any]
    """What the question template sees."""
    targets: tuple[str, ...]
    """Gold answers; several are alternatives."""
    documents: tuple[Document, ...]
    """The context."""
    supporting: tuple[str, ...] = ()
    """Ids of documents that hold the answer: samples that share one are one cluster."""
    messages: tuple[Mapping[str, str], ...] = ()
    """The benchmark's own chat ({role, content}), exactly as it sends it."""
    instructions: str | None = None
    """Format instructions of this record; None: the task's."""
    hops: int | None = None
    kind: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Further metadata."""


@dataclass(frozen=True)
class Reading:
    """The samples that were read, and the rows that were left out."""

    samples: list[Sample]
    problems: list[Problem]
    num_not_chosen: int = 0
    """Rows that the task's options do not choose."""

    def summary(self) -> dict[str, Any]:
        """Returns the counts for the log, with every reason."""
        return {
            "num_samples": len(self.samples),
            "num_rows_not_chosen": self.num_not_chosen,
            **left_out_facts(self.problems),
        }


def read_samples(
    spec: TaskSpec, data: Data, prepare: Callable[[Sequence[Row]], ReadRow]
) -> Reading:
    """Returns the samples of a task's data.

    Args:
        spec: The task.
        data: Its files, read one after the other.
        prepare: Given all rows, returns what reads one (rows may lend each other passages). What
            reads a row returns None where the task's options do not choose it, and raises
            ValueError, KeyError, TypeError or IndexError where it cannot use it. A row on which
            the task's template fails (choices[3] of three) is one that cannot be used.

    Raises:
        DataError: a file cannot be read, or not one of its rows can be used.
    """
    rows, problems = _read_files(data)
    read_row = prepare([row for _, row in rows])
    records: dict[str, Record] = {}
    samples: dict[str, Sample] = {}
    num_not_chosen = 0
    for place, row in rows:
        try:
            record = read_row(row)
            if record is None:
                num_not_chosen += 1
            elif record.id in records:
                problems.append(Problem(place, f"repeats id: {record.id!r:.80}"))
            else:
                samples[record.id] = _usable(to_sample(record, spec, record.id))
                records[record.id] = record
        except (SpecError, *_UNUSABLE) as error:
            problems.append(Problem(place, _reason(error)))
    if not records:
        _raise_no_rows(spec, data, problems, num_not_chosen)
    warn_of_left_out(spec.name, problems)
    for name, cluster in document_groups(list(records.values())).items():
        samples[name].metadata = {**(samples[name].metadata or {}), "document_group": cluster}
    return Reading(list(samples.values()), problems, num_not_chosen)


def _usable(sample: Sample) -> Sample:
    """Returns the sample.

    Raises:
        ValueError: a text of it is none in UTF-8 (half of a character), which no log can hold, or
            its scorer cannot compare anything with its gold answer.
    """
    try:
        sample.model_dump_json()
    except ValueError as error:
        raise ValueError(f"a text of it cannot be written: {error}") from error
    targets = sample.target if isinstance(sample.target, list) else [sample.target]
    metadata = sample.metadata or {}
    if metadata["scorer"] in RULES:
        found = grade(metadata["scorer"], "", targets, metadata=metadata)
        if found.validity == "scorer_failed":
            raise ValueError(found.explanation)
    return sample


def _read_files(data: Data) -> tuple[list[tuple[str, Row]], list[Problem]]:
    """Returns the rows of all files, each with its place."""
    found: list[tuple[str, Row]] = []
    problems: list[Problem] = []
    for path in data.paths:
        rows, left_out = read_rows(path, data.member)
        found += [(f"{path.name} row {number}", row) for number, row in rows]
        problems += left_out
    return found, problems


def _raise_no_rows(
    spec: TaskSpec, data: Data, problems: list[Problem], num_not_chosen: int
) -> NoReturn:
    if num_not_chosen:
        raise DataError(
            f"the options of task {spec.name} choose none of the {num_not_chosen} rows of "
            f"{data.names}; change them (-T)"
        )
    raise DataError(
        f"no usable row in {data.names} for task {spec.name} (first problem: {problems[0]}); "
        "check that the file has the task's format"
    )


def to_sample(record: Record, spec: TaskSpec, document_group: str) -> Sample:
    """Returns the Inspect sample of a record; the context is metadata, never input."""
    question = render(spec.question, record.values)
    instructions = spec.instructions if record.instructions is None else record.instructions
    metadata: dict[str, Any] = {
        "question": question,
        "instructions": instructions,
        **_context(record),
        "task_type": spec.task_type,
        "scorer": spec.scorer.removeprefix("longspan/"),
        "advantage_group": f"{spec.task_type}/{spec.scorer.removeprefix('longspan/')}",
        "kind": record.kind or spec.name,
        "hops": record.hops,
        "input_tokens": None,
        "document_group": document_group,
        **record.extra,
    }
    target: str | list[str] = list(record.targets) if len(record.targets) > 1 else record.targets[0]
    text = render_question(question, instructions)
    return Sample(id=record.id, input=text, target=target, metadata=metadata)


def _context(record: Record) -> dict[str, Any]:
    """Returns the metadata that hold a record's text: its documents, and its chat if it has one."""
    if not record.messages:
        return {"context": {"text": render_context(record.documents)}}
    context = chat_context(record.documents, record.messages)
    return {
        "messages": [dict(message) for message in record.messages],
        "context": context or {"text": render_context(record.documents)},
    }


def document_groups(records: Sequence[Record]) -> dict[str, str]:
    """Returns the cluster of each record.

    Records that share a supporting document, directly or through others, are one cluster. The name
    of a cluster is the id of its first record, so a record without supporting documents is its own.
    """
    parent = {record.id: record.id for record in records}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first_with: dict[str, str] = {}
    for record in records:
        for document in record.supporting:
            owner = root(first_with.setdefault(document, record.id))
            parent[root(record.id)] = owner
    return {record.id: root(record.id) for record in records}


def text_id(*parts: str) -> str:
    """Returns an id for a row without one: a hash of what makes it itself."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def make_document(title: str, text: str) -> Document:
    """Returns the document of a passage; its id is a hash of what it says."""
    title, text = title.strip(), text.strip()
    return Document(id=document_id(title, text), title=title, text=text)


def gold_answers(values: Sequence[Any]) -> tuple[str, ...]:
    """Returns the gold answers without repetitions and blanks.

    Raises:
        ValueError: none is left, or one is neither a text nor a number.
    """
    for value in values:
        if not isinstance(value, str | int | float | None) or value != value:
            raise ValueError(f"a gold answer is neither text nor number: {value!r:.40}")
    texts = [str(value).strip() for value in values if value is not None]
    targets = tuple(dict.fromkeys(text for text in texts if text))
    if not targets:
        raise ValueError("no gold answer")
    return targets


def row_text(row: Row, key: str) -> str:
    """Returns the text of a field, stripped.

    Raises:
        KeyError: there is no such field.
        ValueError: it holds no text.
    """
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"field {key!r} holds no text")
    return value.strip()


def left_out_facts(problems: Sequence[Problem]) -> dict[str, Any]:
    """Returns what the log says about rows that were left out: how many, and every reason."""
    return {
        "num_rows_left_out": len(problems),
        "reasons_left_out": [
            {
                "reason": found[0].reason,
                "num_rows": len(found),
                "first_rows": [problem.place for problem in found[:NUM_PLACES]],
            }
            for found in by_reason(problems)
        ],
    }


def warn_of_left_out(name: str, problems: Sequence[Problem]) -> None:
    """Writes a warning for every reason why rows were left out."""
    for found in by_reason(problems):
        more = ", ..." if len(found) > NUM_PLACES else ""
        places = ", ".join(problem.place for problem in found[:NUM_PLACES])
        logger.warning("%s: %d rows left out: %s (%s%s)",
                       name, len(found), found[0].reason, places, more)  # fmt: skip


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"field {error.args[0]!r} is missing"
    unpacked = isinstance(error, ValueError) and "values to unpack" in str(error)
    if unpacked or isinstance(error, (TypeError, AttributeError, IndexError)):
        return f"a field does not have the benchmark's form ({error})"
    return str(error) or type(error).__name__
