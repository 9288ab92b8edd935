"""Jinja templates as data: rendered in an immutable sandbox, with caps on output, memory and time.

A template of a spec or question kind may come from anyone. It sees plain values, a short list of
filters and text methods, loops and conditions. What could multiply text or time without end
(macros, namespaces, repetition, formatting, nested literals) is refused when it is compiled; what
is left checks the clock in every loop and its length before it grows.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from longspan.harness.errors import SpecError, one_line

MAX_OUTPUT_CHARS = 1_000_000
TIMEOUT_SECONDS = 2.0
"""Processor time, so that a busy machine changes no result."""
_MAX_TEMPLATE_CHARS = 100_000
_MAX_INTEGER_BITS = 4096
_MAX_DIGITS = 100

_NODES: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Assign),
    *(nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or),
    *(nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv),
    *(nodes.Mod, nodes.Concat, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test),
    *(nodes.Call, nodes.Keyword, nodes.List, nodes.Tuple),
)
_FILTERS = (
    *("abs", "capitalize", "count", "default", "dictsort", "first", "float", "int", "items"),
    *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse"),
    *("select", "selectattr", "sort", "title", "trim", "unique", "upper"),
)
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        {"capitalize", "count", "endswith", "find", "isdigit", "lower", "lstrip", "removeprefix"}
        | {"removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"}
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}

_limits: ContextVar[tuple[float, int]] = ContextVar("template_limits")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox; `tick`, `join_text` and `call_binop` hold the caps."""

    intercepted_binops = frozenset({"*", "+", "%"})

    def tick(self) -> str:
        """Raises when the time is over; stands in every loop."""
        if time.thread_time() > _limits.get()[0]:
            raise SecurityError("it runs too long")
        return ""

    def join_text(self, *parts: Any) -> str:
        """Returns the parts as one text (Jinja's `~`), within the output cap."""
        return _joined(parts, "")

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, str | int | float | list | tuple) and not _is_method(obj, attribute):
            return self.unsafe_undefined(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str) and not isinstance(obj, Mapping):
            return self.getattr(obj, argument)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return not callable(value) or _is_method(obj, attr) or _is_loop(obj)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str | list | tuple):
            _check_size(len(left) + (len(right) if hasattr(right, "__len__") else 0))
        elif not all(isinstance(side, int | float | Undefined) for side in (left, right)):
            raise SecurityError(f"{operator} is for numbers: got {left!r:.40} and {right!r:.40}")
        elif operator == "*" and _num_bits(left) + _num_bits(right) > _MAX_INTEGER_BITS:
            raise SecurityError("a product is too large")
        return super().call_binop(context, operator, left, right)


def render(
    template: str,
    values: Mapping[str, Any],
    max_chars: int = MAX_OUTPUT_CHARS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> str:
    """Returns the template filled with plain values (texts, numbers, lists, dictionaries).

    Raises:
        SpecError: the template is malformed, names a value that is not there, asks for something
            that is not offered, or exceeds a cap.
    """
    compiled = check_template(template)
    token = _limits.set((time.thread_time() + timeout_seconds, max_chars))
    try:
        return _joined(compiled.generate(dict(values)), "")
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as error:
        raise _error(template, error) from error
    finally:
        _limits.reset(token)


@functools.lru_cache(maxsize=1024)
def check_template(template: str) -> Template:
    """Returns the compiled template.

    Raises:
        SpecError: the template is malformed or asks for something that is not offered.
    """
    if len(template) > _MAX_TEMPLATE_CHARS:
        raise _error(template, f"it has more than {_MAX_TEMPLATE_CHARS} characters")
    try:
        tree = _ENVIRONMENT.parse(template)
        _refuse(tree)
        _guard(tree)
        return _ENVIRONMENT.from_string(tree)
    except (TemplateError, RecursionError, ValueError) as error:
        raise _error(template, error) from error


def _refuse(node: nodes.Node) -> None:
    """Raises if the template holds something that is not offered."""
    name = type(node).__name__
    if not isinstance(node, _NODES):
        raise SecurityError(f"{name} is not offered in templates")
    if isinstance(node, nodes.For) and node.recursive:
        raise SecurityError("recursive loops are not offered in templates")
    is_literal = (
        isinstance(node, nodes.List | nodes.Tuple) and getattr(node, "ctx", "load") == "load"
    )
    if is_literal and not all(isinstance(item, nodes.Const) for item in node.iter_child_nodes()):
        raise SecurityError(f"a {name.lower()} in a template may hold only texts and numbers")
    for child in node.iter_child_nodes():
        _refuse(child)


def _guard(node: nodes.Node) -> None:
    """Puts a tick into every loop, and joins texts through `join_text`."""
    for child in node.iter_child_nodes():
        _guard(child)
    if isinstance(node, nodes.For):
        node.body.insert(0, nodes.ExprStmt(_call("tick", []), lineno=node.lineno))
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            value[:] = map(_without_concat, value)
        else:
            setattr(node, name, _without_concat(value))


def _without_concat(value: Any) -> Any:
    return _call("join_text", value.nodes) if isinstance(value, nodes.Concat) else value


def _call(method: str, arguments: list[nodes.Expr]) -> nodes.Call:
    # An attribute of the environment: no template can give the name another meaning.
    return nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)


def _is_method(obj: Any, attribute: str) -> bool:
    return any(isinstance(obj, kind) and attribute in names for kind, names in _METHODS.items())


def _is_loop(obj: Any) -> bool:
    return type(obj).__module__ == "jinja2.runtime"


def _num_bits(number: Any) -> int:
    return number.bit_length() if isinstance(number, int) else 0


def _check_size(size: int) -> None:
    max_chars = _limits.get()[1]
    if size > max_chars:
        raise SecurityError(f"it writes more than {max_chars} characters")


def _text(value: Any) -> Any:
    """Returns the value as it is written; a collection has no text of its own."""
    if isinstance(value, str | Undefined):
        return value
    if isinstance(value, int | float) or value is None:
        return str(value)
    raise SecurityError(f"a {type(value).__name__} cannot be written; join its items")


def _joined(parts: Iterable[Any], separator: str) -> str:
    """Returns the parts joined, checking length and time before each is added."""
    kept: list[str] = []
    size = 0
    for part in parts:
        text = str(_text(part))
        size += len(text) + len(separator)
        _check_size(size)
        _ENVIRONMENT.tick()
        kept.append(text)
    return separator.join(kept)


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        value = (_ENVIRONMENT.getitem(item, attribute) for item in value)
    return _joined(value, str(d))


def _sum(value: Iterable[Any]) -> Any:
    return sum(item if isinstance(item, int | float) else float(item) for item in value)


def _round(value: float, precision: int = 0) -> float:
    if not 0 <= precision <= _MAX_DIGITS:
        raise SecurityError(f"round takes 0 to {_MAX_DIGITS} digits: got {precision}")
    return round(float(value), precision)


def _tojson(value: Any) -> str:
    """Returns JSON, written piece by piece under the caps (values may repeat a part many times)."""
    return _joined(json.JSONEncoder(ensure_ascii=False).iterencode(value), "")


def _error(template: str, reason: object) -> SpecError:
    start = one_line(template[:1000], 120)
    return SpecError(f"template cannot be filled: {one_line(str(reason), 200)}; mend: {start!r}")


def _make_environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=_text, optimized=False
    )
    own = {"join": _join, "sum": _sum, "round": _round, "tojson": _tojson}
    environment.filters = {name: environment.filters[name] for name in _FILTERS} | own
    environment.globals = {"range": environment.globals["range"]}
    return environment


_ENVIRONMENT = _make_environment()
