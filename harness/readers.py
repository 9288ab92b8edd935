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
from longspan.harness.metrics import normalise
from longspan.harness.records import ReadRow, Record, Row, text_id
from longspan.harness.spec import SpecFile, describe_validation

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
        documents = [_document(p["title"], p["paragraph_text"]) for p in row["paragraphs"]]
        supporting = [p for p in row["paragraphs"] if p.get("is_supporting")]
        return Record(
            id=_text(row, "id"),
            values={"question": _text(row, "question")},
            targets=_targets([row["answer"], *row.get("answer_aliases", [])]),
            documents=tuple(documents),
            supporting=tuple(document_id(p["title"], p["paragraph_text"]) for p in supporting),
            hops=len(row.get("question_decomposition") or ()) or None,
        )

    return read


def hotpotqa(rows: Sequence[Row], options: NoOptions) -> ReadRow:
    """HotpotQA, distractor setting (Yang et al. 2018): two supporting paragraphs among ten."""

    def read(row: Row) -> Record:
        documents = {title: _document(title, "".join(text)) for title, text in row["context"]}
        titles = {title for title, _ in row.get("supporting_facts") or ()}
        return Record(
            id=_text(row, "_id"),
            values={"question": _text(row, "question")},
            targets=_targets([row["answer"]]),
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
        targets = _targets(row["answers"])
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
            documents=(_document("", "{" + body + "}"),),
            hops=1,
            extra={"num_pairs": len(pairs)},
        )

    return read


def fields(rows: Sequence[Row], mapping: Mapping[str, str]) -> ReadRow:
    """Any JSON lines, by a mapping from our names to the row's fields.

    `context` is a text, or a list of texts or of {title, text}. With `choices` (a list of texts, or
    a dictionary by letter) the template sees `options`, "Kukton (A), Tastal (B)", and the target
    becomes its letter.

    Raises:
        SpecError: question, target or context is not mapped.
    """
    missing = [name for name in ("question", "target", "context") if name not in mapping]
    if missing:
        raise SpecError(
            f"dataset.fields lacks {', '.join(missing)}; say which field of a row it is"
        )

    def read(row: Row) -> Record:
        found = {name: _descend(row, path) for name, path in mapping.items()}
        question, target = found["question"], found["target"]
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"field {mapping['question']!r} holds no question")
        targets = _targets(target if isinstance(target, list) else [target])
        values = {
            "question": question,
            **{name: found[name] for name in found if name != "context"},
        }
        if found.get("choices"):
            options = _options(found["choices"])
            targets = (_chosen(targets[0], options),)
            values["options"] = ", ".join(f"{text} ({letter})" for letter, text in options.items())
        hops = found.get("hops")
        return Record(
            id=str(found["id"])
            if found.get("id") not in (None, "")
            else text_id(question, *targets),
            values=values,
            targets=targets,
            documents=_context(found["context"]),
            hops=hops if isinstance(hops, int) else None,
            kind=str(found["kind"]) if found.get("kind") else None,
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


def _document(title: str, text: str) -> Document:
    title, text = title.strip(), text.strip()
    return Document(id=document_id(title, text), title=title, text=text)


def _gold_passage(row: Row) -> Document | None:
    passages = row.get("ctxs")
    for passage in passages if isinstance(passages, list) else ():
        if isinstance(passage, dict) and passage.get("isgold") and passage.get("text"):
            return _document(str(passage.get("title") or ""), str(passage["text"]))
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


def _targets(values: Sequence[Any]) -> tuple[str, ...]:
    """Returns the gold answers without repetitions and blanks."""
    texts = [str(value).strip() for value in values if value is not None]
    targets = tuple(dict.fromkeys(text for text in texts if text))
    if not targets:
        raise ValueError("no gold answer")
    return targets


def _descend(row: Row, path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _context(value: Any) -> tuple[Document, ...]:
    items = value if isinstance(value, list) else [value]
    documents = tuple(
        _document(str(item.get("title") or ""), str(item["text"]))
        if isinstance(item, dict)
        else _document("", str(item))
        for item in items
        if item not in (None, "")
    )
    if not documents:
        raise ValueError("no context")
    return documents


def _options(choices: Any) -> dict[str, str]:
    if isinstance(choices, dict):
        return {str(letter).strip().upper(): str(text) for letter, text in choices.items()}
    return dict(zip(LETTERS, map(str, choices), strict=False))


def _chosen(target: str, options: dict[str, str]) -> str:
    """Returns the letter of a target given as letter, as text, or as index."""
    if target.strip("()").upper() in options:
        return target.strip("()").upper()
    for letter, text in options.items():
        if text.strip() == target:
            return letter
    if target.isdigit() and int(target) < len(options):
        return list(options)[int(target)]
    raise ValueError(f"gold answer {target!r} is none of the choices")
