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
from longspan.harness.spec import SpecFile
from longspan.harness.tokens import TokenCounter, active_counter
from longspan.harness.validation import describe_validation

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


@dataclass(frozen=True)
class Material:
    """What samples are drawn from: the texts or rows of a file, and what of it was left out."""

    path: Path
    rows: list[Any]
    problems: list[Problem]


Made = tuple[list[Record], list[Material], list[Problem]]
"""Records, what they were drawn from, and the questions that were left out."""


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
    materials: tuple[str, ...]
    """What some of its tasks are made of (`MATERIALS`)."""


def _ruler(file: SpecFile, chosen: RulerParameters, counter: TokenCounter) -> Made:
    given = {"essays": chosen.essays, "squad": chosen.squad, "hotpotqa": chosen.hotpotqa}
    found: dict[str, Material] = {}
    records: list[Record] = []
    left_out: list[Problem] = []
    for name in chosen.tasks:
        task = TASKS[name]
        if task.material and task.material not in found:
            found[task.material] = _read_material(file, task.material, given[task.material], name)
        corpus = found[task.material].rows if task.material else ()
        fitting, too_long = ruler_records(name, chosen, counter, corpus)
        records += fitting
        left_out += too_long
    return records, list(found.values()), left_out


def _niah(file: SpecFile, chosen: NiahParameters, counter: TokenCounter) -> Made:
    if chosen.haystack == "noise":
        return niah_records(chosen, counter), [], []
    essays = _read_material(file, "essays", chosen.essays, "haystack=essays")
    return niah_records(chosen, counter, essays.rows), [essays], []


GENERATORS: dict[str, Generator] = {
    "ruler": Generator(RulerParameters, _ruler, tuple(MATERIALS)),
    "niah": Generator(NiahParameters, _niah, ("essays",)),
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
    records, materials, left_out = generator.make(file, chosen, counter)
    left_out = [*(problem for one in materials for problem in one.problems), *left_out]
    warn_of_left_out(file.spec.name, left_out)
    hashes = [file_hash(one.path) for one in materials]
    identity = [chosen.model_dump(mode="json"), hashes, counter.name]
    return Generated(
        records=records,
        hash=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        facts={
            "num_samples": len(records),
            "tokenizer": counter.name,
            "tokenizer_exact": counter.exact,
            "material": [one.path.name for one in materials],
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


def find_material(file: SpecFile, name: str) -> Path | None:
    """Returns a file of the material in LONGSPAN_DATA or beside the spec, None if there is none."""
    folders = [*mirrors(), file.path.parent]
    places = [folder / one for folder in folders for one in MATERIALS[name]]
    return next((place for place in places if place.is_file()), None)


def _read_material(file: SpecFile, name: str, given: str | None, task: str) -> Material:
    path = Path(given).expanduser() if given else find_material(file, name)
    if path is None:
        raise DataError(
            f"{task} needs {name}: none of {', '.join(MATERIALS[name])} in LONGSPAN_DATA; "
            f"pass -T {name}=FILE, or choose tasks that need none"
        )
    rows, problems = _read(path)
    if name == "essays":
        texts = [(place, row.get("text") if isinstance(row, dict) else row) for place, row in rows]
        problems = [
            *problems,
            *(Problem(place, 'no text in "text"') for place, text in texts if not _is_text(text)),
        ]
        rows = [(place, text) for place, text in texts if _is_text(text)]
    return Material(path, [row for _, row in rows], problems)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _read(path: Path) -> tuple[list[tuple[str, Any]], list[Problem]]:
    """Returns the rows of a file, each with its place, and what is none.

    Texts, and the two formats that RULER has, are rows as well.
    """
    if path.suffix in (".txt", ".md"):
        return [(path.name, read_text(path))], []
    if path.suffix == ".json":
        try:
            content = json.loads(read_text(path))
        except (ValueError, RecursionError):
            content = None  # JSON lines, perhaps; else their reader says what is wrong
        if isinstance(content, dict) and isinstance(content.get("text"), str):
            return [(path.name, content["text"])], []
        if isinstance(content, dict) and isinstance(content.get("data"), list):
            content = content["data"]
        if isinstance(content, list) and all(isinstance(row, dict) for row in content):
            return [(f"{path.name} row {number}", row) for number, row in enumerate(content, 1)], []
    rows, problems = read_rows(path)
    return [(f"{path.name} row {number}", row) for number, row in rows], problems


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]
