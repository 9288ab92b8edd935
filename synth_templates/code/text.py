"""Places in a source file: from the lines and UTF-8 columns of the parser to characters."""

from __future__ import annotations

import ast
import re

MAX_LITERAL_CHARS = 40
_NOT_TELLING = frozenset({"none", "true", "false", "0", "1", "-1"})
"""Values that are right too often when guessed."""
_PLAIN = re.compile(r"[\w ./:@+-]+")

_Located = ast.expr | ast.stmt


class SourceText:
    """A text with the places of its lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        # The parser ends lines at line feeds only.
        self.lines = text.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: _Located) -> tuple[int, int]:
        """Returns the [start, end) of a node in characters."""
        end_line, end_column = node.end_lineno, node.end_col_offset
        if end_line is None or end_column is None:
            raise ValueError("the parser gave no end")
        return self._place(node.lineno, node.col_offset), self._place(end_line, end_column)

    def of(self, node: _Located) -> str:
        """Returns the text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def head(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, int]:
        """Returns the [start, end) from "def" or "class" to before the body."""
        start = self._place(node.lineno, node.col_offset)
        end = self._place(node.body[0].lineno, node.body[0].col_offset)
        decorators = getattr(node.body[0], "decorator_list", [])
        if decorators:
            end = self._place(decorators[0].lineno, decorators[0].col_offset) - 1
        head = self.text[start:end].rstrip()
        # A comment between head and body is no part of either.
        while "\n" in head and head.rpartition("\n")[2].lstrip().startswith("#"):
            head = head.rpartition("\n")[0].rstrip()
        return start, start + len(head)

    def _place(self, line: int, column: int) -> int:
        text = self.lines[line - 1]
        if not text.isascii():
            column = len(text.encode()[:column].decode())
        return self._starts[line - 1] + column


def literal_text(node: ast.expr, source: SourceText) -> str | None:
    """Returns a number as the source writes it, or the content of a short text; None for others.

    Left out are what says nothing (None, True, False) and texts that could pass for another kind of
    value, or that hold other marks than names, paths and formats of codes do.
    """
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.USub):
        return None
    if not isinstance(inner, ast.Constant):
        return None
    value = inner.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = source.of(node)
        return text if len(text) <= MAX_LITERAL_CHARS and text not in _NOT_TELLING else None
    if not isinstance(value, str) or isinstance(node, ast.UnaryOp):
        return None
    if value.strip() != value or len(value) > MAX_LITERAL_CHARS or not _PLAIN.fullmatch(value):
        return None
    if value.casefold() in _NOT_TELLING or not any(map(str.isalpha, value)):
        return None
    return value
