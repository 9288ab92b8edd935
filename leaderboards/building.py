"""Logs that are being read to a board that can be written."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path

from longspan.harness.files import file_hash
from longspan.leaderboards.declared import find_board
from longspan.leaderboards.explorer import as_script, explorer_data
from longspan.leaderboards.kept_estimates import kept_estimates
from longspan.leaderboards.logs import collect
from longspan.leaderboards.notes import (
    comparison_notes,
    content_notes,
    missing_notes,
    sampling_notes,
)
from longspan.leaderboards.options import BoardOptions
from longspan.leaderboards.readers import Reading
from longspan.leaderboards.views import build_board
from longspan.leaderboards.watch import BuiltBoard
from longspan.leaderboards.workers import Workers


def build(
    reading: Reading, options: BoardOptions, kept: Path | None, workers: Workers
) -> BuiltBoard:
    """Returns the board of logs.

    Args:
        reading: The logs.
        options: What it is asked to be.
        kept: Folder of what earlier builds have found; None: nothing is taken from there.
        workers: Other processes; one of them gets ready to draw.
    """
    notes, training = options.notes(), options.training_folder()
    declared = None if options.declared is None else find_board(options.declared)
    found = collect(reading)
    if reading.num_new:  # new logs make new pictures; not earlier: the logs were still being read
        workers.start(partial(import_module, "longspan.leaderboards.drawing"))
    with kept_estimates(kept):
        board = build_board(
            found,
            title=options.title,
            baseline=options.baseline,
            training=training,
            tasksets=options.tasksets,
            declared=declared,
        )
    if options.extra is not None:
        file = {"what": "notes", "name": options.extra.name, "sha256": file_hash(options.extra)}
        board["inputs"].append(file)
    missing = missing_notes(board["numbers"], options.training, options.declared)
    board["notes"] = [
        *missing,
        *comparison_notes(found.runs),
        *content_notes(found.conflicts),
        *sampling_notes(board["sources"]),
        *notes,
    ]
    if options.refresh_seconds is not None:
        board["refresh_seconds"] = options.refresh_seconds
    return BuiltBoard(
        board, lambda: as_script(explorer_data(found, board["baseline"])), tuple(missing)
    )
