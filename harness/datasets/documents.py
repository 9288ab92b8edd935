"""Documents, their triples, and the context that a sample shows to a model.

A context is stored by reference (a task set and document ids) and rendered when it is needed.
Document ids are labels: they are looked up in a table and never used as paths.
"""

from __future__ import annotations

import functools
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from longspan.harness.datasets.parquet import write_table
from longspan.harness.errors import DataError
from longspan.harness.files import Problem

DOCUMENT_SEPARATOR = "\n\n"
DOCUMENTS_FILE = "documents.parquet"
_ID_CHARS = 16
_BATCH_ROWS = 64

DocumentFormat = Literal["text", "csv", "tsv", "python", "python_package", "dialogue"]
"""What a text is: prose (also of HTML and PDF), a table, source code (of a module, or of the
`__init__` of a package, whose relative imports mean something else), or turns of speakers."""


class Triple(BaseModel):
    """One statement about a document's world: subject, relation, object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    """Who or what the statement is about."""
    relation: str
    """What is stated of the subject."""
    object: str
    """The other side of the relation."""


class Document(BaseModel):
    """A text with a title; evidence spans are character offsets into `text`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Label, unique in a task set; never used as a path."""
    title: str = ""
    """Shown as the first line of the document where it is not empty."""
    text: str
    """The text itself."""
    triples: tuple[Triple, ...] = ()
    """Statements extracted from the text, where there are any."""
    format: DocumentFormat = "text"
    """How the text is to be read."""


@dataclass(frozen=True)
class Reading:
    """The documents that were read, and what was left out."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


