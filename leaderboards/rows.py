"""What every harness's results become: one run, and one row per sample and epoch.

Rows are kept as Arrow tables of one schema, so that what was read from a log and what was kept from
it earlier (`leaderboards.cache`) are the same to the last bit. Long texts lose their middle here: a
board shows the ends, and a hundred logs of long completions would not fit into memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

Row = Mapping[str, Any]
"""Values by the names of `SCHEMA`; what is not given is missing."""

SET_ASIDE = (".damaged", ".failed")
"""Endings of logs and folders that `longspan eval` and `longspan lm-eval` have set aside."""

SCHEMA = pa.schema(
    [
        ("sample", pa.string()),
        ("epoch", pa.int64()),
        ("value", pa.float64()),
        ("compat", pa.float64()),
        ("validity", pa.string()),
        ("task_type", pa.string()),
        ("kind", pa.string()),
        ("hops", pa.float64()),
        ("document_group", pa.string()),
        ("input_length", pa.float64()),
        ("depth", pa.float64()),
        ("truncation", pa.string()),
        ("memory", pa.string()),
        ("content", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("completion", pa.string()),
        ("target", pa.string()),
        ("input_tokens", pa.float64()),
        ("output_tokens", pa.float64()),
        ("calls", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
    ]
)
"""Columns of a row.

`compat`: what the authors' released code gives, where the scorer knows it. `input_length`: tokens
of the context before any cut. `depth`: where the evidence stands in the context, a fraction in
[0, 1]; the mean where it stands in several places. `content`: hash of the question and the gold
answer, missing where a sample's id has it already. `truncation` and `memory`: records of the
solvers, as JSON without what is nested in them.
"""
RECORDS = ("truncation", "memory")
TEXTS = ("question", "answer", "completion", "target", "error")
COLUMNS = ("run", *SCHEMA.names)
CONTENT_CHARS = 16
MAX_NAME_CHARS = 120
MAX_TEXT_CHARS = 1600
"""Longest text that is kept of `TEXTS`; the middle of a longer one is left out."""

_LEFT_OUT = re.compile(r" \[\.\.\. (\d+) characters left out \.\.\.\] ")


@dataclass(frozen=True)
class Run:
    """One finished evaluation: a task read by a solver with a checkpoint under settings."""

    log: str
    """File name of the log."""
    log_hash: str
    eval_id: str
    created: str
    task: str
    task_version: str
    checkpoint: str
    checkpoint_hash: str | None
    solver: str
    solver_args: Mapping[str, Any]
    input_over_window: float | None
    """Length of the documents in windows of the model."""
    step: int | None
    recipe_hash: str | None
    settings: Mapping[str, Any]
    epochs: int
    num_samples: int
    """Samples and epochs that the log should hold."""
    seconds: float
    """Wall time of the evaluation, of its last start where it was resumed."""
    task_args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the task, defaults included, without those that say where its data are."""
    harness: str = "inspect"
    """What has run it: `inspect` or `lm-eval`."""
    metric: str = "score"
    """What the values are: the scorer's name in Inspect, the metric's in lm-eval."""
    generates: bool = True
    """Whether the model writes; a choice by likelihood is not sampled."""
    judge: str | None = None
    """Model that judged, several joined by " + "; None where no judge had a say."""
    judge_prompts: Mapping[str, str] = field(default_factory=dict)
    """Form of the judge's prompt -> its hash, for the forms that were used."""
    scoring: Mapping[str, Any] = field(default_factory=dict)
    """How rules were applied, where not by default: `scoring`, `judge_mode`, `require_phrase`."""
    sample_set: str = ""
    """Hash of the ids of the samples; equal for runs of the same samples."""
    suite: str | None = None
    """Suite that the run was part of."""

    @property
    def identity(self) -> str:
        """What makes two logs the same evaluation; one of them counts then.

        Not the samples: of a trial on a few samples and a run on all, the latter counts. Not the
        judge's prompts: which were used depends on the answers.
        """
        parts = [self.task, self.task_version, self.checkpoint, self.checkpoint_hash, self.solver]
        more = [self.solver_args, self.input_over_window, self.settings, self.epochs]
        last = [self.task_args, self.metric, self.judge, self.scoring]
        return json.dumps([*parts, *more, *last], sort_keys=True, default=str)

    def to_json(self) -> str:
        """Returns the fields as JSON."""
        return json.dumps(asdict(self), sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Returns the run that `to_json` wrote."""
        return cls(**json.loads(text))


def to_table(rows: Iterable[Row]) -> pa.Table:
    """Returns rows as a table of `SCHEMA`; a value of the wrong kind becomes a missing one."""
    rows = list(rows)
    return pa.table(
        {
            column.name: pa.array(
                [_cell(row.get(column.name), column) for row in rows], column.type
            )
            for column in SCHEMA
        },
        schema=SCHEMA,
    )


def sample_set(ids: Iterable[str]) -> str:
    """Returns the hash of a set of sample ids."""
    text = json.dumps(sorted(set(ids)))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def content_hash(question: str | Sequence[str], gold: Sequence[str]) -> str:
    """Returns the hash of what is asked and what is right."""
    text = json.dumps([question, gold])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:CONTENT_CHARS]


def short_name(name: str) -> str:
    """Returns a checkpoint's name; of a path only the last part, for pages are read elsewhere."""
    inner = name.removeprefix("longspan-local/")
    is_path = inner.startswith(("/", ".", "~")) or inner.count("/") > 2
    return bounded(Path(inner).name or name if is_path else inner)


def bounded(text: object, chars: int = MAX_NAME_CHARS) -> str:
    """Returns a name that can stand in a table or a terminal: in one line, and not too long.

    A name that had to be changed ends with a hash of what it was, so that it stays another one.
    """
    whole = str(text)
    shown = "".join(character if character.isprintable() else " " for character in whole)
    if shown == whole and len(whole) <= chars:
        return whole
    mark = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{shown[: chars - len(mark) - 2].rstrip()}\u2026 {mark}"


def shorten(text: object, chars: int = MAX_TEXT_CHARS) -> str:
    """Returns a text of about `chars` characters at most: its beginning and its end.

    What was left out of the text before is counted as left out.
    """
    whole = str(text)
    if len(whole) <= chars:
        return whole
    half = chars // 2
    head, middle, tail = whole[:half], whole[half:-half], whole[-half:]
    earlier = _LEFT_OUT.search(middle)
    num_left_out = len(middle)
    if earlier is not None:
        num_left_out += int(earlier[1]) - len(earlier[0])
    return f"{head} [... {num_left_out} characters left out ...] {tail}"


def scalars(record: object) -> dict[str, Any] | None:
    """Returns the entries of a record that are single values; None where it is no record."""
    if not isinstance(record, Mapping):
        return None
    return {str(k): v for k, v in record.items() if v is None or isinstance(v, str | int | float)}


def finite(value: Any) -> float | None:
    """Returns a finite number, None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _cell(value: Any, column: pa.Field) -> Any:
    if column.name in RECORDS:
        record = scalars(value)
        return None if record is None else json.dumps(record, sort_keys=True)
    if pa.types.is_string(column.type):
        cut = shorten if column.name in TEXTS else bounded
        text = None if value is None else cut(value)
        # A lone surrogate, which JSON may hold, is no UTF-8.
        return None if text is None else text.encode("utf-8", "replace").decode()
    number = finite(value)
    return int(number or 0) if pa.types.is_integer(column.type) else number
