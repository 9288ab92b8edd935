"""Record readers: what a row of each benchmark's file means.

A reader is given all rows and its options and returns what reads one row. Options are what `-T` may
set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from longspan.harness.datasets.benchmarks import (
    FramesOptions,
    docmath,
    frames,
    longbench,
    longbench_v2,
    titled_paragraphs,
    twowiki,
)
from longspan.harness.datasets.conversations import MRCROptions, corpusqa, longmemeval, mrcr
from longspan.harness.datasets.distractors import (
    DistractorOptions,
    PairOptions,
    kv_retrieval,
    nq_distractors,
)
from longspan.harness.datasets.documents import document_id
from longspan.harness.datasets.fields import check_mapping, fields
from longspan.harness.datasets.records import (
    ReadRow,
    Record,
    Row,
    gold_answers,
    make_document,
    row_text,
)
from longspan.harness.errors import SpecError
from longspan.harness.spec import SpecFile
from longspan.harness.validation import describe_validation


class NoOptions(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def make_reader(file: SpecFile, options: Mapping[str, Any]) -> Callable[[Sequence[Row]], ReadRow]:
    """Returns the reader of a task with its options.

    Raises:
        SpecError: no such reader, an option is unknown or out of bounds, or fields are not mapped.
    """
    name = file.spec.dataset.reader
    reader = READERS.get(name)
    if reader is None:
        raise SpecError(
            f"unknown reader {name!r} in {file.path.name}; choose one of {', '.join(READERS)}"
        )
    try:
        checked = reader.options.model_validate(dict(options))
    except ValidationError as error:
        raise SpecError(f"task {file.spec.name}: {describe_validation(error)}") from error
    if reader is READERS["fields"]:
        check_mapping(file.spec.dataset.fields)
        return lambda rows: fields(rows, file.spec.dataset.fields)
    return lambda rows: reader.read(rows, checked)


def musique(rows: Sequence[Row], options: NoOptions) -> ReadRow:
    """MuSiQue (Trivedi et al. 2022): 2 to 4 hops over paragraphs, most of them distractors."""

    def read(row: Row) -> Record:
        if not row.get("answerable", True):
            raise ValueError("not answerable from its paragraphs")
        documents = [make_document(p["title"], p["paragraph_text"]) for p in row["paragraphs"]]
        supporting = [p for p in row["paragraphs"] if p.get("is_supporting")]
        return Record(
            id=row_text(row, "id"),
            values={"question": row_text(row, "question")},
            targets=gold_answers([row["answer"], *row.get("answer_aliases", [])]),
            documents=tuple(documents),
            supporting=tuple(document_id(p["title"], p["paragraph_text"]) for p in supporting),
            hops=len(row.get("question_decomposition") or ()) or None,
        )

    return read


def hotpotqa(rows: Sequence[Row], options: NoOptions) -> ReadRow:
    """HotpotQA, distractor setting (Yang et al. 2018): two supporting paragraphs among ten."""

    def read(row: Row) -> Record:
        documents = titled_paragraphs(row, "".join)
        titles = {title for title, _ in row.get("supporting_facts") or ()}
        return Record(
            id=row_text(row, "_id"),
            values={"question": row_text(row, "question")},
            targets=gold_answers([row["answer"]]),
            documents=tuple(documents.values()),
            supporting=tuple(d.id for title, d in documents.items() if title in titles),
            hops=2,
            kind=row.get("type"),
            extra={"level": row.get("level")},
        )

    return read


@dataclass(frozen=True)
class Reader:
    """A reader and the options that it takes."""

    read: Callable[[Sequence[Row], Any], ReadRow]
    options: type[BaseModel] = NoOptions


READERS: dict[str, Reader] = {
    "fields": Reader(fields),
    "musique": Reader(musique),
    "hotpotqa": Reader(hotpotqa),
    "nq_distractors": Reader(nq_distractors, DistractorOptions),
    "kv_retrieval": Reader(kv_retrieval, PairOptions),
    "twowiki": Reader(twowiki),
    "longbench": Reader(longbench),
    "longbench_v2": Reader(longbench_v2),
    "frames": Reader(frames, FramesOptions),
    "docmath": Reader(docmath),
    "mrcr": Reader(mrcr, MRCROptions),
    "corpusqa": Reader(corpusqa),
    "longmemeval": Reader(longmemeval),
}
"""Name in a spec -> reader."""
