"""Reading files that users bring: whole or not at all, and in one line what was wrong.

Rows that cannot be used are counted with their number and reason, never dropped silently.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from longspan.harness.errors import DataError, one_line

JSON_LINES_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
_HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was left out: where it stands (file, file and row) and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def by_reason(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Returns the problems of each reason, the most frequent one first.

    What follows the first colon of a reason is a value ("repeats id: 'a'"), and tells no reasons
    apart.
    """
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.reason.partition(": ")[0], []).append(problem)
    return sorted(found.values(), key=len, reverse=True)


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file, `.gz` decompressed, with line ends made equal.

    Raises:
        DataError: the file is missing, not readable, not text, or its compression is damaged.
    """
    data = _read_bytes(path)
    if b"\0" in data[:65536]:
        raise DataError(f"not a text file: {path} holds binary data; give a UTF-8 text file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 text: {path} (byte {error.start}); give a text file, or convert it, for "
            "example with iconv"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Returns the keys and values of a YAML file.

    Args:
        path: The file.
        what: What it should be, for messages: "recipe".

    Raises:
        DataError: the file cannot be read (see `read_text`) or is no mapping.
    """
    return parse_mapping(read_text(path), f"{what} {path}")


def parse_mapping(text: str, name: str) -> dict[str, Any]:
    """Returns the keys and values of a YAML text.

    Raises:
        DataError: it is empty, not YAML, or holds something else; the message begins with `name`.
    """
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 (a safe loader)
    except _RepeatedKeyError as error:
        raise DataError(f"{name}: {error}") from error
    # ValueError: a date such as 2026-13-01.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = one_line(str(error), 200)
        raise DataError(f"{name} is not YAML: {reason}; mend the line it names") from error
    if content is None:
        raise DataError(f"{name} is empty; write keys and values (YAML) into it")
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DataError(f"{name} must be a mapping: got {kind}; write keys and values at its top")
    return content


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a place to write to, which becomes the file; after a failure nothing is left.

    Raises:
        DataError: the path is a folder.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it, for example {path / 'rows.jsonl'}")
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes (hexadecimal).

    Raises:
        DataError: the file is missing or not readable.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest()


class _RepeatedKeyError(ValueError):
    """A key of a mapping stands twice."""


# Ten times as fast as the one in Python, where PyYAML was built with it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """YAML in which a key stands once, and nothing holds itself."""

    def construct_object(self, node: yaml.Node, deep: bool = True) -> Any:
        # Deep, since what is filled in later may hold itself.
        return super().construct_object(node, deep=True)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = True) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise _RepeatedKeyError(
                        f"key {key.value!r} stands twice, in lines {lines[key.value]} and {line}; "
                        "remove one of them"
                    )
                lines[key.value] = line
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=True)
        return mapping


def _read_bytes(path: Path) -> bytes:
    if path.is_char_device() or path.is_block_device():  # may never end
        raise DataError(f"cannot read {path}: it is a device; give a file")
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"damaged gzip file: {path} ({error}); fetch or write it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or type(error).__name__
    return DataError(f"cannot read {path}: {reason}; check the path and its permissions")
