"""Rows of a data file in any of the formats that data sets come in.

JSON lines, JSON (an array of objects, or an object of equally long lists), Parquet, CSV and TSV,
all but Parquet also gzipped, and any of them as a member of a zip archive. What is no row is
counted with its number and reason; a file that is damaged is an error, never a shorter file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from longspan.harness.errors import DataError, one_line
from longspan.harness.files import Problem, file_hash

Numbered = tuple[int, dict[str, Any]]
Found = tuple[list[Numbered], list[Problem]]

_BLOCK = 1 << 20
_NUL_CHECK = 1 << 16
_DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


def read_rows(path: Path, member: str | None = None) -> Found:
    """Returns the numbered rows of a data file (from 1), and what is none.

    In JSON lines the number is that of the line, elsewhere that of the record.

    Args:
        path: The file; its suffix names the format.
        member: Which file of a zip archive; None: its only one.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, of an unknown format, or without rows.
    """
    if path.suffix == ".zip":
        member = _member(path, member)
    name = path.name if path.suffix != ".zip" else f"{path.name}/{member}"
    read = _READERS.get(_format(name))
    if read is None:
        known = ", ".join(dict.fromkeys(f".{suffix}" for suffix in _READERS))
        raise DataError(f"unknown kind of data file: {path}; give one of {known}, or a .zip of it")
    with _opened(path, member) as file:
        return _whole(path, *read(file, name))


def read_json_lines(path: Path) -> Found:
    """Returns the numbered rows of a JSON lines file (from 1), and the lines that are none.

    The file's name may end in anything; `.gz` is decompressed.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, or without rows.
    """
    with _opened(path, None) as file:
        return _whole(path, *_json_lines(file, path.name))


def rows_hash(path: Path, member: str | None = None) -> str:
    """Returns the SHA-256 of the bytes that `read_rows` reads (hexadecimal).

    A member of an archive has the hash of the file that it holds.

    Raises:
        DataError: the file is missing or damaged.
    """
    if path.suffix != ".zip":
        return file_hash(path)
    digest = hashlib.sha256()
    with _opened(path, _member(path, member)) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _whole(path: Path, rows: list[Numbered], problems: list[Problem]) -> Found:
    if not rows:
        first = f" ({problems[0]})" if problems else ""
        raise DataError(f"no rows in {path}{first}; expected records with named fields")
    return rows, problems


def _format(name: str) -> str:
    return PurePosixPath(name.removesuffix(".gz")).suffix.lower().removeprefix(".")


def _member(path: Path, member: str | None) -> str:
    """Returns the name of the member to read, as the archive spells it."""
    with _saying_what_is_wrong(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if _format(name) in _READERS]
    if member is None and len(names) == 1:
        return names[0]
    if member is not None:
        # Archives differ in the folder that they wrap around their files.
        fitting = [name for name in names if f"/{name}".endswith(f"/{member}")]
        if len(fitting) == 1 or member in fitting:
            return member if member in fitting else fitting[0]
    wrong = "does not say which of its files is meant" if member is None else f"lacks {member}"
    held = one_line(", ".join(names[:8]) or "no data file", 200)
    raise DataError(f"{path} {wrong}; it holds {held}; give one of them unpacked")


@contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Opens a file or member for reading, decompressed; damage is said in one line."""
    with _saying_what_is_wrong(path):
        if path.suffix == ".zip" and member is not None:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                if member.endswith(".gz"):
                    with gzip.open(file) as unpacked:
                        yield cast(IO[bytes], unpacked)
                else:
                    yield file
        elif path.suffix == ".gz":
            with gzip.open(path) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            with path.open("rb") as plain:
                yield plain