class ContextText:
    """The text of documents in a context, joined only where it is read.

    Slices and length are those of `render_context`; joined as a whole a text of millions of tokens
    would take up to four bytes a character beside the documents themselves.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = tuple(documents)
        self._starts = [start for start, _ in context_offsets(self.documents)]
        last = self.documents[-1] if self.documents else None
        self._length = self._starts[-1] + len(render_document(last)) if last else 0

    def __len__(self) -> int:
        return self._length

    def __str__(self) -> str:
        return render_context(self.documents)

    def __getitem__(self, place: slice) -> str:
        """Returns the characters of a slice without a step."""
        start, end, _ = place.indices(self._length)
        first = max(0, bisect_right(self._starts, start) - 1)
        parts: list[str] = []
        for index in range(first, len(self.documents)):
            offset = self._starts[index]
            if offset >= end:
                break
            document, low, high = self.documents[index], max(0, start - offset), end - offset
            title = f"{document.title}\n" if document.title else ""
            parts.append(title[low:high])
            body = max(0, low - len(title)), high - len(title)
            parts.append(document.text[body[0] : max(0, body[1])])
            size = len(title) + len(document.text)
            if index + 1 < len(self.documents):
                parts.append(DOCUMENT_SEPARATOR[max(0, low - size) : max(0, high - size)])
        return "".join(parts)


def render_document(document: Document) -> str:
    """Returns the document as it stands in a context: title line and text."""
    return f"{document.title}\n{document.text}" if document.title else document.text


def render_context(documents: Iterable[Document]) -> str:
    """Returns the documents joined by a blank line."""
    return DOCUMENT_SEPARATOR.join(map(render_document, documents))


def text_offset(document: Document) -> int:
    """Returns where `text` begins within the rendered document (characters)."""
    return len(document.title) + 1 if document.title else 0


def context_offsets(documents: Iterable[Document]) -> list[tuple[int, int]]:
    """Returns each document's [start, end) in the rendered context, title included (characters).

    A span (s, e) of document i lies at `offsets[i][0] + text_offset(documents[i])` + (s, e).
    """
    offsets: list[tuple[int, int]] = []
    start = 0
    for document in documents:
        end = start + text_offset(document) + len(document.text)
        offsets.append((start, end))
        start = end + len(DOCUMENT_SEPARATOR)
    return offsets


def document_id(title: str, text: str) -> str:
    """Returns the id of a document without one: a hash of its title and text."""
    content = f"{title}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=_ID_CHARS // 2).hexdigest()


def resolve_context(metadata: Mapping[str, Any]) -> str:
    """Returns the context of a sample from its metadata, by value or by reference.

    Raises:
        DataError: the sample has no context, or refers to documents that are not there.
    """
    context = metadata.get("context")
    if isinstance(context, Mapping) and isinstance(context.get("text"), str):
        return str(context["text"])
    return render_context(resolve_documents(metadata))


def resolve_documents(metadata: Mapping[str, Any]) -> list[Document]:
    """Returns the documents that a sample's context refers to, in the context's order.

    A context given by value is one document without a title.

    Raises:
        DataError: the sample has no context, or refers to documents that are not there.
    """
    context = metadata.get("context")
    if not isinstance(context, Mapping) or not ({"text", "messages", "taskset"} & context.keys()):
        raise DataError(
            'sample has no context: its metadata needs "context" with "text", '
            'or with "taskset" and "documents"'
        )
    if "messages" in context:
        return _parts_of_chat(context["messages"], metadata.get("messages"))
    if "text" in context:
        text = str(context["text"])
        return [Document(id=document_id("", text), text=text)]
    folder = Path(str(context["taskset"]))
    table = load_documents(folder)
    wanted = [str(name) for name in context.get("documents", ())]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise DataError(f"task set {folder} has no document {missing[0]!r}; build it again")
    return [table[name] for name in wanted]


def chat_context(
    documents: Sequence[Document], messages: Sequence[Mapping[str, str]]
) -> dict[str, Any] | None:
    """Returns a context that refers to parts of the sample's own chat, so that no text is twice.

    None where the documents do not stand in the chat in their order.
    """
    parts: list[tuple[str, int, int, int]] = []
    number = start = 0
    for document in documents:
        found = -1
        while number < len(messages):
            found = messages[number]["content"].find(document.text, start)
            if found >= 0:
                break
            number, start = number + 1, 0
        if found < 0:
            return None
        start = found + len(document.text)
        parts.append((document.title, number, found, start))
    ids = " ".join(document.id for document in documents)
    return {"messages": parts, "hash": document_id("", ids)}


def _parts_of_chat(parts: Any, messages: Any) -> list[Document]:
    try:
        pieces = [
            (str(title), str(messages[number]["content"])[start:end])
            for title, number, start, end in parts
        ]
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"the sample's context refers to a chat that is not there ({error!r}); make the task "
            "again"
        ) from error
    return [Document(id=document_id(title, text), title=title, text=text) for title, text in pieces]


def load_documents(folder: Path) -> Mapping[str, Document]:
    """Returns the documents of a task set by id, without triples: no context shows them.

    They are read once per version of the file.

    Raises:
        DataError: there is no task set at the folder, or its documents are damaged.
    """
    path = folder / DOCUMENTS_FILE
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"no task set at {folder}: {path.name} is missing; check the path"
        ) from error
    return _load_documents(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=8)
def _load_documents(path: Path, _mtime_ns: int, _size: int) -> Mapping[str, Document]:
    texts = stored_documents(path.parent, triples=False)
    return {document.id: document for _, document in texts}


def stored_documents(folder: Path, *, triples: bool = True) -> Iterator[tuple[str, Document]]:
    """Yields (group, document) of a task set in stored order, a few dozen in memory at a time.

    Args:
        folder: Folder of the task set.
        triples: Whether the documents come with their triples.

    Raises:
        DataError: the documents are damaged.
    """
    # Heavy, and tasks with a context by value never need it.
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    path = folder / DOCUMENTS_FILE
    pool = pa.default_memory_pool()
    # Arrow's own pool keeps several times the size of the texts when they have been read.
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    yield row.get("group") or "", _document(row, triples)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"damaged documents in {path} ({error}); build the task set again"
        ) from error
    finally:
        pa.set_memory_pool(pool)


def _document(row: Mapping[str, Any], triples: bool) -> Document:
    return Document(
        id=row["id"],
        title=row["title"] or "",
        text=row["text"],
        triples=parse_triples(json.loads(row["triples"] or "[]"))[0] if triples else (),
        format=row.get("format") or "text",
    )


def count_documents(folder: Path) -> int:
    """Returns how many documents a task set holds."""
    import pyarrow.parquet as pq  # heavy

    return int(pq.read_metadata(folder / DOCUMENTS_FILE).num_rows)


def write_documents(folder: Path, documents: Iterable[tuple[str, Document]]) -> None:
    """Writes the documents' table of a task set into its folder, given as (group, document)."""
    import pyarrow as pa  # heavy

    columns = ("id", "title", "text", "triples", "format", "group")
    schema = pa.schema([(name, pa.string()) for name in columns])
    records = ({**_record(document), "group": group} for group, document in documents)
    write_table(folder / DOCUMENTS_FILE, records, schema)


def _record(document: Document) -> dict[str, str]:
    triples = [[t.subject, t.relation, t.object] for t in document.triples]
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "triples": json.dumps(triples, ensure_ascii=False),
        "format": document.format,
    }


def parse_triples(value: Any) -> tuple[tuple[Triple, ...], int]:
    """Returns the well-formed triples and how many were not (extractors' output is dirty)."""
    if not isinstance(value, list):
        return (), 0 if value is None else 1
    triples: list[Triple] = []
    for item in value:
        try:
            triples.append(Triple(**item) if isinstance(item, dict) else _triple(item))
        except (TypeError, ValueError, ValidationError):
            continue
    return tuple(triples), len(value) - len(triples)


def _triple(item: Any) -> Triple:
    subject, relation, object_ = (part.strip() for part in item if isinstance(part, str))
    if len(item) != 3 or not (subject and relation and object_):
        raise ValueError("not three texts")
    return Triple(subject=subject, relation=relation, object=object_)
