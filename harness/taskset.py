"""A task set on disk: samples and documents once each, contexts by reference, manifest and card.

    DIR/samples.parquet    one row per sample (`SampleRow`)
    DIR/documents.parquet  id, title, text, triples (JSON), format, group
    DIR/card.md            for people
    DIR/manifest.json      plan, seed, versions, counts, yields, hashes; written last

The folder appears by a rename when all of it is written, so what is there is whole. This module
does not know how samples are made (see `longspan.synth_templates`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError, model_validator

from longspan.harness.datasets.documents import (
    DOCUMENTS_FILE,
    Document,
    stored_documents,
    write_documents,
)
from longspan.harness.datasets.parquet import read_table, write_table
from longspan.harness.errors import DataError, one_line
from longspan.harness.files import file_hash
from longspan.harness.passport import Passport, RepeatProof
from longspan.harness.prompts import DEFAULT_INSTRUCTIONS, render_question
from longspan.harness.scoring.compat import MRCR_PREFIX
from longspan.harness.validation import describe_validation

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    from inspect_ai.dataset import Sample

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
FORMAT = 2
SAMPLES_FILE = "samples.parquet"
CARD_FILE = "card.md"
MANIFEST_FILE = "manifest.json"
_HASH_CHARS = 16


class SampleRow(BaseModel):
    """One sample as it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in the task set, and a digest of what is asked."""
    split: Split
    """No document is shared by two splits."""
    kind: str
    """Name of the question kind."""
    task_type: str | None
    """One of the five that balanced sampling draws from."""
    question: str
    """The core question."""
    target: tuple[str, ...]
    """Gold answers; several are alternatives."""
    scorer: str
    """Scorer of the harness."""
    documents: tuple[str, ...]
    """Ids of the context's documents, in order."""
    document_group: str
    """The corpus (world, partition) that it comes from: the cluster of robust statistics."""
    seed: int
    """Seed from which this sample was drawn."""
    instructions: str = DEFAULT_INSTRUCTIONS
    """Format instructions."""
    hops: int | None = None
    """Steps of the proof."""
    target_tokens: int | None = None
    """Context length asked for."""
    input_tokens: int | None = None
    """Context length in tokens of the manifest's counter."""
    passport: Passport | None = None
    """Evidence and proof."""


class _FileFacts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int


class _Listed(RootModel[dict[str, _FileFacts]]):
    """The files of a manifest: those of every task set are there, and none lies elsewhere."""

    @model_validator(mode="after")
    def _are_of_the_folder(self) -> Self:
        for name in (SAMPLES_FILE, DOCUMENTS_FILE, CARD_FILE):
            if name not in self.root:
                raise ValueError(f"{name} is not listed")
        for name in self.root:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is no file of the folder")
        return self


