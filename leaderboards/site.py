"""`longspan board`: logs to a static page, and JSON, CSV and Markdown.

This module imports little: while others read the logs, it imports what makes a board of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from longspan.harness.errors import naming
from longspan.leaderboards.cache import RowCache, default_cache
from longspan.leaderboards.options import BoardOptions
from longspan.leaderboards.publishing import require_replaceable
from longspan.leaderboards.readers import start_reading
from longspan.leaderboards.watch import BuiltBoard, look, watch_logs
from longspan.leaderboards.workers import Workers


def board_command(
    logs: Annotated[
        list[str],
        typer.Argument(
            help="Logs of Inspect, results of lm-eval, folders, patterns, or URLs of such."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("site"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Checkpoint that the others are compared with.")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="Folder of a training run (or a metrics.jsonl).")
    ] = None,
    taskset: Annotated[
        list[Path] | None, typer.Option(help="Task set for the data card (may be repeated).")
    ] = None,
    declared: Annotated[
        str | None,
        typer.Option("--board", help="Declared board: its name or its file (columns, average)."),
    ] = None,
    extra: Annotated[
        Path | None, typer.Option(help='JSON file with {"notes": ["...", ...]} for the page.')
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Read every log anew and keep nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and build again whenever the logs change.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks at the logs.")
    ] = 10.0,
) -> None:
    """Build the leaderboard from eval logs: a page that opens from disk, JSON, CSV and Markdown.

    Rows that were read are kept (in LONGSPAN_CACHE, or the user's folder for caches), so that only
    new logs are read the next time.
    """
    require_replaceable(out)
    options = BoardOptions(
        title=title,
        baseline=baseline,
        training=training,
        tasksets=tuple(taskset or ()),
        declared=declared,
        extra=extra,
        refresh_seconds=max(1, round(every)) if watch else None,
    )
    cache = None if no_cache else default_cache()
    others = [path for path in (training, extra) if path is not None]
    with Workers() as workers:

        def build() -> BuiltBoard:
            return _build(logs, options, cache, workers)

        def publish(built: BuiltBoard) -> None:
            _publish(built, out, workers)

        if watch:
            watch_logs(build, publish, lambda: look(logs, others), every)
        else:
            publish(build())


def _build(
    logs: list[str], options: BoardOptions, cache: RowCache | None, workers: Workers
) -> BuiltBoard:
    reading = start_reading(logs, cache, workers)
    # Not above: it brings pandas and scipy, a second in which other processes read.
    from longspan.leaderboards.building import build

    return build(reading, options, None if cache is None else cache.folder, workers)


def _publish(built: BuiltBoard, out: Path, workers: Workers) -> None:
    from longspan.leaderboards.site_files import write_site  # it brings pandas and scipy, too

    with naming(out):  # here, since --watch goes on after a full disk
        write_site(built, out, workers)
    board = built.board
    num_left_out = len(board["skipped"])
    left_out = f", {num_left_out} left out (the page says why)" if num_left_out else ""
    print(f"board: {out / 'index.html'} ({len(board['sources'])} logs{left_out})", flush=True)
    for warning in built.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