@contextmanager
def _saying_what_is_wrong(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        kind = "zip" if path.suffix == ".zip" else "gzip"
        raise DataError(
            f"damaged {kind} file: {path} ({error}); fetch or write it again"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 text: {path} ({error.reason} at byte {error.start} of "
            f"{one_line(repr(error.object[max(0, error.start - 10) : error.start + 10]), 60)}); "
            "convert it, for example with iconv"
        ) from error
    except RuntimeError as error:  # zipfile: an encrypted member
        raise DataError(f"cannot read {path}: {error}; give it unpacked") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"cannot read {path}: {reason}; check the path and its permissions"
        ) from error


def _json_lines(file: IO[bytes], name: str) -> Found:
    rows: list[Numbered] = []
    problems: list[Problem] = []
    for number, line in enumerate(file, start=1):
        _refuse_binary(line if number == 1 else b"", name)
        # Line by line: such files may have gigabytes, and decoding one whole takes as much again.
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(f"{name} row {number}", f"not JSON ({error})"))
            continue
        _sort(row, number, name, rows, problems)
    return rows, problems


def _json(file: IO[bytes], name: str) -> Found:
    data = file.read()
    _refuse_binary(data, name)
    text = data.decode("utf-8-sig")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if str(error).startswith("Extra data"):
            return _json_lines(io.BytesIO(data), name)
        raise DataError(
            f"not JSON: {name} ({one_line(str(error), 200)}); fetch or write it again"
        ) from error
    if isinstance(content, dict) and content and all(isinstance(v, list) for v in content.values()):
        content = _from_columns(content, name)
    if not isinstance(content, list):
        raise DataError(
            f"{name} holds {_kind(content)}; expected an array of objects or an object of lists"
        )
    rows: list[Numbered] = []
    problems: list[Problem] = []
    for number, row in enumerate(content, start=1):
        _sort(row, number, name, rows, problems)
    return rows, problems


def _from_columns(columns: dict[str, list[Any]], name: str) -> list[dict[str, Any]]:
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{name} has columns of different lengths: {one_line(str(lengths), 200)}")
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _parquet(file: IO[bytes], name: str) -> Found:
    # Heavy, and most tasks have no such file.
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        # A member of an archive cannot be read from its end, where Parquet keeps its schema.
        source = file if isinstance(file, io.BufferedReader) else io.BytesIO(file.read())
        rows = pq.read_table(source).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"damaged Parquet file: {name} ({one_line(str(error), 200)}); fetch or write it again"
        ) from error
    return list(enumerate(rows, start=1)), []


def _separated(separator: str) -> Callable[[IO[bytes], str], Found]:
    def read(file: IO[bytes], name: str) -> Found:
        data = file.read()
        _refuse_binary(data, name)
        before = csv.field_size_limit(sys.maxsize)  # documents exceed the default of 128 KiB
        try:
            return _table(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""),
                                     delimiter=separator, strict=True), name)  # fmt: skip
        except csv.Error as error:
            raise DataError(f"{name} is no table: {error}; mend or write it again") from error
        finally:
            csv.field_size_limit(before)

    return read


def _table(lines: Iterator[list[str]], name: str) -> Found:
    header = next(lines, [])
    if len(set(header)) < len(header):
        raise DataError(f"{name} has columns of the same name: {one_line(str(header), 200)}")
    rows: list[Numbered] = []
    problems: list[Problem] = []
    for number, values in enumerate((line for line in lines if line), start=1):
        if len(values) != len(header):
            reason = f"has {len(values)} columns, expected {len(header)}"
            problems.append(Problem(f"{name} row {number}", reason))
        else:
            rows.append((number, dict(zip(header, values, strict=True))))
    return rows, problems


def _sort(row: Any, number: int, name: str, rows: list[Numbered], problems: list[Problem]) -> None:
    if isinstance(row, dict):
        rows.append((number, row))
    else:
        problems.append(Problem(f"{name} row {number}", f"not a JSON object but {_kind(row)}"))


def _kind(value: Any) -> str:
    return type(value).__name__


def _refuse_binary(data: bytes, name: str) -> None:
    if b"\0" in data[:_NUL_CHECK]:
        raise DataError(f"not a text file: {name} holds binary data; give a UTF-8 text file")


_READERS: dict[str, Callable[[IO[bytes], str], Found]] = {
    "jsonl": _json_lines,
    "ndjson": _json_lines,
    "json": _json,
    "parquet": _parquet,
    "csv": _separated(","),
    "tsv": _separated("\t"),
}
"""Suffix, without ".gz" -> what reads the format."""
