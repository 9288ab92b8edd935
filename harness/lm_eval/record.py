"""What longspan adds to the files of an lm-eval run: a record of who ran what, and their hashes.

lm-eval's files name a model by its path and know nothing of its weights. The record lies beside
them, is written last, and makes a folder whole: every file that it names is there, unchanged. Files
of a plain `lm_eval` run have no record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from longspan.harness.errors import DataError, one_line
from longspan.harness.files import file_hash, read_text

RECORD_FILE = "longspan.json"
COUNTS_KEY = "longspan"
"""Key of a row of a samples file under which our token counts stand (see `TokenCounts`)."""


class LmEvalRecord(BaseModel):
    """One finished run of lm-eval by `longspan lm-eval`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    """Version of this record."""

    task: str
    """Task, group or tag of lm-eval, as it was asked for."""

    checkpoint: str
    """Label of the checkpoint."""

    checkpoint_hash: str | None
    """Hash of its weights, as `longspan eval` writes it into logs."""

    model: str
    """Name of the model, with its provider."""

    settings: dict[str, Any]
    """Settings of the run; those of generation only where the task generates."""

    versions: dict[str, str]
    """Package -> version."""

    files: dict[str, str]
    """Name of a file of lm-eval beside the record -> SHA-256 of its bytes."""


class TokenCounts(BaseModel):
    """What one sample cost, counted with the model's tokenizer after the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int
    """Requests to the model: one per choice of a multiple-choice task."""

    input_tokens: int
    """Tokens of all requests, before lm-eval cut them to the window."""

    output_tokens: int
    """Tokens of generated text."""

    tokens_dropped: int
    """Tokens at the left end of a request that did not fit; of the longest request."""


def write_record(folder: Path, record: LmEvalRecord) -> None:
    """Writes the record of a folder, with the hashes of the files that are there now."""
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    text = record.model_copy(update={"files": files}).model_dump_json(indent=1) + "\n"
    (folder / RECORD_FILE).write_text(text, encoding="utf-8")


def read_record(folder: Path) -> LmEvalRecord | None:
    """Returns the record of a folder, None where it has none.

    Raises:
        DataError: the record cannot be read, or a file that it names is missing or was changed.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        record = LmEvalRecord.model_validate_json(read_text(path))
    except (DataError, ValidationError) as error:
        reason = "not UTF-8 text" if isinstance(error, DataError) else one_line(str(error), 120)
        raise DataError(f"damaged {RECORD_FILE} ({reason}); run the evaluation again") from error
    for name, expected in record.files.items():
        file = folder / Path(name).name
        if not file.is_file():
            raise DataError(f"{file.name} is missing; run the evaluation again")
        if file_hash(file) != expected:
            raise DataError(f"{file.name} is not as it was written; run the evaluation again")
    return record
