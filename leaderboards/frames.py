"""Tables of rows to the frame that statistics and views read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from longspan.leaderboards.rows import COLUMNS, RECORDS, SCHEMA


def to_frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Returns the rows of runs, in the order of their runs, with `run` as their index in it."""
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    table = pa.concat_tables(tables)
    # Plain objects, each text once: the strings of Arrow are slow to go through one by one.
    frame = pd.DataFrame(
        {name: _column(table.column(name)) for name in SCHEMA.names}, columns=SCHEMA.names
    )
    sizes = [table.num_rows for table in tables]
    frame.insert(0, "run", [index for index, size in enumerate(sizes) for _ in range(size)])
    for name in RECORDS:
        # All of a column at once: a call of the parser for each costs more than the parsing.
        texts = (text if isinstance(text, str) else "null" for text in frame[name])
        records = json.loads(f"[{','.join(texts)}]")
        frame[name] = pd.Series(records, index=frame.index, dtype=object)
    return frame.sort_values(["run", "sample", "epoch"], kind="stable", ignore_index=True)


def _column(values: pa.ChunkedArray) -> pd.Series:
    if not pa.types.is_string(values.type):
        return pd.Series(values.to_numpy())
    encoded = values.combine_chunks().dictionary_encode()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    places = encoded.indices.fill_null(len(words) - 1).to_numpy()
    return pd.Series(words[places], dtype=object)
