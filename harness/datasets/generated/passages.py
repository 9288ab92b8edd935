"""Question answering tasks of RULER (Hsieh et al. 2024): a question's passages among many others.

`qa_1` takes SQuAD 2.0 (Rajpurkar et al. 2018), `qa_2` HotpotQA in the distractor setting (Yang et
al. 2018). What stands nearest to a question comes first: the passages that answer it, then those of
its article or row, then those of all others, in random order, again and again where a context is
longer than the collection. All are shuffled and numbered.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longspan.harness.datasets.documents import Document
from longspan.harness.datasets.drawing import shuffled
from longspan.harness.datasets.generated.fitting import Draft
from longspan.harness.datasets.records import gold_answers, make_document
from longspan.harness.errors import DataError

_HEADING_CHARS = len("Document 100:\n\n\n")
_MAX_MISFITS = 30
"""Passages that are tried for what room is left."""


@dataclass(frozen=True)
class Question:
    """A question and the passages that belong to it."""

    text: str
    answers: tuple[str, ...]
    """Alternatives."""
    supporting: tuple[Document, ...]
    """Passages that answer it."""
    related: tuple[Document, ...]
    """Other passages of its article or row."""


def draft_question(
    question: Question, pool: Sequence[Document], hops: int, rng: random.Random
) -> Draft:
    """Returns a sample of a question among passages of the pool.

    A unit is a character: passages are taken in their order while they fit, and then the next few
    are tried, so that little room is left.
    """
    queue = [*question.supporting, *rng.sample(question.related, len(question.related))]
    near = {document.id for document in queue}
    order = rng.getrandbits(64)
    others = _endless(pool, near, random.Random(rng.getrandbits(64)))

    def build(num_units: int) -> tuple[Document, ...]:
        chosen: list[Document] = []
        num_misfits = 0
        for place in itertools.count():
            if place == len(queue):
                queue.extend(itertools.islice(others, 1))
            if place == len(queue) or num_misfits == _MAX_MISFITS:
                break
            if _num_chars(queue[place]) <= num_units:
                chosen.append(queue[place])
                num_units -= _num_chars(queue[place])
            else:
                num_misfits += 1
        random.Random(order).shuffle(chosen)
        return tuple(
            Document(id=document.id, title=f"Document {number}:", text=document.text)
            for number, document in enumerate(chosen, 1)
        )

    has_others = any(document.id not in near for document in pool)
    return Draft(
        question=question.text,
        targets=question.answers,
        build=build,
        probe_units=2_000,
        min_units=sum(map(_num_chars, question.supporting)),
        max_units=None if has_others else sum(map(_num_chars, queue)),
        hops=hops,
        supporting=tuple(document.id for document in question.supporting),
    )


def read_squad(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Question], list[Document]]:
    """Returns the answerable questions in the order of the rows, and all passages.

    A row is the whole file (`data`), an article of it (`paragraphs`), or one question as the hub
    has it (`context`, `question`, `answers`).

    Raises:
        DataError: a row is none of these.
    """
    passages: dict[str, dict[str, Document]] = {}
    found: list[tuple[str, Document, Mapping[str, Any]]] = []

    def read(row: Mapping[str, Any]) -> None:
        for title, context, questions in _paragraphs(row):
            document = make_document("", context)
            passages.setdefault(title, {})[document.id] = document
            found.extend((title, document, question) for question in questions)

    _read_all(rows, read, "SQuAD 2.0 (dev-v2.0.json)")
    questions = [
        Question(
            text=str(question["question"]).strip(),
            answers=answers,
            supporting=(document,),
            related=tuple(d for d in passages[title].values() if d.id != document.id),
        )
        for title, document, question in found
        if (answers := _squad_answers(question))
    ]
    pool = {name: document for article in passages.values() for name, document in article.items()}
    return questions, list(pool.values())


def read_hotpotqa(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Question], list[Document]]:
    """Returns the questions in the order of the rows, and all passages.

    Raises:
        DataError: a row has not the format of the distractor setting.
    """
    pool: dict[str, Document] = {}
    questions: list[Question] = []

    def read(row: Mapping[str, Any]) -> None:
        documents = {
            title: make_document("", f"{title}\n{''.join(sentences)}")
            for title, sentences in row["context"]
        }
        titles = {title for title, _ in row["supporting_facts"]}
        questions.append(
            Question(
                text=str(row["question"]).strip(),
                answers=gold_answers([row["answer"]]),
                supporting=tuple(d for title, d in documents.items() if title in titles),
                related=tuple(d for title, d in documents.items() if title not in titles),
            )
        )
        pool.update((document.id, document) for document in documents.values())

    _read_all(rows, read, "HotpotQA (hotpot_dev_distractor_v1.json)")
    return questions, list(pool.values())


def _read_all(
    rows: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], None], source: str
) -> None:
    for number, row in enumerate(rows, 1):
        try:
            read(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"row {number} is not one of {source}: {type(error).__name__} {error}; "
                "give the rows as they are distributed"
            ) from error


def _paragraphs(row: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """Yields title, passage and questions of each paragraph of a row."""
    if "context" in row and "question" in row:
        yield str(row.get("title", "")), str(row["context"]), [row]
        return
    for article in row.get("data", [row]):
        for paragraph in article["paragraphs"]:
            yield str(article.get("title", "")), str(paragraph["context"]), paragraph["qas"]


def _squad_answers(question: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the answers to a question without repetitions; none where it has no answer."""
    given = question["answers"]
    texts = given["text"] if isinstance(given, Mapping) else [answer["text"] for answer in given]
    if question.get("is_impossible") or not texts:
        return ()
    return gold_answers(texts)


def _num_chars(document: Document) -> int:
    return len(document.text) + _HEADING_CHARS


def _endless(
    pool: Sequence[Document], left_out: set[str], rng: random.Random
) -> Iterator[Document]:
    """Yields the pool in random orders without end, drawing only as far as it is read."""
    while any(document.id not in left_out for document in pool):
        yield from (one for one in shuffled(pool, rng) if one.id not in left_out)
