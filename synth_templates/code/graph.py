"""The graph of a corpus of Python sources: names resolved to the definitions of other files.

A statement is an edge only where nothing is in doubt: its object is a value, or a name that another
file defines itself, once. Everything else still counts as a claim, so that "the only imported
function that f calls" is the only one, whether the corpus holds the others or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.code.source import CODE_FORMATS, Fact, Module, parse_module
from longspan.synth_templates.readings import Readings

MAX_REPEATS = 5
"""Places in which a value may stand for the same name and still be asked for."""
_MAX_IMPORTS = 8
"""Files through which a name is followed to its definition."""


@dataclass(frozen=True, slots=True)
class CodeStatement:
    """One statement of the code graph.

    Attributes:
        subject: Dotted name of what it is about.
        relation: Relation, with what it is about after slashes ("code_default/indent").
        object: Dotted name or value.
        document: Document id.
        span: [start, end) of the passage; None where it is only a claim.
    """

    subject: str
    relation: str
    object: str
    document: str
    span: tuple[int, int] | None


def code_statements(
    documents: Sequence[Document], readings: Readings | None = None
) -> list[CodeStatement]:
    """Returns the statements of all Python sources among the documents."""
    readings = readings or Readings()
    parsed = [readings.of(d, parse_module) for d in documents if d.format in CODE_FORMATS]
    modules = [module for module in parsed if module is not None]
    return list(_Resolver(modules).statements())


class _Resolver:
    """Resolves the names of some modules among one another."""

    def __init__(self, modules: Sequence[Module]) -> None:
        times = Counter(module.name for module in modules)
        self.modules = {m.name: m for m in modules if times[m.name] == 1}
        self.spellings: Counter[str] = Counter()
        for module in self.modules.values():
            self.spellings[module.name.casefold()] += 1
            for name in module.definitions:
                self.spellings[f"{module.name}.{name}".casefold()] += 1

        # What a parameter of this name nearly always defaults to can be told without reading.
        values = Counter(
            (fact.relation, fact.object)
            for module in self.modules.values()
            for fact in module.facts
            if fact.kind == "value" and "/" in fact.relation
        )
        self.usual = {fact for fact, times in values.items() if times > MAX_REPEATS}

    def statements(self) -> Iterator[CodeStatement]:
        for module in self.modules.values():
            for fact in module.facts:
                yield from self._statement(module, fact)

    def _statement(self, module: Module, fact: Fact) -> Iterator[CodeStatement]:
        subject = f"{module.name}.{fact.subject}" if fact.subject else module.name
        span: tuple[int, int] | None = (fact.start, fact.end)
        if self.spellings[subject.casefold()] > 1:  # entities are told apart without case
            span = None
        if (fact.relation, fact.object) in self.usual:
            span = None
        if fact.kind in ("value", "module"):
            yield CodeStatement(subject, fact.relation, fact.object, module.document, span)
            return
        found, kind, direct = self._resolve(fact.object)
        if not direct or self.spellings[found.casefold()] > 1:
            span = None
        if fact.relation == "code_calls":
            if kind == "function" and self._is_method(found):
                span = None
            # Unresolved, it may be a class or a function: a claim of both.
            for relation in _CALLED.get(kind, ("code_calls", "code_creates")):
                yield CodeStatement(subject, relation, found, module.document, span)
            return
        if kind != _WANTED.get(fact.relation, kind):
            span = None
        yield CodeStatement(subject, fact.relation, found, module.document, span)

    def _is_method(self, dotted: str) -> bool:
        return "." in self._split(dotted)[1]

    def _resolve(self, dotted: str) -> tuple[str, str, bool]:
        """Returns the name where it is defined, what it is, and whether no import led there."""
        direct = True
        for _ in range(_MAX_IMPORTS):
            module, name = self._split(dotted)
            if module is None or not name:
                return dotted, "", False
            if name in module.definitions:
                return dotted, module.definitions[name], direct
            root, _, rest = name.partition(".")
            if root not in module.imports:
                return dotted, "", False
            dotted = ".".join(filter(None, (module.imports[root], rest)))
            direct = False
        return dotted, "", False

    def _split(self, dotted: str) -> tuple[Module | None, str]:
        """Returns the module with the longest name that begins a dotted name, and the rest."""
        parts = dotted.split(".")
        for num in range(len(parts), 0, -1):
            module = self.modules.get(".".join(parts[:num]))
            if module is not None:
                return module, ".".join(parts[num:])
        return None, dotted


_CALLED = {"function": ("code_calls",), "class": ("code_creates",)}
_WANTED = {"code_base": "class", "code_raises": "class"}
"""What the object of a relation must be; of others it may be either."""
