"""Records -> samples: finding a task's data, reading its rows, counting what cannot be used.

Every reader turns one row into one `Record`; a row that it cannot use is left out with its number
and a reason, and the count goes into the log of every run.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspect_ai.dataset import Sample

from longspan.harness.documents import Document, document_id, render_context
from longspan.harness.errors import DataError
from longspan.harness.files import Problem, read_json_lines
from longspan.harness.prompts import render_question
from longspan.harness.spec import SpecFile, TaskSpec
from longspan.harness.templates import render

DATA_VARIABLE = "LONGSPAN_DATA"
"""Environment variable: the folder in which data files of tasks are looked for."""

Row = dict[str, Any]
ReadRow = Callable[[Row], "Record"]

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
    hops: int | None = None
    kind: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Further metadata."""


@dataclass(frozen=True)
class Reading:
    """The samples that were read, and the rows that were left out."""

    samples: list[Sample]
    problems: list[Problem]

    def summary(self) -> dict[str, Any]:
        """Returns the counts for the log, with the first reasons."""
        return {
            "num_samples": len(self.samples),
            "num_rows_left_out": len(self.problems),
            "first_reasons": [str(problem) for problem in self.problems[:10]],
        }


def find_data(file: SpecFile, data: str | None = None) -> Path:
    """Returns the data file of a task.

    The one given, else one in LONGSPAN_DATA, else one beside the spec, else from the hub.

    Raises:
        DataError: there is none; the message says where to put it.
    """
    dataset = file.spec.dataset
    if data:
        path = Path(data).expanduser()
        if not path.is_file():
            raise DataError(f"no data file at {path}; check the path given with -T data=")
        return path
    variable = os.environ.get(DATA_VARIABLE, "")
    folders = [Path(variable).expanduser()] if variable else []
    for folder in [*folders, file.path.parent]:
        for name in dataset.files:
            if (folder / name).is_file():
                return folder / name
    if dataset.hub is not None:
        return _fetch(dataset.hub.repository, dataset.hub.revision, dataset.hub.file)
    state = f"not in {DATA_VARIABLE}={variable}" if variable else f"{DATA_VARIABLE} is not set"
    names = " or ".join(dataset.files) or "a data file"
    source = f" ({dataset.source})" if dataset.source else ""
    raise DataError(
        f"task {file.spec.name} needs {names}{source}: {state}; "
        f"set {DATA_VARIABLE} to the folder that holds it, or pass -T data=FILE"
    )


def read_samples(
    spec: TaskSpec, path: Path, prepare: Callable[[Sequence[Row]], ReadRow]
) -> Reading:
    """Returns the samples of a data file.

    Args:
        spec: The task.
        path: JSON lines.
        prepare: Given all rows, returns what reads one (rows may lend each other passages). What
            reads
            a row raises ValueError, KeyError, TypeError or IndexError where it cannot use it.

    Raises:
        DataError: the file cannot be read, or not one of its rows can be used.
    """
    rows, problems = read_json_lines(path)
    problems = list(problems)
    read_row = prepare([row for _, row in rows])
    records: dict[str, Record] = {}
    for number, row in rows:
        place = f"{path.name} row {number}"
        try:
            record = read_row(row)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            problems.append(Problem(place, _reason(error)))
            continue
        if record.id in records:
            problems.append(Problem(place, f"repeats id {record.id!r}"))
        else:
            records[record.id] = record
    if not records:
        raise DataError(
            f"no usable row in {path} for task {spec.name} (first problem: {problems[0]}); "
            "check that the file has the task's format"
        )
    if problems:
        logger.warning(
            "%s: %d rows of %s left out, first: %s",
            spec.name, len(problems), path.name, problems[0],
        )  # fmt: skip
    clusters = document_groups(list(records.values()))
    return Reading(
        [to_sample(record, spec, clusters[record.id]) for record in records.values()], problems
    )


def to_sample(record: Record, spec: TaskSpec, document_group: str) -> Sample:
    """Returns the Inspect sample of a record; the context is metadata, never input."""
    question = render(spec.question, record.values)
    metadata: dict[str, Any] = {
        "question": question,
        "instructions": spec.instructions,
        "context": {"text": render_context(record.documents)},
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
    text = render_question(question, spec.instructions)
    return Sample(id=record.id, input=text, target=target, metadata=metadata)


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
        ValueError: none is left.
    """
    texts = [str(value).strip() for value in values if value is not None]
    targets = tuple(dict.fromkeys(text for text in texts if text))
    if not targets:
        raise ValueError("no gold answer")
    return targets


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"field {error.args[0]!r} is missing"
    return str(error) or type(error).__name__


def _fetch(repository: str, revision: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download  # only tasks on the hub need the network
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(repository, file, revision=revision, repo_type="dataset"))
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise DataError(
            f"cannot fetch {file} of {repository} at {revision[:8]}: {error}; "
            f"check the network, or put the file into {DATA_VARIABLE}"
        ) from error
