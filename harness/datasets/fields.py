"""The reader of any JSON lines: our names mapped to the fields of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longspan.harness.datasets.documents import Document
from longspan.harness.datasets.records import (
    ReadRow,
    Record,
    Row,
    gold_answers,
    make_document,
    text_id,
)
from longspan.harness.errors import SpecError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
        targets = gold_answers(target if isinstance(target, list) else [target])
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


def _descend(row: Row, path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _context(value: Any) -> tuple[Document, ...]:
    items = value if isinstance(value, list) else [value]
    documents = tuple(
        make_document(str(item.get("title") or ""), str(item["text"]))
        if isinstance(item, dict)
        else make_document("", str(item))
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
