"""Record readers: what a row of each benchmark's file means.

A reader is given all rows and its options and returns what reads one row. Options are what `-T` may
set.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longspan.harness.documents import Document, document_id
from longspan.harness.errors import DataError, SpecError
from longspan.harness.fields import fields
from longspan.harness.metrics import normalise
from longspan.harness.records import ReadRow, Record, Row, gold_answers, make_document, text_id
from longspan.harness.spec import SpecFile, describe_validation


class NoOptions(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DistractorOptions(BaseModel):
    """How many passages a question is hidden among."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_documents: int = Field(20, ge=1)
    """Passages in the context, the gold one included."""
    gold_position: int | None = Field(None, ge=0)
    """Where the gold passage stands, from 0; None: drawn."""
    seed: int = 0
    """Seed of the draw."""


class PairOptions(BaseModel):
    """How many key-value pairs a key is looked up among."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_pairs: int | None = Field(None, ge=1)
    """Pairs in the context, the asked one included; None: all of the row."""
    seed: int = 0
    """Seed of the draw."""


def make_reader(file: SpecFile, options: Mapping[str, Any]) -> Callable[[Sequence[Row]], ReadRow]:
    """Returns the reader of a task with its options.

    Raises:
        SpecError: no such reader, or an option is unknown or out of bounds.
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
            id=_text(row, "id"),
            values={"question": _text(row, "question")},
            targets=gold_answers([row["answer"], *row.get("answer_aliases", [])]),
            documents=tuple(documents),
            supporting=tuple(document_id(p["title"], p["paragraph_text"]) for p in supporting),
            hops=len(row.get("question_decomposition") or ()) or None,
        )

    return read


def hotpotqa(rows: Sequence[Row], options: NoOptions) -> ReadRow:
    """HotpotQA, distractor setting (Yang et al. 2018): two supporting paragraphs among ten."""

    def read(row: Row) -> Record:
        documents = {title: make_document(title, "".join(text)) for title, text in row["context"]}
        titles = {title for title, _ in row.get("supporting_facts") or ()}
        return Record(
            id=_text(row, "_id"),
            values={"question": _text(row, "question")},
            targets=gold_answers([row["answer"]]),
            documents=tuple(documents.values()),
            supporting=tuple(d.id for title, d in documents.items() if title in titles),
            hops=2,
            kind=row.get("type"),
            extra={"level": row.get("level")},
        )

    return read


def nq_distractors(rows: Sequence[Row], options: DistractorOptions) -> ReadRow:
    """Natural Questions with the gold passage among passages of other questions.

    The multi-document setting of Liu et al. 2023 (arXiv 2307.03172), with other rows' gold passages
    as distractors. A passage that contains an answer, or has the gold passage's title, is no
    distractor. What a question draws depends on the seed, the question and the file, not on the
    order of rows.
    """
    golds = {document.id: document for row in rows if (document := _gold_passage(row)) is not None}
    pool = [golds[name] for name in sorted(golds)]
    texts = {document.id: f" {normalise(document.text)} " for document in pool}

    def read(row: Row) -> Record:
        question, gold = _text(row, "question"), _gold_passage(row)
        if gold is None:
            raise ValueError("no gold passage")
        targets = gold_answers(row["answers"])
        answers = [f" {normalise(target)} " for target in targets]
        rng = random.Random(f"{options.seed}/{question}")
        distractors: list[Document] = []
        for document in _drawn(pool, rng):
            if len(distractors) == options.num_documents - 1:
                break
            holds_answer = any(answer in texts[document.id] for answer in answers)
            if document.title != gold.title and not holds_answer:
                distractors.append(document)
        return Record(
            id=text_id(question, *targets),
            values={"question": question if question.endswith("?") else f"{question}?"},
            targets=targets,
            documents=tuple(_hide(gold, distractors, options, rng)),
            supporting=(gold.id,),
            hops=1,
        )

    return read


def kv_retrieval(rows: Sequence[Row], options: PairOptions) -> ReadRow:
    """Key-value retrieval of Liu et al. 2023: one key of a JSON object is looked up."""

    def read(row: Row) -> Record:
        key, value = _text(row, "key"), _text(row, "value")
        pairs = [(str(name), str(held)) for name, held in row["ordered_kv_records"]]
        if (key, value) not in pairs:
            raise ValueError("the key asked for is not among the records")
        others = [pair for pair in pairs if pair[0] != key]
        if options.num_pairs is not None:
            if options.num_pairs > len(pairs):
                raise ValueError(f"has {len(pairs)} pairs, asked for {options.num_pairs}")
            rng = random.Random(f"{options.seed}/{key}")
            chosen = {key, *(name for name, _ in rng.sample(others, options.num_pairs - 1))}
            pairs = [pair for pair in pairs if pair[0] in chosen]
        body = ",\n ".join(f"{json.dumps(name)}: {json.dumps(held)}" for name, held in pairs)
        return Record(
            id=text_id(key, value),
            values={"question": f'What is the value of the key "{key}"?', "key": key},
            targets=(value,),
            documents=(make_document("", "{" + body + "}"),),
            hops=1,
            extra={"num_pairs": len(pairs)},
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
}
"""Name in a spec -> reader."""


def _gold_passage(row: Row) -> Document | None:
    passages = row.get("ctxs")
    for passage in passages if isinstance(passages, list) else ():
        if isinstance(passage, dict) and passage.get("isgold") and passage.get("text"):
            return make_document(str(passage.get("title") or ""), str(passage["text"]))
    return None


def _drawn(pool: list[Document], rng: random.Random) -> Iterator[Document]:
    """Yields the pool in random order, drawing only as far as it is read."""
    swapped: dict[int, int] = {}
    for i in range(len(pool)):
        j = rng.randrange(i, len(pool))
        yield pool[swapped.get(j, j)]
        swapped[j] = swapped.get(i, i)


def _hide(
    gold: Document, distractors: list[Document], options: DistractorOptions, rng: random.Random
) -> list[Document]:
    """Returns the distractors with the gold passage at its place."""
    if len(distractors) < options.num_documents - 1:
        raise DataError(
            f"num_documents is too large: got {options.num_documents}, the file has passages for "
            f"{len(distractors) + 1}; lower it"
        )
    position = rng.randrange(options.num_documents)
    if options.gold_position is not None:
        if options.gold_position >= options.num_documents:
            raise DataError(
                f"gold_position must be below num_documents: got {options.gold_position} >= "
                f"{options.num_documents}; lower it"
            )
        position = options.gold_position
    return [*distractors[:position], gold, *distractors[position:]]


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"field {key!r} holds no text")
    return value.strip()
