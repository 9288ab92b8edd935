"""One Python source file as facts about its definitions; it is parsed and never executed.

Names in the facts are as the file writes them, made absolute through its imports; whether another
file defines them is for `code_graph` to find out. What a file binds twice (in both branches of an
`if`, say) is no definition: nothing can be said of it for sure.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.code.text import SourceText, literal_text

CODE_FORMATS = ("python", "python_package")
MAX_SOURCE_CHARS = 1_000_000
MAX_SPAN_CHARS = 1500
"""A call is quoted with the head of its function where that takes no more."""
MAX_CLASS_CHARS = 4000
"""Longer classes are not counted through: their quote would be most of a file."""

_UNKNOWN = "(unknown)"
"""Object of a fact that is certain to be one, but not which."""

MIN_METHODS = 3
MIN_NAME_CHARS = 3
"""Shorter names of parameters are guessed."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Span = tuple[int, int]
FactKind = Literal["value", "name", "call", "module"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about something that a file defines.

    Attributes:
        subject: Name within the module; "" for the module itself.
        relation: What is said of it.
        object: A value as text, or a dotted name.
        kind: What the object is: a value, the name of something, something that is called (a class
            or a function), or a module.
        start: First character of the passage that says so.
        end: One past its last character.
    """

    subject: str
    relation: str
    object: str
    kind: FactKind
    start: int
    end: int


@dataclass
class Module:
    """What a file defines and says.

    Attributes:
        name: Dotted name.
        document: Document id.
        definitions: Name within the module -> whether it is a class or a function.
        imports: Name bound once, by an import -> the dotted name that it stands for.
        facts: What is said of the definitions.
    """

    name: str
    document: str
    definitions: dict[str, Literal["class", "function"]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)


@lru_cache(maxsize=1 << 13)
def parse_module(document: Document) -> Module | None:
    """Returns what a file says, None where it is too long or not Python of this version."""
    if len(document.text) > MAX_SOURCE_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(document.text)
        return _Reader(document, tree).read()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Reader:
    """Reads one parsed file."""

    def __init__(self, document: Document, tree: ast.Module) -> None:
        self.tree = tree
        self.text = SourceText(document.text)
        self.is_package = document.format == "python_package"
        self.module = Module(document.title, document.id)
        self.bound = Counter(_bindings(tree.body))
        self.changed = {
            name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
        }
        # Names that an import binds, perhaps among others: what they stand for may be in doubt.
        self.imported: set[str] = set()
        self.imports_all = False

    def read(self) -> Module:
        self._read_imports()
        self._read_scope(self.tree.body, "", self.bound)
        for name, value, span in self._constants(self.tree.body, self.bound):
            if name not in self.changed:
                self._add("", f"code_value/{name}", value, "value", span)
        return self.module

    def _add(self, subject: str, relation: str, object_: str, kind: FactKind, span: Span) -> None:
        self.module.facts.append(Fact(subject, relation, object_, kind, *span))

    def _read_imports(self) -> None:
        for node in _statements(self.tree.body):
            self.imports_all |= isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
            for name, dotted, source in self._imported(node):
                self.imported.add(name)
                if self.bound[name] != 1 or name in self.changed:
                    continue
                self.module.imports[name] = dotted
                if source:
                    span = self.text.span(node)
                    self._add("", f"code_imported_from/{name}", source, "module", span)

    def _imported(self, node: ast.AST) -> Iterator[tuple[str, str, str]]:
        """Yields (bound name, dotted name, module of a `from` import without "as")."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                yield (alias.asname, alias.name, "") if alias.asname else (root, root, "")
        elif isinstance(node, ast.ImportFrom):
            source = self._source_of(node)
            for alias in node.names:
                if alias.name != "*":
                    plain = source if alias.asname is None and node.module else ""
                    yield alias.asname or alias.name, f"{source or '?'}.{alias.name}", plain

    def _source_of(self, node: ast.ImportFrom) -> str:
        """Returns the absolute name of the module that is imported from, "" where there is none."""
        if not node.level:
            return node.module or ""
        parts = self.module.name.split(".")
        num_kept = len(parts) - node.level + self.is_package
        if num_kept < 1:
            return ""
        return ".".join([*parts[:num_kept], *([node.module] if node.module else [])])

    def _read_scope(self, body: Sequence[ast.stmt], prefix: str, bound: Counter[str]) -> None:
        for node in _statements(body):
            if not isinstance(node, ast.ClassDef | Function) or bound[node.name] != 1:
                continue
            name = f"{prefix}{node.name}"
            if not prefix and node.name in self.changed:
                continue
            is_class = isinstance(node, ast.ClassDef)
            self.module.definitions[name] = "class" if is_class else "function"
            self._read_decorators(node, name)
            if isinstance(node, ast.ClassDef):
                self._read_class(node, name)
            else:
                self._read_function(node, name, prefix)

    def _read_decorators(self, node: ast.ClassDef | Function, name: str) -> None:
        for decorator in node.decorator_list:
            inner = decorator.func if isinstance(decorator, ast.Call) else decorator
            dotted = self._dotted(inner, {}) or _UNKNOWN
            span = (self.text.span(decorator)[0] - 1, self.text.head(node)[1])  # with its "@"
            self._add(name, "code_decorator", dotted, "call", span)

    def _read_class(self, node: ast.ClassDef, name: str) -> None:
        head = self.text.head(node)
        for base in node.bases:
            dotted = self._dotted(base, {}) or _UNKNOWN
            self._add(name, "code_base", dotted, "name", head)
        bound = Counter(_bindings(node.body))
        for attribute, value, span in self._constants(node.body, bound):
            self._add(name, f"code_attribute/{attribute}", value, "value", (head[0], span[1]) if
                      span[1] - head[0] <= MAX_SPAN_CHARS else span)  # fmt: skip
        methods = [child.name for child in _statements(node.body) if isinstance(child, Function)]
        whole = self.text.span(node)
        if (
            len(methods) >= MIN_METHODS
            and len(set(methods)) == len(methods)
            and whole[1] - whole[0] <= MAX_CLASS_CHARS
        ):
            self._add(name, "code_num_methods", str(len(methods)), "value", (head[0], whole[1]))
        self._read_scope(node.body, f"{name}.", bound)

    def _read_function(self, node: Function, name: str, prefix: str) -> None:
        head = self.text.head(node)
        for parameter, default in _defaults(node.args):
            value = literal_text(default, self.text)
            if value is None:
                continue
            self._add(name, f"code_default/{parameter}", value, "value", head)
            if prefix:
                relation = f"code_method_default/{node.name}/{parameter}"
                self._add(prefix[:-1], relation, value, "value", head)
        if node.returns is not None and "\n" not in (text := self.text.of(node.returns)):
            self._add(name, "code_returns", text.strip("\"'"), "value", head)
        if not prefix and node.args.vararg is None and node.args.kwarg is None:
            names = _parameters(node.args)
            self._add(name, "code_num_parameters", str(len(names)), "value", head)
            if len(names) > 1 and len(names[-1]) >= MIN_NAME_CHARS:
                self._add(name, "code_last_parameter", names[-1], "value", head)
        self._read_body(node, name, head)

    def _read_body(self, node: Function, name: str, head: Span) -> None:
        """Calls and raised exceptions, those of nested functions included."""
        local = self._local_names(node)
        for child in (c for statement in node.body for c in ast.walk(statement)):
            target: ast.expr | None = None
            relation = ""
            if isinstance(child, ast.Call) and self._is_imported(child.func, local):
                target, relation = child.func, "code_calls"
            elif isinstance(child, ast.Raise) and child.exc is not None:
                target = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
                relation = "code_raises"
            if target is None or not isinstance(child, ast.expr | ast.stmt):
                continue
            start, end = self.text.span(child)
            span = (head[0], end) if end - head[0] <= MAX_SPAN_CHARS else (start, end)
            dotted = self._dotted(target, local) or _UNKNOWN
            self._add(name, relation, dotted, "call" if relation == "code_calls" else "name", span)

    def _is_imported(self, node: ast.expr, local: dict[str, str | None]) -> bool:
        """Returns whether an expression is an imported name, or an attribute of one."""
        while isinstance(node, ast.Attribute):
            node = node.value
        if not isinstance(node, ast.Name):
            return False
        if node.id in local:
            return local[node.id] is not None
        if node.id in self.imported:
            return True
        return self.imports_all and not self.bound[node.id] and not hasattr(builtins, node.id)

    def _local_names(self, node: Function) -> dict[str, str | None]:
        """Returns the names that a function binds; an imported one with what it stands for."""
        bound: Counter[str] = Counter(_parameters(node.args, every=True))
        imported: dict[str, str] = {}
        for child in (c for statement in node.body for c in ast.walk(statement)):
            if (name := _bound_by(child)) is not None:
                bound[name] += 1
            for name, dotted, _ in self._imported(child):
                bound[name] += 1
                imported[name] = dotted
        doubtful = {name: _UNKNOWN for name in imported if bound[name] > 1}
        return {**dict.fromkeys(bound), **imported, **doubtful}

    def _dotted(self, node: ast.expr, local: dict[str, str | None]) -> str | None:
        """Returns the absolute dotted name that an expression is, None where it is none."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root: str | None = node.id
        if node.id in local:
            root = local[node.id]
        elif node.id in self.module.imports:
            root = self.module.imports[node.id]
        elif node.id in self.imported:
            root = _UNKNOWN
        elif self.bound[node.id]:
            root = f"{self.module.name}.{node.id}"
        return None if root is None else ".".join([root, *reversed(parts)])

    def _constants(
        self, body: Sequence[ast.stmt], bound: Counter[str]
    ) -> Iterator[tuple[str, str, Span]]:
        """Yields the names that are bound once, to a literal, with the literal as text."""
        for node in body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target, value = node.targets[0], node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                target, value = node.target, node.value
            else:
                continue
            text = literal_text(value, self.text)
            if isinstance(target, ast.Name) and bound[target.id] == 1 and text is not None:
                yield target.id, text, self.text.span(node)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields the statements of a scope, those in branches and loops included."""
    for node in body:
        yield node
        if isinstance(node, ast.ClassDef | Function):
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, name, ()))
        for handler in getattr(node, "handlers", ()):
            yield from _statements(handler.body)
        for case in getattr(node, "cases", ()):
            yield from _statements(case.body)


