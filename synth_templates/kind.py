"""Question kinds as data: what is declared about a kind, and reading the declarations.

A kind file (YAML) names its source of documents, the lexicon of relations where the source has no
built-in one, and kinds. A new kind of an existing shape needs no Python. Question wordings are
templates (sandboxed Jinja).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from longspan.harness.errors import SynthesisError
from longspan.harness.files import parse_mapping, read_text
from longspan.harness.passport import Operation
from longspan.harness.validation import describe_validation
from longspan.synth_templates import world
from longspan.synth_templates.relations import Lexicon, RelationForm

TaskType = Literal[
    "multiple_choice", "multi_hop", "reading_comprehension", "dialogue_memory", "corpus_numeric"
]
Shape = Literal["path", "choice", "compare", "table", "sentence"]
SourceName = Literal["world", "documents"]
MAX_HOPS = 6


class Kind(BaseModel):
    """One kind of question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    task_type: TaskType
    """The type that balanced sampling draws from."""
    shape: Shape
    """How question and answer come from the corpus (see `questions`)."""
    question: tuple[str, ...] = Field(min_length=1)
    """Wordings; one is drawn per sample."""
    scorer: str
    """Scorer of the harness that marks the answer."""
    hops: int = Field(default=1, ge=1, le=MAX_HOPS)
    """Steps of a path."""
    relations: str = "entity"
    """Group of relations that a path may use."""
    distinct_relations: bool = False
    """A path uses no relation twice: "the location of the location of X" reads badly."""
    relation: str | None = None
    """The relation that a comparison compares by."""
    pick: Literal["largest", "smallest"] = "largest"
    """Which of the compared subjects is the answer."""
    operation: Operation | None = None
    """What is computed from a table."""
    num_options: int = Field(default=4, ge=2, le=26)
    """Options of a choice, the right one included."""
    unmentioned_options: bool = False
    """Wrong options must not stand in the evidence: real text may claim less than is true."""
    share: float = Field(default=1.0, gt=0)
    """Weight of the kind where a plan does not say otherwise."""

    @field_validator("question", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _shape_is_complete(self) -> Self:
        if self.shape == "compare" and not self.relation:
            raise ValueError(f"kind {self.name}: shape compare needs relation")
        if self.shape == "table" and not self.operation:
            raise ValueError(f"kind {self.name}: shape table needs operation")
        return self


class KindFile(BaseModel):
    """The content of one kind file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SourceName
    """The source of documents that these kinds ask about."""
    relations: tuple[RelationForm, ...] = ()
    """Lexicon, for sources without a built-in one."""
    kinds: tuple[Kind, ...] = ()


class Kinds(BaseModel):
    """All kinds of a source and its lexicon: what questions can be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relations: tuple[RelationForm, ...]
    kinds: tuple[Kind, ...]

    def lexicon(self) -> Lexicon:
        """Returns the look-up of relations."""
        return Lexicon(self.relations)

    def by_name(self) -> dict[str, Kind]:
        """Returns the kinds by name."""
        return {kind.name: kind for kind in self.kinds}


def load_kinds(source: SourceName, extra: Sequence[Path] = ()) -> Kinds:
    """Returns the packaged kinds of a source and those of the extra files for the same source.

    Raises:
        DataError: a file is missing or not YAML.
        SynthesisError: a file is malformed, or a name is declared twice.
    """
    packaged = sorted(
        (
            item
            for item in files(__package__).joinpath("kinds").iterdir()
            if item.name.endswith(".yaml")
        ),
        key=lambda item: item.name,
    )
    loaded = [parse_kind_file(item.read_text("utf-8"), item.name) for item in packaged]
    loaded += [parse_kind_file(read_text(path), str(path)) for path in extra]
    chosen = [file for file in loaded if file.source == source]
    kinds = tuple(kind for file in chosen for kind in file.kinds)
    relations = tuple(form for file in chosen for form in file.relations)
    if source == "world":
        relations += world_relations()
    for label, names in (
        ("kind", [k.name for k in kinds]),
        ("relation", [r.name for r in relations]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SynthesisError(f"{label} declared twice: {twice[0]}; rename one of them")
    return Kinds(relations=relations, kinds=kinds)


def parse_kind_file(text: str, name: str) -> KindFile:
    """Returns the declarations of a kind file.

    Raises:
        DataError: the text is not YAML.
        SynthesisError: it is not a kind file.
    """
    content = parse_mapping(text, f"kind file {name}")
    try:
        return KindFile.model_validate(content)
    except ValidationError as error:
        raise SynthesisError(
            f"kind file {name}: {describe_validation(error)}; correct the file"
        ) from error


def world_relations() -> tuple[RelationForm, ...]:
    """Returns the lexicon of the generated world: every relation under its own name."""
    messages = {relation.name for relation in world.MESSAGE_RELATIONS}
    return tuple(
        RelationForm(
            name=relation.name,
            stated=(relation.name,),
            phrase="{{ inner }}" + relation.possessive,
            group="message" if relation.name in messages else "entity",
        )
        for relation in world.RELATIONS.values()
    )
