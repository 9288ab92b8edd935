"""The spec of a task: everything that defines a benchmark or task set, in one YAML file.

The file is the documentation: where the records come from, how a question is put, who answers and
who scores, and what is known about licence and contamination. Generation settings do not belong
here (they are the run's).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from longspan.harness.errors import DataError, SpecError, one_line
from longspan.harness.files import Problem, parse_mapping, read_text
from longspan.harness.prompts import DEFAULT_INSTRUCTIONS, render_prompt
from longspan.harness.templates import check_template
from longspan.harness.tokens import Side
from longspan.harness.validation import describe_validation

TASKS_VARIABLE = "LONGSPAN_TASKS"
"""Environment variable: folders with further specs, separated like PATH."""

TaskType = Literal[
    "multiple_choice", "multi_hop", "reading_comprehension", "dialogue_memory", "corpus_numeric"
]
Parameter = bool | int | float | str | None
Protocol = Literal["recipe", "official"]
"""Whose prompt is used: the recipe's form, or the benchmark's own."""
_HASH_CHARS = 12
_REPOSITORY = r"^\w[\w.-]*/\w[\w.-]*$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class HubFiles(_Frozen):
    """Files of a data set on the Hugging Face hub."""

    repository: str = Field(pattern=_REPOSITORY)
    """Repository, "owner/name"."""
    revision: str | None = Field(pattern=r"^[0-9a-f]{40}$")
    """Commit (40 hexadecimal digits): a branch would change under the results. None: not pinned by
    us; `longspan data fetch` takes the current one and records it, and logs say which it was."""
    files: tuple[str, ...] = Field(min_length=1)
    """Paths within the repository, all of them read, in this order. "a.json|b.json" are spellings
    of one file, of which the first that is there counts."""
    member: str | None = None
    """Which file of a zip archive holds the records."""

    @field_validator("files")
    @classmethod
    def _stay_within(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for name in (name for file in files for name in file.split("|")):
            path = PurePosixPath(name)
            if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"a path within the repository is expected, not {name!r}")
        return files


class DatasetSpec(_Frozen):
    """Where a task's records come from and how they are read."""

    reader: str = "fields"
    """Reader (`datasets.readers`): `fields` maps fields, others know a benchmark's format."""
    files: tuple[str, ...] = ()
    """Names of files looked for in LONGSPAN_DATA and beside the spec; the first one is read."""
    hub: HubFiles | None = None
    """Files of the hub, looked for in local mirrors first (see `datasets.data`)."""
    aliases: tuple[Annotated[str, Field(pattern=_REPOSITORY)], ...] = ()
    """Repositories under whose names a mirror may hold the files as well: other names of the one
    that `hub` names, or that of the data set where it lacks the files (`files`)."""
    fields: dict[str, str] = {}
    """For `fields`: question, target, context, id, choices, hops, kind -> field (dots descend)."""
    source: str = ""
    """Where to get the file, for people."""


class Limits(_Frozen):
    """What one sample may use at most; a sample at its limit is scored as it stands."""

    seconds: int | None = Field(None, ge=1)
    """Wall-clock seconds."""
    tokens: int | None = Field(None, ge=1)
    """Tokens of all model calls together."""
    messages: int | None = Field(None, ge=1)
    """Messages of the conversation."""


class OfficialPrompt(_Frozen):
    """Where the benchmark's own prompt comes from; its wording is in no file of ours."""

    form: Literal["template", "chat"] = "template"
    """`template`: of an installed package; `chat`: the chat that the records hold."""
    package: str = ""
    """Package that carries the template."""
    file: str = ""
    """YAML file within the package."""
    key: str = ""
    """Key of the template (Jinja or `{field}`), which sees the record's values and `context`."""
    last_line: str | None = None
    """Takes the place of the template's last line, where the package ends it otherwise."""
    scorer: str = ""
    """Scorer under this prompt, where it is not the task's."""
    scorer_options: dict[str, Parameter] = {}
    """Arguments of the scorer that differ under this prompt."""

    @model_validator(mode="after")
    def _names_a_template(self) -> OfficialPrompt:
        if (self.form == "template") != all((self.package, self.file, self.key)):
            raise ValueError("give package, file and key of a template, or form: chat alone")
        if PurePosixPath(self.file).is_absolute() or ".." in PurePosixPath(self.file).parts:
            raise ValueError(f"a path within the package is expected, not {self.file!r}")
        return self


