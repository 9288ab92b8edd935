"""Record readers whose contexts are made: the gold passage or pair among others of the same file.

Any length can be asked for. What a question draws depends on the seed, the question and the file,
not on the order of rows.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.datasets.documents import (
    DOCUMENT_SEPARATOR,
    Document,
    render_context,
    render_document,
)
from longspan.harness.datasets.drawing import shuffled
from longspan.harness.datasets.records import (
    ReadRow,
    Record,
    Row,
    gold_answers,
    make_document,
    row_text,
    text_id,
)
from longspan.harness.errors import DataError
from longspan.harness.scoring.normal import normalise
from longspan.harness.tokens import EstimatedTokens, active_counter


class DistractorOptions(BaseModel):
    """How many passages a question is hidden among."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_documents: int = Field(20, ge=1)
    """Passages in the context, the gold one included."""
    gold_position: int | None = Field(None, ge=0)
    """Where the gold passage stands, from 0; None: drawn."""
    seed: int = 0
    """Seed of the draw."""
    target_tokens: int | None = Field(None, ge=1)
    """As many passages as fit into so many tokens, in place of `num_documents`."""
    tokenizer: str | None = None
    """Tokenizer that counts them; None: estimated at four characters a token."""


class PairOptions(BaseModel):
    """How many key-value pairs a key is looked up among."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_pairs: int | None = Field(None, ge=1)
    """Pairs in the context, the asked one included; None: all of the row."""
    seed: int = 0
    """Seed of the draw."""


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
    counter = active_counter(options.tokenizer) if options.target_tokens else EstimatedTokens()
    tokens = _Tokens(counter.count, functools.cache(counter.count))

    def read(row: Row) -> Record:
        question, gold = row_text(row, "question"), _gold_passage(row)
        if gold is None:
            raise ValueError("no gold passage")
        targets = gold_answers(row["answers"])
        answers = [f" {normalise(target)} " for target in targets]
        rng = random.Random(f"{options.seed}/{question}")
        distractors = (
            document
            for document in shuffled(pool, rng)
            if document.title != gold.title
            and not any(answer in texts[document.id] for answer in answers)
        )
        filled: dict[str, Any] = {}
        if options.target_tokens is None:
            documents = _hide(gold, _some(distractors, options), options, rng)
        else:
            documents = _fill(gold, distractors, options, rng, tokens)
            filled = {"target_tokens": options.target_tokens, "tokenizer": counter.name}
        return Record(
            id=text_id(question, *targets),
            values={"question": question if question.endswith("?") else f"{question}?"},
            targets=targets,
            documents=tuple(documents),
            supporting=(gold.id,),
            hops=1,
            extra=filled | {"num_documents": len(documents)},
        )

    return read


def kv_retrieval(rows: Sequence[Row], options: PairOptions) -> ReadRow:
    """Key-value retrieval of Liu et al. 2023: one key of a JSON object is looked up."""

    def read(row: Row) -> Record:
        key, value = row_text(row, "key"), row_text(row, "value")
        pairs = [(str(name), str(held)) for name, held in row["ordered_kv_records"]]
        if (key, value) not in pairs:
            raise ValueError("the key asked for is not among the records")
        others = [pair for pair in pairs if pair[0] != key]
        if options.num_pairs is not None:
            if options.num_pairs > len(pairs):
                raise ValueError(f"fewer pairs than num_pairs={options.num_pairs}: {len(pairs)}")
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


def _gold_passage(row: Row) -> Document | None:
    passages = row.get("ctxs")
    for passage in passages if isinstance(passages, list) else ():
        if isinstance(passage, dict) and passage.get("isgold") and passage.get("text"):
            return make_document(str(passage.get("title") or ""), str(passage["text"]))
    return None


def _some(distractors: Iterator[Document], options: DistractorOptions) -> list[Document]:
    """Returns as many distractors as `num_documents` asks for."""
    found = list(itertools.islice(distractors, options.num_documents - 1))
    if len(found) < options.num_documents - 1:
        raise DataError(
            f"num_documents is too large: got {options.num_documents}, the file has passages for "
            f"{len(found) + 1}; lower it"
        )
    return found


@dataclass(frozen=True)
class _Tokens:
    """How texts are counted."""

    of_context: Callable[[str], int]
    of_passage: Callable[[str], int]
    """Remembers: a passage is a distractor of many questions."""


def _fill(
    gold: Document,
    distractors: Iterator[Document],
    options: DistractorOptions,
    rng: random.Random,
    tokens: _Tokens,
) -> list[Document]:
    """Returns the passages of a context just below `target_tokens`."""
    target = options.target_tokens or 0
    kept: list[Document] = []
    size = tokens.of_passage(render_document(gold))
    if size > target:
        raise ValueError(f"the gold passage exceeds target_tokens={target}: {size} tokens")
    for document in distractors:
        size += tokens.of_passage(f"{DOCUMENT_SEPARATOR}{render_document(document)}")
        if size > target:
            break
        kept.append(document)
    else:
        raise DataError(
            f"target_tokens is too large: got {target}, the file has passages for {size} tokens; "
            "lower it"
        )
    documents = _hide(gold, kept, options, rng)
    # Joined texts may have more tokens than their parts.
    while tokens.of_context(render_context(documents)) > target and len(documents) > 1:
        documents.pop(-2 if documents[-1] is gold else -1)
    return documents


def _hide(
    gold: Document, distractors: list[Document], options: DistractorOptions, rng: random.Random
) -> list[Document]:
    """Returns the distractors with the gold passage at its place."""
    num_documents = len(distractors) + 1
    position = rng.randrange(num_documents)
    if options.gold_position is not None:
        if options.gold_position >= num_documents:
            raise DataError(
                f"gold_position must be below num_documents: got {options.gold_position} >= "
                f"{num_documents}; lower it"
            )
        position = options.gold_position
    return [*distractors[:position], gold, *distractors[position:]]
