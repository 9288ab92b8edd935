"""Record readers of document benchmarks: LongBench, LongBench-V2, Frames, DocMath, 2WikiMultihopQA.

Each reads the record format of the benchmark's own files. What a field means is the benchmark's;
what a row lacks is said row by row, and a file of the wrong kind in one line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from longspan.harness.datasets.documents import Document, document_id
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

CHOICES = "ABCD"
_SUBSET = re.compile(r"^(simpshort|simplong|compshort|complong)")


class FramesOptions(BaseModel):
    """Which questions of Frames are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_empty: bool = False
    """Whether a question without a single article is asked all the same."""


def longbench(rows: Sequence[Row], options: BaseModel) -> ReadRow:
    """LongBench, question answering (Bai et al. 2024, arXiv 2308.14508).

    The official files name the question `input`, a mirror in use `question`. All answers are gold;
    the released code of QwenLong-L1 looks at the first one only.
    """

    def read(row: Row) -> Record:
        key = "input" if row.get("input") else "question"
        question, context = row_text(row, key), row_text(row, "context")
        return Record(
            id=str(row.get("_id") or text_id(question, context)),
            values={"question": question, "input": question},
            targets=gold_answers(_list(row, "answers")),
            documents=(make_document("", context),),
            extra={"dataset": row.get("dataset"), "length_words": row.get("length")},
        )

    return read


def longbench_v2(rows: Sequence[Row], options: BaseModel) -> ReadRow:
    """LongBench-V2 (Bai et al. 2024, arXiv 2412.15204): four choices, one letter."""

    def read(row: Row) -> Record:
        held = sorted(key[-1] for key in row if re.fullmatch(r"choice_[A-Z]", key) and row[key])
        if held != list(CHOICES):
            raise ValueError(f"has choices {''.join(held) or 'none'}, expected {CHOICES}")
        answer = row_text(row, "answer").upper()
        if answer not in CHOICES or len(answer) > 1:
            raise ValueError(f"gold answer is none of the choices {CHOICES}: {answer!r:.40}")
        facts = ("domain", "sub_domain", "difficulty", "length")
        return Record(
            id=row_text(row, "_id"),
            values={
                "question": row_text(row, "question"),
                "choices": [row_text(row, f"choice_{letter}") for letter in CHOICES],
            },
            targets=(answer,),
            documents=(make_document("", row_text(row, "context")),),
            extra={key: row.get(key) for key in facts},
        )

    return read


def frames(rows: Sequence[Row], options: FramesOptions) -> ReadRow:
    """FRAMES (Krishna et al. 2024, arXiv 2409.12941) with its Wikipedia articles in `wiki_items`.

    Google's own file has links and no articles, so it cannot be read as a long-context task. The
    context is the released code's: title and text of each article, joined by line ends. Questions
    that share an article are one cluster.

    Raises:
        DataError: no row has articles.
    """
    if not any("wiki_items" in row for row in rows):
        raise DataError(
            "the file has no articles (no field 'wiki_items'): google/frames-benchmark ships links "
            "only; use test.jsonl of Tongyi-Zhiwen/frames, which holds the articles' text"
        )

    def read(row: Row) -> Record:
        question = row_text(row, "Prompt")
        targets = gold_answers([row["Answer"]])
        items = [item for item in row["wiki_items"] or () if str(item.get("text") or "").strip()]
        if not items and not options.allow_empty:
            raise ValueError("no articles (empty wiki_items); -T allow_empty=true asks it anyway")
        texts = [(str(item.get("title") or "").strip(), str(item["text"])) for item in items]
        context = "\n".join(f"{title}\n{text}" for title, text in texts)
        kinds = [kind.strip() for kind in str(row.get("reasoning_types") or "").split("|")]
        return Record(
            id=text_id(question, *targets),
            values={"question": question},
            targets=targets,
            documents=(make_document("", context),) if items else (),
            supporting=tuple(document_id(title, text.strip()) for title, text in texts),
            extra={
                "reasoning_types": [kind for kind in kinds if kind],
                "num_articles": len(items),
            },
        )

    return read


def docmath(rows: Sequence[Row], options: BaseModel) -> ReadRow:
    """DocMath-Eval (Zhao et al. 2024, arXiv 2311.09805), the four test-mini subsets.

    The gold answer is written as Python writes it, so that a scorer reads the same number.
    """

    def read(row: Row) -> Record:
        name, gold = row_text(row, "question_id"), row.get("ground_truth")
        if gold is None or gold == "" or (isinstance(gold, float) and math.isnan(gold)):
            raise ValueError("no gold answer (the test splits come without; use test-mini)")
        subset = _SUBSET.match(name)
        paragraphs = _list(row, "paragraphs")
        if not all(isinstance(part, str) for part in paragraphs):
            raise ValueError("field 'paragraphs' holds what is no text")
        return Record(
            id=name,
            values={"question": row_text(row, "question")},
            targets=(_written(gold),),
            documents=(make_document("", "\n".join(paragraphs)),),
            kind=subset[1] if subset else None,
            extra={
                "subset": subset[1] if subset else None,
                "source": row.get("source"),
                "answer_type": type(gold).__name__,
            },
        )

    return read


def twowiki(rows: Sequence[Row], options: BaseModel) -> ReadRow:
    """2WikiMultihopQA (Ho et al. 2020, arXiv 2011.01060): ten paragraphs, two to four hops."""

    def read(row: Row) -> Record:
        documents = titled_paragraphs(row, lambda sentences: " ".join(map(str.strip, sentences)))
        titles = {title for title, _ in row.get("supporting_facts") or ()}
        return Record(
            id=row_text(row, "_id"),
            values={"question": row_text(row, "question")},
            targets=gold_answers([row["answer"]]),
            documents=tuple(documents.values()),
            supporting=tuple(d.id for title, d in documents.items() if title in titles),
            hops=len(row.get("evidences") or ()) or None,
            kind=row.get("type"),
        )

    return read


def titled_paragraphs(row: Row, join: Callable[[list[str]], str]) -> dict[str, Document]:
    """Returns title -> paragraph of `context`, pairs of a title and sentences (HotpotQA's form)."""
    documents = {}
    for title, sentences in _list(row, "context"):
        if not isinstance(title, str):
            raise ValueError(f"a title in 'context' is no text: {title!r:.40}")
        documents[title] = make_document(title, join(sentences))
    return documents


def _list(row: Row, key: str) -> list[Any]:
    value = row[key]
    if not isinstance(value, list) or not value:
        raise ValueError(f"field {key!r} holds no list")
    return value


def _written(gold: Any) -> str:
    """Returns the gold answer as text, without losing its value."""
    if isinstance(gold, str):
        return gold.strip()
    return json.dumps(gold) if isinstance(gold, list) else repr(gold)
