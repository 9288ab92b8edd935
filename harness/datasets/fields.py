"""The reader of any records: our names mapped to the fields of a row."""

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
REQUIRED = ("question", "target", "context")


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Checks that a spec says where question, target and context are.

    Raises:
        SpecError: one of them is not mapped.
    """
    missing = [name for name in REQUIRED if name not in mapping]
    if missing:
        raise SpecError(
            f"dataset.fields lacks {', '.join(missing)}; say which field of a row it is"
        )


def fields(rows: Sequence[Row], mapping: Mapping[str, str]) -> ReadRow:
    """Any records, by a mapping from our names to the row's fields (see `check_mapping`).

    `context` is a text, or a list of texts or of {title, text}. With `choices` (a list of 2 to 26
    texts, or a dictionary by letter) the template sees `options`, "Kukton (A), Tastal (B)", and
    the target becomes its letter. Further names are values that the template sees.
    """

    def read(row: Row) -> Record:
        found = {name: _descend(row, path) for name, path in mapping.items()}
        question, target = found["question"], found["target"]
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"field {mapping['question']!r} holds no question")
        targets = gold_answers(target if isinstance(target, list) else [target])
        values = {name: value for name, value in found.items() if name != "context"}
        if "choices" in found:
            options = _options(found["choices"])
            targets = (_chosen(targets, options, _is_index(target, found["choices"])),)
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
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise KeyError(path) from None
    return value


def _context(value: Any) -> tuple[Document, ...]:
    items = value if isinstance(value, list) else [value]
    documents = tuple(_document(item) for item in items if item not in (None, ""))
    if not any(document.text for document in documents):
        raise ValueError("no context")
    return documents


def _document(item: Any) -> Document:
    title, text = ("", item) if not isinstance(item, dict) else (item.get("title"), item["text"])
    if not isinstance(text, str):
        raise ValueError(f"the context holds no text: {type(text).__name__}")
    return make_document(str(title or ""), text)


def _options(choices: Any) -> dict[str, str]:
    """Returns the texts of the options by letter.

    Raises:
        ValueError: they are not 2 to 26 texts, or their letters are none.
    """
    if isinstance(choices, dict):
        # A table has every letter in every row: those that a question does not use are empty.
        given = {str(key).strip("() ").upper(): text for key, text in choices.items()
                 if text is not None}  # fmt: skip
        if not given.keys() <= set(LETTERS):
            wrong = min(given.keys() - set(LETTERS))
            raise ValueError(f"a choice has no letter from A to Z: {wrong!r:.40}")
    elif isinstance(choices, list):
        if len(choices) > len(LETTERS):
            raise ValueError(f"more than {len(LETTERS)} choices: {len(choices)}")
        given = dict(zip(LETTERS, choices, strict=False))
    else:
        kind = type(choices).__name__
        raise ValueError(f"the choices are no list and no dictionary by letter: {kind}")
    if len(given) < 2:
        raise ValueError(f"fewer than 2 choices: {len(given)}")
    for text in given.values():
        if isinstance(text, list | dict) or not str("" if text is None else text).strip():
            raise ValueError(f"a choice holds no text: {text!r:.40}")
    return {letter: str(text) for letter, text in given.items()}


def _is_index(target: Any, choices: Any) -> bool:
    """Returns whether a target is an index by its type: a whole number where choices are texts."""
    texts = choices.values() if isinstance(choices, dict) else choices
    is_whole = isinstance(target, int) and not isinstance(target, bool)
    return is_whole and all(isinstance(text, str) for text in texts if text is not None)


def _chosen(golds: Sequence[str], options: dict[str, str], is_index: bool) -> str:
    """Returns the letter of a target given as letter, as text or as index from 0.

    What could be read in two ways ("A" where option B reads "A", "2" among "1", "2" and "3") says
    nothing, so such a row cannot be used.

    Raises:
        ValueError: it is none of the choices, or several.
    """
    if len(golds) > 1:
        raise ValueError(f"several gold answers where one choice is asked for: {len(golds)}")
    gold = golds[0]
    at_index = list(options)[int(gold) :][:1] if gold.isdecimal() else []
    found = set(at_index)
    if not is_index:
        found |= {gold.strip("(). ").upper()} & options.keys()
        found |= {letter for letter, text in options.items() if text.strip() == gold}
    if not found:
        raise ValueError(f"the gold answer is none of the choices: {gold!r:.80}")
    if len(found) > 1:
        raise ValueError(
            f"the gold answer may be option {' or '.join(sorted(found))}: {gold!r:.80}"
        )
    return found.pop()
