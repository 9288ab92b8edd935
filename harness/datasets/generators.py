"""Generated tasks: from a task's parameters to records, without a data set.

Lengths are counted with the tokenizer of the model that is evaluated, where it has one of its own;
else with the one that the run names (`-T tokenizer=`), else estimated. The log says which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from longspan.harness.datasets.data import mirrors
from longspan.harness.datasets.generated.niah import NiahOptions, niah_records
from longspan.harness.datasets.generated.ruler import (
    TASK_NAMES,
    TASKS,
    RulerOptions,
    TaskName,
    ruler_records,
)
from longspan.harness.datasets.records import Record, left_out_facts, warn_of_left_out
from longspan.harness.datasets.rows import read_rows
from longspan.harness.errors import DataError, SpecError
from longspan.harness.files import Problem, file_hash, read_text
from longspan.harness.spec import SpecFile, describe_validation
from longspan.harness.tokens import TokenCounter, active_counter

MATERIALS: dict[str, tuple[str, ...]] = {
    "essays": ("PaulGrahamEssays.json", "essays.jsonl", "wiki_corpus.jsonl.gz"),
    "squad": ("dev-v2.0.json", "squad.json"),
    "hotpotqa": (
        *("hotpot_dev_distractor_v1.json", "hotpot_dev_distractor_v1.jsonl"),
        "hotpotqa_train_sample.jsonl.gz",
    ),
}
"""What RULER draws from -> names of files looked for in LONGSPAN_DATA."""


class _Sources(BaseModel):
    """Where a run's tokens and texts come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokenizer: str | None = None
    """Tokenizer that counts, for models that do not bring their own."""
    essays: str | None = None
    """File of texts for haystacks."""


class RulerParameters(RulerOptions, _Sources):
    """What `-T` may set for RULER."""

    tasks: tuple[TaskName, ...] = TASK_NAMES
    """Which of the 13 tasks."""
    squad: str | None = None
    """File of SQuAD, for qa_1."""
    hotpotqa: str | None = None
    """File of HotpotQA, for qa_2."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = TASK_NAMES if value in (None, "all") else _listed(value)
        unknown = [name for name in names if name not in TASKS]
        if unknown:
            raise ValueError(f"unknown task {unknown[0]!r}; RULER has {', '.join(TASK_NAMES)}")
        if not names:
            raise ValueError(f"no task is named; RULER has {', '.join(TASK_NAMES)}")
        return tuple(dict.fromkeys(names))


class NiahParameters(NiahOptions, _Sources):
    """What `-T` may set for the needle grid."""

    haystack: str = Field(default="noise", pattern="^(noise|essays)$")
    """What the needle is hidden in: `noise` or `essays`."""

    @field_validator("lengths_tokens", "depths", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return None if value is None else tuple(dict.fromkeys(_listed(value)))


Made = tuple[list[Record], list[Path], list[Problem]]
"""Records, the files that they were drawn from, and what was left out."""


@dataclass(frozen=True)
class Generated:
    """Records and what the log says about them."""

    records: list[Record]
    hash: str
    """Identity of what they were drawn from: options, material, tokenizer."""
    facts: dict[str, Any]


@dataclass(frozen=True)
class Generator:
    """A family of generated tasks."""

    parameters: type[RulerParameters | NiahParameters]
    """What `-T` may set."""
    make: Callable[[SpecFile, Any, TokenCounter], Made]


def _ruler(file: SpecFile, chosen: RulerParameters, counter: TokenCounter) -> Made:
    given = {"essays": chosen.essays, "squad": chosen.squad, "hotpotqa": chosen.hotpotqa}
    found: dict[str, tuple[Path, list[Any]]] = {}
    records: list[Record] = []
    left_out: list[Problem] = []
    for name in chosen.tasks:
        task = TASKS[name]
        if task.material and task.material not in found:
            found[task.material] = _material(file, task.material, given[task.material], name)
        corpus = found[task.material][1] if task.material else ()
        fitting, too_long = ruler_records(name, chosen, counter, corpus)
        records += fitting
        left_out += too_long
    return records, [path for path, _ in found.values()], left_out


def _niah(file: SpecFile, chosen: NiahParameters, counter: TokenCounter) -> Made:
    if chosen.haystack == "noise":
        return niah_records(chosen, counter), [], []
    path, texts = _material(file, "essays", chosen.essays, "haystack=essays")
    return niah_records(chosen, counter, texts), [path], []


GENERATORS: dict[str, Generator] = {
    "ruler": Generator(RulerParameters, _ruler),
    "niah": Generator(NiahParameters, _niah),
}
"""Name of a reader in a spec -> generator."""


def generate(file: SpecFile, arguments: Mapping[str, Any]) -> Generated:
    """Returns the records of a generated task.

    Raises:
        SpecError: an argument is unknown or out of bounds.
        DataError: material is missing or too small.
    """
    generator = GENERATORS[file.spec.dataset.reader]
    chosen = check_parameters(file, arguments)
    counter = active_counter(chosen.tokenizer)
    records, paths, left_out = generator.make(file, chosen, counter)
    warn_of_left_out(file.spec.name, left_out)
    hashes = [file_hash(path) for path in paths]
    identity = [chosen.model_dump(mode="json"), hashes, counter.name]
    return Generated(
        records=records,
        hash=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        facts={
            "num_samples": len(records),
            "tokenizer": counter.name,
            "tokenizer_exact": counter.exact,
            "material": [path.name for path in paths],
            **left_out_facts(left_out),
        },
    )


def check_parameters(file: SpecFile, arguments: Mapping[str, Any]) -> Any:
    """Returns the parameters of a generated task, checked.

    Raises:
        SpecError: one is unknown or out of bounds.
    """
    try:
        return GENERATORS[file.spec.dataset.reader].parameters.model_validate(dict(arguments))
    except ValidationError as error:
        raise SpecError(f"task {file.spec.name}: {describe_validation(error)}") from error


def _material(file: SpecFile, name: str, given: str | None, task: str) -> tuple[Path, list[Any]]:
    """Returns a file of the material and its texts or rows."""
    if given:
        path: Path | None = Path(given).expanduser()
    else:
        folders = [*mirrors(), file.path.parent]
        places = [folder / one for folder in folders for one in MATERIALS[name]]
        path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(
            f"{task} needs {name}: none of {', '.join(MATERIALS[name])} in LONGSPAN_DATA; "
            f"pass -T {name}=FILE, or choose tasks that need none"
        )
    rows = _read(path)
    if name == "essays":
        rows = [row.get("text") if isinstance(row, dict) else row for row in rows]
    return path, rows


def _read(path: Path) -> list[Any]:
    """Returns the rows of a file; texts, and the two formats that RULER has, are rows as well."""
    if path.suffix in (".txt", ".md"):
        return [read_text(path)]
    if path.suffix == ".json":
        try:
            content = json.loads(read_text(path))
        except ValueError as error:
            raise DataError(f"not JSON: {path} ({error}); fetch it again") from error
        if isinstance(content, dict) and isinstance(content.get("text"), str):
            return [content["text"]]
        if isinstance(content, dict) and isinstance(content.get("data"), list):
            return list(content["data"])
        if isinstance(content, list):
            return content
    return [row for _, row in read_rows(path)[0]]


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]
