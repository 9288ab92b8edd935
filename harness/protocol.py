"""Protocols: the recipe's prompt form, or the benchmark's own prompt.

A benchmark's own wording stays where it is kept: in an installed package, which is read and never
imported, or in the records, where they hold the chat. Its context is found by filling the template
with a mark in the context's place; what stands before and after the mark frames the context, so
that a cut drops nothing but context.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from longspan.harness.datasets.records import ReadRow, Record, Row
from longspan.harness.errors import SpecError, one_line
from longspan.harness.files import read_text
from longspan.harness.spec import OfficialPrompt, Protocol, TaskSpec
from longspan.harness.templates import render

EXTRAS = {"lm_eval": "lm-eval"}
"""Package -> our extra that installs it."""
PROTOCOLS: tuple[Protocol, ...] = ("recipe", "official")
_MARK = "\ue000context\ue000"  # private characters: in no text that is meant to be read
_FIELD = re.compile(r"\{(\w+)\}")

Prepare = Callable[[Sequence[Row]], ReadRow]


class _Loader(yaml.SafeLoader):
    """YAML without code: the tags of the package's own functions are nothing."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def check_protocol(spec: TaskSpec, protocol: object) -> Protocol:
    """Returns the protocol that `-T protocol=` names.

    Raises:
        SpecError: the task has no such protocol.
    """
    held = PROTOCOLS if spec.official else PROTOCOLS[:1]
    for name in held:
        if protocol == name:
            return name
    kept = "" if spec.official else " (its spec declares no official prompt)"
    raise SpecError(
        f"task {spec.name} has no protocol {protocol!r:.40}{kept}; it has: {', '.join(held)}"
    )


def under_protocol(spec: TaskSpec, protocol: object) -> TaskSpec:
    """Returns the spec with the scorer that goes with the prompt."""
    if protocol != "official" or spec.official is None:
        return spec
    scorer = spec.official.scorer or spec.scorer
    usual = spec.scorer_options if scorer == spec.scorer else {}
    options = {**usual, **spec.official.scorer_options}
    return spec.model_copy(update={"scorer": scorer, "scorer_options": options})


def with_protocol(spec: TaskSpec, protocol: Protocol, prepare: Prepare) -> Prepare:
    """Returns the record reader under a protocol: chats kept or dropped, frames added.

    Raises:
        SpecError: the package of the official prompt is not installed, or has no such template.
    """
    official = spec.official if protocol == "official" else None
    if official is not None and official.form == "chat":
        return prepare
    template = load_template(spec.name, official) if official else None

    def shape(record: Record) -> Record:
        if template is None:
            return replace(record, messages=())
        return replace(record, extra=record.extra | {"frame": frame_of(template, record.values)})

    def prepare_shaped(rows: Sequence[Row]) -> ReadRow:
        read = prepare(rows)

        def read_row(row: Row) -> Record | None:
            record = read(row)
            return None if record is None else shape(record)

        return read_row

    return prepare_shaped


def prompt_facts(spec: TaskSpec, protocol: Protocol) -> dict[str, str]:
    """Returns what the log says about the prompt: protocol, and where an official one is from."""
    official = spec.official if protocol == "official" else None
    if official is None:
        return {"protocol": protocol}
    if official.form == "chat":
        return {"protocol": protocol, "prompt_source": "the records' own chat"}
    version = importlib.metadata.version(official.package)
    source = f"{official.package} {version} {official.file} {official.key}"
    prompt_hash = hashlib.sha256(load_template(spec.name, official).encode()).hexdigest()
    return {"protocol": protocol, "prompt_source": source, "prompt_hash": prompt_hash}


def frame_of(template: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Returns what an official prompt says before and after the context.

    Raises:
        SpecError: the template names a value that the records do not have.
        ValueError: the prompt does not show the context exactly once.
    """
    parts = render(template, {**values, "context": _MARK}).split(_MARK)
    if len(parts) != 2:
        raise ValueError(f"the official prompt shows the context {len(parts) - 1} times, not once")
    return {"before": parts[0], "after": parts[1]}


def load_template(task: str, official: OfficialPrompt) -> str:
    """Returns the Jinja template of an official prompt from its package, which is not imported.

    Raises:
        SpecError: the package is not installed, or has no such template.
    """
    package = find_spec(official.package)
    if package is None or not package.submodule_search_locations:
        extra = EXTRAS.get(official.package)
        remedy = f"pip install 'longspan[{extra}]'" if extra else f"pip install {official.package}"
        raise SpecError(
            f"protocol=official of task {task} takes its prompt from {official.package}, which is "
            f"not installed; run: {remedy}"
        )
    path = Path(package.submodule_search_locations[0]) / official.file
    template = _template(path, official.key)
    if template is None:
        version = importlib.metadata.version(official.package)
        raise SpecError(
            f"protocol=official of task {task}: {official.package} {version} has no template "
            f"{official.key} in {official.file}; install the version that constraints.txt names"
        )
    if official.last_line is not None:
        template = template.rstrip().rpartition("\n")[0] + "\n" + official.last_line
    return template


@functools.lru_cache(maxsize=64)
def _template(path: Path, key: str) -> str | None:
    if not path.is_file():
        return None
    try:
        content = yaml.load(read_text(path), _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(
            f"cannot read {path}: {one_line(str(error), 200)}; install it again"
        ) from error
    template = content.get(key) if isinstance(content, dict) else None
    if not isinstance(template, str):
        return None
    return template if "{{" in template or "{%" in template else _FIELD.sub(r"{{ \1 }}", template)
