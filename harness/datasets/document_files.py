"""Reading documents from a folder of text, Markdown, HTML, PDF, tables, code, chats or JSON lines.

Files are untrusted: one that cannot be read costs one line in the report and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from longspan.harness.datasets.document_formats import (
    READERS,
    Item,
    ReadingOptions,
    Source,
    format_suffix,
)
from longspan.harness.datasets.documents import Document, Reading
from longspan.harness.datasets.input_files import UnreadableError, find_files, printable
from longspan.harness.datasets.isolated import PageReader
from longspan.harness.errors import DataError, one_line
from longspan.harness.files import Problem, file_hash


def read_documents(path: Path, options: ReadingOptions | None = None) -> Reading:
    """Returns the documents of a file or folder.

    A folder is read with its subfolders in the order of names. Empty documents, repeated ones and
    files that cannot be read are left out and reported.

    Raises:
        DataError: the path is missing, or there is no document.
    """
    documents: dict[str, Document] = {}
    problems: list[Problem] = []
    for item in stream_documents(path, options):
        if isinstance(item, Problem):
            problems.append(item)
        elif item[1].id in documents:
            problems.append(Problem(item[0], "repeats an earlier document"))
        else:
            documents[item[1].id] = item[1]
    if not documents:
        first = f" (first problem: {problems[0]})" if problems else ""
        raise DataError(f"no documents in {path}{first}; add files with text: {', '.join(READERS)}")
    return Reading(tuple(documents.values()), tuple(problems))


def stream_documents(path: Path, options: ReadingOptions | None = None) -> Iterator[Item]:
    """Yields the documents of a file or folder one by one, and what was left out.

    Raises:
        DataError: the path is missing.
    """
    options = options or ReadingOptions()
    files, problems = find_files(path)
    yield from problems
    is_package = any(file.parts == ("__init__.py",) for file in files) and path.is_dir()
    package = printable(path.resolve().name) if is_package else ""
    with PageReader(options.timeout_seconds, options.max_pages) as pages:
        for file in files:
            read = READERS.get(format_suffix(file.name))
            if read is None:
                yield Problem(file.place, "not a kind of file that is read")
                continue
            try:
                yield from read(Source(file, options, pages, package))
            except UnreadableError as error:
                yield Problem(file.place, one_line(str(error), 200))


def input_fingerprint(path: Path) -> str:
    """Returns a digest of the names and contents of the files that reading would open.

    Raises:
        DataError: the path is missing.
    """
    facts: list[tuple[str, str]] = []
    for file in find_files(path)[0]:
        try:
            # A named pipe or device never ends; reading refuses it, too.
            is_read = file.path.is_file()
            facts.append((file.place, file_hash(file.path) if is_read else "unreadable"))
        except DataError:
            facts.append((file.place, "unreadable"))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