class TaskSet:
    """A task set that was opened for reading."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path | str, *, check_sizes: bool = True) -> TaskSet:
        """Returns the task set of a folder; its tables are read when asked for.

        Raises:
            DataError: there is no whole task set at the folder.
        """
        path = Path(folder)
        file = path / MANIFEST_FILE
        try:
            manifest = json.loads(file.read_text("utf-8"))
            version, listed = manifest["format"], _Listed.model_validate(manifest["files"]).root
        except FileNotFoundError as error:
            raise DataError(
                f"no task set at {path}: {MANIFEST_FILE} is missing; run `longspan synth`"
            ) from error
        except NotADirectoryError as error:
            raise DataError(f"{path} is a file, not a task set; choose another path") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"damaged manifest: {file} ({one_line(str(error), 200)}); build the task set again"
            ) from error
        if version != FORMAT:
            raise DataError(
                f"task set {path} has format {version}, expected {FORMAT}; build it again"
            )
        for name, facts in listed.items() if check_sizes else ():
            size = (path / name).stat().st_size if (path / name).is_file() else None
            if size != facts.bytes:
                raise DataError(
                    f"task set {path} is not whole: {name} has {size} bytes, "
                    f"expected {facts.bytes}; build it again"
                )
        return cls(path, manifest)

    @property
    def name(self) -> str:
        """Name in the manifest, which boards show."""
        return str(self.manifest["name"])

    @property
    def hash(self) -> str:
        """Digest of the files' hashes: two task sets with one hash hold the same bytes."""
        listed = {name: facts["sha256"] for name, facts in sorted(self.manifest["files"].items())}
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:_HASH_CHARS]

    @cached_property
    def documents(self) -> Mapping[str, Document]:
        """Documents by id."""
        return {document.id: document for _, document in stored_documents(self.folder)}

    def groups(self) -> Iterator[tuple[str, list[Document]]]:
        """Yields each group with its documents, one group in memory at a time.

        Raises:
            DataError: the documents are damaged, or those of a group do not stand together.
        """
        seen: set[str] = set()
        stored = itertools.groupby(stored_documents(self.folder), key=lambda pair: pair[0])
        for group, pairs in stored:
            if group in seen:
                raise DataError(
                    f"documents of group {group!r} do not stand together in {self.folder}; build "
                    "the task set again"
                )
            seen.add(group)
            yield group, [document for _, document in pairs]

    def document_groups(self) -> dict[str, list[str]]:
        """Returns the document ids of each group, in stored order."""
        table = read_table(self.folder / DOCUMENTS_FILE, ["id", "group"])
        groups: dict[str, list[str]] = {}
        for row in table.to_pylist():
            groups.setdefault(row["group"], []).append(row["id"])
        return groups

    def rows(self, split: Split | None = None) -> list[SampleRow]:
        """Returns the stored samples, of one split or of all.

        Raises:
            DataError: the split is unknown or the table is damaged.
        """
        if split is not None and split not in SPLITS:
            raise DataError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        rows, damaged = self.sound_rows()
        for name, problem in damaged.items():
            raise DataError(
                f"damaged samples in {self.folder / SAMPLES_FILE}: {len(damaged)}, first sample "
                f"{name}: {problem}; build the task set again"
            )
        return [row for row in rows if split is None or row.split == split]

    def sound_rows(self) -> tuple[list[SampleRow], dict[str, str]]:
        """Returns the stored samples that can be read, and by name what is wrong with the others.

        Raises:
            DataError: the table as a whole is damaged.
        """
        path = self.folder / SAMPLES_FILE
        table = read_table(path)
        wrong = sorted(set(table.column_names) ^ set(SampleRow.model_fields))
        if wrong:
            raise DataError(
                f"damaged samples in {path}: column {wrong[0]!r} is missing or unknown; build the "
                "task set again"
            )
        rows: list[SampleRow] = []
        damaged: dict[str, str] = {}
        for number in range(table.num_rows):
            name = f"in row {number + 1}"
            try:
                (record,) = table.slice(number, 1).to_pylist()
                if record["id"] and record["id"] not in damaged:
                    name = one_line(record["id"])
                rows.append(_from_record(record))
            except ValidationError as error:
                damaged[name] = describe_validation(error)
            except ValueError as error:  # bytes that are no text
                damaged[name] = str(error)
        return rows, damaged

    def samples(
        self,
        split: Split | None = None,
        *,
        target_tokens: int | None = None,
        task_types: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[Sample]:
        """Returns Inspect samples with contexts by reference, in stored order.

        Args:
            split: Only this split.
            target_tokens: Only contexts built for this length.
            task_types: Only these task types.
            kinds: Only these question kinds.
            limit: At most so many.

        Raises:
            DataError: nothing is left, or the limit is below 1.
        """
        if limit is not None and limit < 1:
            raise DataError(f"limit must be at least 1: got {limit}; leave it out for all samples")
        chosen = [
            row
            for row in self.rows(split)
            if (target_tokens is None or row.target_tokens == target_tokens)
            and (task_types is None or row.task_type in task_types)
            and (kinds is None or row.kind in kinds)
        ][:limit]
        if not chosen:
            asked = (
                f"split={split} target_tokens={target_tokens} task_types={task_types} kinds={kinds}"
            )
            raise DataError(
                f"task set {self.folder} has no samples with {asked}; see its {CARD_FILE}"
            )
        return [to_sample(row, self.folder) for row in chosen]


def answers_of(row: SampleRow) -> tuple[str, ...]:
    """Returns the gold answers in words: of a choice the option that its letter stands for."""
    options = row.passport.options if row.passport is not None else ()
    by_letter = dict(zip(ascii_uppercase, options, strict=False))
    return tuple(by_letter.get(target, target) for target in row.target)


def context_reference(row: SampleRow, folder: Path) -> dict[str, Any]:
    """Returns a sample's context as `longspan.harness.datasets.documents` resolves it."""
    return {"taskset": str(folder), "documents": list(row.documents)}


def to_sample(row: SampleRow, folder: Path) -> Sample:
    """Returns the Inspect sample of a stored row."""
    from inspect_ai.dataset import Sample  # heavy; reading a task set as data does not need it

    metadata: dict[str, Any] = {
        "question": row.question,
        "instructions": row.instructions,
        "context": context_reference(row, folder),
        "task_type": row.task_type,
        "scorer": row.scorer,
        "advantage_group": f"{row.task_type}/{row.scorer}",
        "kind": row.kind,
        "hops": row.hops,
        "input_tokens": row.input_tokens,
        "target_tokens": row.target_tokens,
        "document_group": row.document_group,
    }
    if row.passport is not None:
        metadata["passport"] = row.passport.model_dump(mode="json")
        if isinstance(row.passport.proof, RepeatProof):
            metadata[MRCR_PREFIX] = row.passport.proof.prefix
    target = row.target[0] if len(row.target) == 1 else list(row.target)
    question = render_question(row.question, row.instructions)
    return Sample(id=row.id, input=question, target=target, metadata=metadata)


def write_taskset(
    folder: Path,
    rows: Iterable[SampleRow],
    documents: Iterable[tuple[str, Document]],
    manifest: Mapping[str, Any],
    card: str,
    reports: Mapping[str, str] | None = None,
) -> TaskSet:
    """Writes a task set beside its place and renames it there; returns it opened.

    Args:
        folder: Where it appears; must not exist or be empty.
        rows: Samples.
        documents: (group, document); ids are unique.
        manifest: Everything but "format" and "files", which are added.
        card: Markdown for people.
        reports: Further texts by the names of their files.

    Raises:
        DataError: the folder holds something.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder} exists already; remove it or choose another folder")
    staging = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    write_table(staging / SAMPLES_FILE, map(_to_record, rows), _sample_schema())
    write_documents(staging, documents)
    texts = {CARD_FILE: card, **(reports or {})}
    for name, text in texts.items():
        (staging / name).write_text(text, "utf-8")
    listed = {
        name: {"sha256": file_hash(staging / name), "bytes": (staging / name).stat().st_size}
        for name in (SAMPLES_FILE, DOCUMENTS_FILE, *texts)
    }
    whole = {"format": FORMAT, **manifest, "files": listed}
    content = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    (staging / MANIFEST_FILE).write_text(content + "\n", "utf-8")
    staging.rename(folder)
    return TaskSet.open(folder)


def _sample_schema() -> pa.Schema:
    import pyarrow as pa  # heavy

    text, texts = pa.string(), pa.list_(pa.string())
    columns = {name: text for name in SampleRow.model_fields}
    columns |= {"target": texts, "documents": texts, "seed": pa.int64()}
    columns |= {name: pa.int32() for name in ("hops", "target_tokens", "input_tokens")}
    return pa.schema(list(columns.items()))


def _to_record(row: SampleRow) -> dict[str, Any]:
    record = row.model_dump(exclude={"passport"})
    passport = row.passport
    return {**record, "passport": None if passport is None else passport.model_dump_json()}


def _from_record(record: dict[str, Any]) -> SampleRow:
    passport = record["passport"]
    parsed = None if passport is None else Passport.model_validate_json(passport)
    return SampleRow.model_validate({**record, "passport": parsed})
