"""Formats of documents: for each kind of file a function that yields what it holds.

A format is told by the end of the file's name; a new one is a function in `READERS`.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from longspan.harness.datasets.dialogue import render_dialogue
from longspan.harness.datasets.documents import (
    Document,
    DocumentFormat,
    document_id,
    parse_triples,
)
from longspan.harness.datasets.input_files import (
    BLOCK_BYTES,
    InputFile,
    UnreadableError,
    opened,
    printable,
    read_bytes,
    size_text,
)
from longspan.harness.datasets.isolated import PageFormat, PageReader
from longspan.harness.files import Problem

_BINARY_CHECK_BYTES = 1 << 16
_PYTHON_SUFFIX = re.compile(r"\.py(?:\.gz)?$", re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class ReadingOptions(BaseModel):
    """What reading documents accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_bytes: int = Field(default=64 << 20, ge=1)
    """Of one file, decompressed; of one line where a file holds a document in each."""
    fallback_encoding: str | None = None
    """How files that are not UTF-8 are decoded. None: they are left out."""
    max_pages: int = Field(default=2000, ge=1)
    """Of one PDF."""
    timeout_seconds: float = Field(default=60, gt=0)
    """For one HTML page or PDF; a backstop, so that a run does not hang."""

    @field_validator("fallback_encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                b"x".decode(value, "replace")
            return value
        except LookupError as error:
            raise ValueError(
                f"unknown encoding {value!r}; for example latin-1 or cp1252"
            ) from error


@dataclass(frozen=True, slots=True)
class Source:
    """A file and how to read it.

    Attributes:
        file: The file.
        options: What is accepted.
        pages: Reads HTML and PDF.
        package: Name of the Python package that the whole folder is, "" where it is none.
    """

    file: InputFile
    options: ReadingOptions
    pages: PageReader
    package: str

    @property
    def title(self) -> str:
        """The file's name as words."""
        return " ".join(printable(self.file.name).split(".")[0].replace("_", " ").split())

    def bytes(self) -> bytes:
        """Returns the content."""
        return read_bytes(self.file, self.options.max_file_bytes)

    def text(self) -> str:
        """Returns the content as text."""
        return decode(self.bytes(), self.options.fallback_encoding)


Item = tuple[str, Document] | Problem
"""A document and where it stands, or what was left out."""


def decode(data: bytes, fallback_encoding: str | None = None) -> str:
    """Returns the text of UTF-8, or of what a byte order mark says, with line ends made equal.

    Raises:
        UnreadableError: it is binary, or of another encoding.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in data[:_BINARY_CHECK_BYTES]:
        raise UnreadableError("not a text file: it holds binary data")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if fallback_encoding is None:
            raise UnreadableError(
                f"not UTF-8 text (byte {error.start}): convert it, or declare a fallback_encoding"
            ) from error
        try:
            text = data.decode(fallback_encoding, "replace")
        except LookupError:  # a codec that does not give text, as "hex"
            raise UnreadableError(f"no text encoding: {fallback_encoding}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def format_suffix(name: str) -> str:
    """Returns the end of a file's name that tells its format, in lower case without ".gz"."""
    stem = name.lower().removesuffix(".gz")
    return f".{stem.rpartition('.')[2]}"


def _document(title: str, text: str, **fields: Any) -> Document:
    title, text = _encodable(" ".join(title.split())), _encodable(text)
    return Document(id=document_id(title, text), title=title, text=text, **fields)


def _encodable(text: str) -> str:
    """Returns the text with halves of surrogate pairs, which no file can hold, as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(source: Source) -> Iterator[Item]:
    text = source.text().strip()
    title = source.title
    first, _, rest = text.partition("\n")
    if first.startswith("# ") and rest.strip():
        title, text = first[2:], rest.strip()
    yield _whole(source, title, text)


def _verbatim(name: DocumentFormat) -> Callable[[Source], Iterator[Item]]:
    def read(source: Source) -> Iterator[Item]:
        yield _whole(source, source.title, source.text().strip("\n"), name)

    return read


def _python(source: Source) -> Iterator[Item]:
    """Source as it stands, decoded as it declares itself; the title is the module's dotted name."""
    data = source.bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except (SyntaxError, UnicodeDecodeError):
        encoding = "utf-8"
    declared = None if encoding.startswith("utf-8") else encoding
    parts = [*source.file.parts[:-1], _PYTHON_SUFFIX.sub("", source.file.name)]
    parts = [printable(part) for part in parts]
    parts = [source.package, *parts] if source.package else parts
    is_package = len(parts) > 1 and parts[-1] == "__init__"
    title = ".".join(parts[:-1] if is_package else parts)
    text = decode(data, declared or source.options.fallback_encoding)
    yield _whole(source, title, text, "python_package" if is_package else "python")


def _whole(source: Source, title: str, text: str, name: DocumentFormat = "text") -> Item:
    if not text.strip():
        return Problem(source.file.place, "no text")
    return source.file.place, _document(title, text, format=name)


def _page(page_format: PageFormat) -> Callable[[Source], Iterator[Item]]:
    def read(source: Source) -> Iterator[Item]:
        title, text = source.pages.read(source.bytes(), page_format)
        yield _whole(source, title.strip() or source.title, text)

    return read


def _json(source: Source) -> Iterator[Item]:
    """A document or dialogue, a list of them, or the list of turns of one dialogue."""
    try:
        content = json.loads(source.text())
    except (ValueError, RecursionError) as error:
        raise UnreadableError(_not_json(error)) from error
    if isinstance(content, list) and render_dialogue(content):
        content = {"messages": content}
    if isinstance(content, dict):
        yield from _row(content, source.file.place, source)
        return
    if not isinstance(content, list):
        raise UnreadableError("neither an object nor a list of objects")
    for number, row in enumerate(content, start=1):
        yield from _row(row, f"{source.file.place} row {number}", source)


def _json_lines(source: Source) -> Iterator[Item]:
    found = False
    with opened(source.file) as lines:
        for number, line in _lines(lines, source.options.max_file_bytes):
            found = True
            place = f"{source.file.place} row {number}"
            try:
                row = json.loads(decode(line, source.options.fallback_encoding))
            except UnreadableError as error:
                yield Problem(place, str(error))
            except (ValueError, RecursionError) as error:
                yield Problem(place, _not_json(error))
            else:
                yield from _row(row, place, source)
    if not found:
        yield Problem(source.file.place, "no text")


def _lines(lines: IO[bytes], max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not blank, with their number.

    Raises:
        UnreadableError: a line is longer than `max_bytes`.
    """
    number, rest = 0, b""
    # In blocks: a file of blank lines would take minutes line by line.
    while block := lines.read(BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\n")
        if max(len(rest), max(map(len, whole), default=0)) > max_bytes:
            raise UnreadableError(f"a row is larger than {size_text(max_bytes)}")
        if b"\0" in block:
            raise UnreadableError("not a text file: it holds binary data")
        yield from ((number + n, line) for n, line in enumerate(whole, start=1) if line.strip())
        number += len(whole)
    if rest.strip():
        yield number + 1, rest


def _row(row: Any, place: str, source: Source) -> Iterator[Item]:
    """One object: `messages`, or `text`; with `title` and `triples` where there are any."""
    if not isinstance(row, dict):
        yield Problem(place, f"not a JSON object but {type(row).__name__}")
        return
    name: DocumentFormat = "text"
    title, text = row.get("title") or "", row.get("text")
    if "messages" in row:
        name, text = "dialogue", render_dialogue(row["messages"])
        title = title or source.title
        if text is None:
            yield Problem(
                place, 'no turns in "messages": each needs "role" or "speaker", "content"'
            )
            return
    if not isinstance(text, str) or not isinstance(title, str) or not text.strip():
        yield Problem(place, 'no text in "text" (and "title" must be text)')
        return
    triples, num_bad = parse_triples(row.get("triples"))
    if num_bad:
        yield Problem(place, f"{num_bad} triples are not three texts; left out")
    yield place, _document(title, text.strip(), triples=triples, format=name)


def _not_json(error: Exception) -> str:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"not JSON: {reason}"


READERS: dict[str, Callable[[Source], Iterator[Item]]] = {
    ".txt": _text,
    ".md": _text,
    ".markdown": _text,
    ".html": _page("html"),
    ".htm": _page("html"),
    ".xhtml": _page("html"),
    ".pdf": _page("pdf"),
    ".csv": _verbatim("csv"),
    ".tsv": _verbatim("tsv"),
    ".py": _python,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
"""End of a file's name, without ".gz" -> what reads the format."""
