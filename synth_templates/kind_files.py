"""Kind files: reading the declared question kinds and relations of a source.

A kind file (YAML) names its source of documents, the lexicon of relations where the source has no
built-in one, and kinds. A new kind of an existing shape needs no Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from longspan.harness.errors import SynthesisError
from longspan.harness.files import parse_mapping, read_text
from longspan.harness.validation import describe_validation
from longspan.synth_templates.shapes.registry import Kind
from longspan.synth_templates.triples.relations import Lexicon, RelationForm
from longspan.synth_templates.worlds import world

SourceName = Literal["world", "fiction", "documents"]


class KindFile(BaseModel):
    """The content of one kind file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SourceName
    """The source of documents that these kinds ask about."""
    relations: tuple[RelationForm, ...] = ()
    """Lexicon, for sources without a built-in one."""
    aliases: tuple[tuple[str, ...], ...] = ()
    """Names that mean the same entity wherever they stand, the one to keep first."""
    kinds: tuple[Kind, ...] = ()


class Kinds(BaseModel):
    """All kinds of a source and its lexicon: what questions can be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relations: tuple[RelationForm, ...]
    kinds: tuple[Kind, ...]
    aliases: tuple[tuple[str, ...], ...] = ()

    def lexicon(self) -> Lexicon:
        """Returns the look-up of relations."""
        return Lexicon(self.relations, self.aliases)

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
    aliases = tuple(names for file in chosen for names in file.aliases)
    return Kinds(relations=relations, kinds=kinds, aliases=aliases)


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
            is_parsed=True,
        )
        for relation in world.RELATIONS.values()
    )