def _bindings(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Yields the names that a scope binds, as often as it binds them."""
    roots: set[str] = set()
    for node in _statements(body):
        if isinstance(node, ast.ClassDef | Function):
            yield node.name
        elif isinstance(node, ast.Import):
            # `import a.b` and `import a.c` bind the same `a`.
            plain = {alias.name.partition(".")[0] for alias in node.names if not alias.asname}
            yield from sorted(plain - roots)
            roots |= plain
            yield from (alias.asname for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            yield from _stored(node)


def _stored(node: ast.stmt) -> Iterator[str]:
    """Yields the names that a statement itself stores to or deletes."""
    for value in ast.iter_child_nodes(node):
        if isinstance(value, ast.stmt | ast.match_case):
            continue
        if isinstance(value, ast.ExceptHandler):
            if value.name:
                yield value.name
            continue
        for child in ast.walk(value):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store | ast.Del):
                yield child.id


def _bound_by(node: ast.AST) -> str | None:
    """Returns the name that a node of a function binds, None for imports and others."""
    if isinstance(node, ast.Name):
        return None if isinstance(node.ctx, ast.Load) else node.id
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.ClassDef | Function | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return node.name
    return None


def _parameters(arguments: ast.arguments, *, every: bool = False) -> list[str]:
    found = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    if every:
        found += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return found


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    first = len(positional) - len(arguments.defaults)
    for argument, default in zip(positional[first:], arguments.defaults, strict=True):
        yield argument.arg, default
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            yield argument.arg, value
