"""`longspan export`: a task set as JSON lines with whole prompts, for other frameworks.

A prompt is what the task shows to a model whose window holds all of it: rendered by the functions
that evaluation and training use. One line is written at a time, so memory does not grow with the
number of samples. What a line looks like is declared (`FORMATS`).
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import typer

from longspan.harness.datasets.documents import resolve_context
from longspan.harness.errors import DataError
from longspan.harness.files import written_whole
from longspan.harness.prompts import render_prompt
from longspan.harness.taskset import SampleRow, Split, TaskSet, context_reference

Format = Literal["longspan", "openrlhf", "trl", "verl"]
FORMATS: dict[Format, dict[str, str]] = {
    "longspan": {
        "id": "id",
        "split": "split",
        "kind": "kind",
        "task_type": "task_type",
        "scorer": "scorer",
        "prompt": "prompt",
        "target": "targets",
        "hops": "hops",
        "input_tokens": "input_tokens",
    },
    # --input_key prompt --label_key label --apply_chat_template
    "openrlhf": {
        "prompt": "messages",
        "label": "target",
        "datasource": "taskset",
        "id": "id",
        "task_type": "task_type",
        "scorer": "scorer",
    },
    # Conversational prompt-only form; reward functions are given the other columns.
    "trl": {
        "prompt": "messages",
        "answer": "target",
        "id": "id",
        "task_type": "task_type",
        "scorer": "scorer",
    },
    "verl": {
        "data_source": "taskset",
        "prompt": "messages",
        "ability": "task_type",
        "reward_model.style": "=rule",
        "reward_model.ground_truth": "target",
        "extra_info.split": "split",
        "extra_info.index": "index",
        "extra_info.id": "id",
        "extra_info.scorer": "scorer",
    },
}
"""Format -> key of the line (dots nest) -> name of a value (`VALUES`), or "=" and a text."""
VALUES = (
    *("id", "index", "split", "kind", "task_type", "scorer", "hops", "input_tokens"),
    *("target_tokens", "document_group", "taskset", "question", "instructions", "context"),
    *("prompt", "messages", "target", "targets", "passport"),
)
"""What a field may hold: of the sample; `prompt` is the text, `messages` the same as a chat."""


def export_command(
    taskset: Annotated[Path, typer.Argument(help="Folder of the task set.")],
    out: Annotated[Path, typer.Option(help="File to write (.jsonl, or .jsonl.gz).")],
    split: Annotated[Split | None, typer.Option(help="Only this split.")] = None,
    format: Annotated[Format, typer.Option(help="Whose keys the lines have.")] = "longspan",
    messages: Annotated[
        bool, typer.Option("--messages", help="Prompts as chats instead of texts.")
    ] = False,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Further field KEY=VALUE_NAME, dots nest (may be repeated)."),
    ] = None,
    passports: Annotated[
        bool, typer.Option("--passports", help="Add the passport of every sample.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Write a task set as JSON lines with whole prompts, for other frameworks."""
    opened = TaskSet.open(taskset)
    fields = dict(FORMATS[format])
    if messages:
        fields = {key: "messages" if name == "prompt" else name for key, name in fields.items()}
    fields |= parse_fields(field or ())
    if passports:
        fields["passport"] = "passport"
    rows = opened.rows(split)
    if not rows:
        raise DataError(f"task set {taskset} has no samples with split={split}; see its card.md")
    with _text_file(out) as file:
        size = sum(file.write(line) for line in export_lines(opened, rows, fields))
    if not quiet:
        print(f"{len(rows)} samples: {out} ({size / 1e6:.1f} million characters as JSON lines)")


def export_lines(
    taskset: TaskSet, rows: Sequence[SampleRow], fields: Mapping[str, str]
) -> Iterator[str]:
    """Yields a line of JSON for each sample, its context materialised.

    Raises:
        DataError: a document of a context is missing.
    """
    for index, row in enumerate(rows):
        values = sample_values(taskset, row) | {"index": index}
        record: dict[str, Any] = {}
        for key, name in fields.items():
            *parents, last = key.split(".")
            place = record
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = name[1:] if name.startswith("=") else values[name]
        yield json.dumps(record, ensure_ascii=False) + "\n"


def sample_values(taskset: TaskSet, row: SampleRow) -> dict[str, Any]:
    """Returns the values of a sample that fields may hold, all but `index`."""
    context = resolve_context({"context": context_reference(row, taskset.folder)})
    prompt = render_prompt(context, row.question, row.instructions)
    own = row.model_dump(mode="json")
    return {name: own[name] for name in VALUES if name in own} | {
        "taskset": taskset.name,
        "context": context,
        "prompt": prompt,
        "messages": [{"role": "user", "content": prompt}],
        "target": row.target[0],
        "targets": list(row.target),
    }


def parse_fields(given: Sequence[str]) -> dict[str, str]:
    """Returns fields from texts "key=value name" or "key==text".

    Raises:
        DataError: a text is neither, or names a value that there is not.
    """
    fields = {}
    for text in given:
        key, _, name = text.partition("=")
        if not key or not name or not all(key.split(".")):
            raise DataError(
                f"field is not KEY=VALUE_NAME: {text!r}; write for example label=target"
            )
        if not name.startswith("=") and name not in VALUES:
            raise DataError(f"unknown value {name!r} of field {key!r}; use {', '.join(VALUES)}")
        fields[key] = name
    return fields


@contextmanager
def _text_file(path: Path) -> Iterator[IO[str]]:
    """Gives a file to write text to, compressed where its name says so; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, partial.open("wb") as raw:
        # No name and no time in the header: the same samples give the same bytes.
        packs = path.suffix == ".gz"
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packs else nullcontext(raw)
        with packed as binary, io.TextIOWrapper(binary, "utf-8", newline="\n") as file:
            yield file