class _Described(_Frozen):
    """What a task says about itself."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)
    """Registered as `longspan/<name>`. No dots: Inspect would not find it."""
    description: str
    """One line for `longspan tasks`."""
    size: int | None = Field(None, ge=1)
    """Number of samples of the whole data set; None: it depends."""
    length: str = ""
    """Typical tokens of a context, for people: "16K", "4K to 1M"."""
    groupings: tuple[str, ...] = ()
    """Metadata keys by which boards break the score down."""
    paper: str = ""
    """Citation or address."""
    licence: str = ""
    """Licence of the records."""
    contamination: str = ""
    """What is known about the records in training data."""
    notes: str = ""
    """Choices that a reader of results should know."""


class ExternalSpec(_Described):
    """A task of another package, listed and run under our name."""

    external: str = Field(pattern=r"^[\w-]+/[\w.-]+$")
    """Its registered name, "package/task"."""
    arguments: dict[str, Any] = {}
    """Its arguments with our defaults; `-T` may set these."""
    remedy: str = "its data are fetched where there is internet and kept"
    """What to do where the package cannot make it."""


class TaskSpec(_Described):
    """One task."""

    task_type: TaskType | None = None
    """Which type balanced sampling counts it to; None: evaluation only, or declared per sample."""
    dataset: DatasetSpec
    """Records."""
    question: str = "{{ question }}"
    """Jinja template of the core question; sees the record's values."""
    instructions: str = DEFAULT_INSTRUCTIONS
    """Format instructions, which an agent shows at its last step only."""
    solver: str = "longspan/full_context"
    """Default solver; `--solver` takes its place."""
    scorer: str
    """Scorer of every sample, or `by_sample`."""
    scorer_options: dict[str, Parameter] = {}
    """Arguments of the scorer."""
    truncation: Side = "middle"
    """Which part of a context that exceeds the window is dropped."""
    parameters: dict[str, Parameter] = {}
    """What `-T` may set, with defaults; passed to the record reader."""
    limits: Limits = Limits()  # type: ignore[call-arg]
    """Limits of one sample."""
    official: OfficialPrompt | None = None
    """The benchmark's own prompt, for `-T protocol=official`."""
    protocol: Protocol = "recipe"
    """Default of `-T protocol`: the recipe's prompt form, or the benchmark's own."""

    @model_validator(mode="after")
    def _has_its_protocol(self) -> TaskSpec:
        if self.protocol == "official" and self.official is None:
            raise ValueError("protocol: official needs the key 'official'")
        return self

    @field_validator("question")
    @classmethod
    def _compiles(cls, template: str) -> str:
        try:
            check_template(template)
        except SpecError as error:
            raise ValueError(str(error)) from error
        return template

    def version(self, data_hash: str = "") -> str:
        """Returns the identity of the task: a hash of spec, prompt and data."""
        prompt = render_prompt("context", "question", "instructions")
        content = json.dumps([self.model_dump(mode="json"), prompt, data_hash], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:_HASH_CHARS]


class SpecFile(_Frozen):
    """A spec and the file that it was read from."""

    spec: TaskSpec
    """The spec."""
    path: Path
    """Its file; data may lie beside it."""


class ExternalFile(_Frozen):
    """A spec of another package's task and the file that it was read from."""

    spec: ExternalSpec
    """The spec."""
    path: Path
    """Its file."""


def read_spec(path: Path) -> SpecFile | ExternalFile:
    """Returns the spec of a YAML file.

    Raises:
        DataError: it is not readable or not YAML.
        SpecError: it is not a spec; the message names file, key and value.
    """
    content = parse_mapping(read_text(path), path.name)
    try:
        if "external" in content:
            return ExternalFile(spec=ExternalSpec.model_validate(content), path=path)
        return SpecFile(spec=TaskSpec.model_validate(content), path=path)
    except ValidationError as error:
        raise SpecError(f"{path.name}: {describe_validation(error)}") from error


def read_specs(folder: Path) -> tuple[list[SpecFile | ExternalFile], list[Problem]]:
    """Returns the specs of a folder's YAML files by name, and the files that are none."""
    specs: list[SpecFile | ExternalFile] = []
    problems: list[Problem] = []
    if not folder.is_dir():
        return [], [Problem(str(folder), "no such folder; check LONGSPAN_TASKS")]
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            specs.append(read_spec(path))
        except Exception as error:  # whatever one file does, the others must stay usable
            problems.append(Problem(str(path), one_line(str(error))))
    return specs, problems


def named_in(path: Path) -> str | None:
    """Returns the task that a file is meant to define, whole or broken; None if it is no spec.

    It is the name that the text gives, else the file's.
    """
    if path.suffix not in (".yaml", ".yml"):
        return None
    try:
        named = re.search(r"^name:[ '\"]*([\w-]+)", read_text(path), re.MULTILINE)
    except DataError:
        named = None
    return named[1] if named else path.stem


def user_folders() -> list[Path]:
    """Returns the folders that LONGSPAN_TASKS names."""
    named = os.environ.get(TASKS_VARIABLE, "")
    return [Path(part).expanduser() for part in named.split(os.pathsep) if part.strip()]
