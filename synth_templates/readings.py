"""What is found in a document alone, whatever corpora it stands in: looked for once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from longspan.harness.datasets.documents import Document

T = TypeVar("T")


class Readings:
    """Results of functions of one document, by its id.

    Corpora that share documents share the readings: those of a split are those of the whole.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Any] = {}

    def of(self, document: Document, read: Callable[[Document], T]) -> T:
        """Returns what a function finds in a document."""
        key = (read.__qualname__, document.id)
        if key not in self._found:
            self._found[key] = read(document)
        found: T = self._found[key]
        return found
