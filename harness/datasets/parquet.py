"""Parquet tables of a task set: written in batches, read whole; a damaged one is one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longspan.harness.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_BATCH_ROWS = 2048


def write_table(path: Path, records: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Writes records to a table, a few thousand in memory at a time."""
    import pyarrow as pa  # heavy; reading the schema of a row does not need it
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(records):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Returns a table, or some of its columns.

    Raises:
        DataError: the file is missing or damaged.
    """
    import pyarrow as pa  # heavy; writing needs it elsewhere
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"damaged table: {path} ({error}); build the task set again") from error


def _batches(records: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for record in records:
        batch.append(record)
        if len(batch) == _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
