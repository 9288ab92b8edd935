"""`longspan board`: logs to a static page that opens from disk, and JSON, CSV and Markdown.

All have the same numbers. Nothing is fetched from a network. Everything that comes from models and
data is escaped (Jinja's autoescape), or text inside a JSON string (the samples); the page's policy
forbids inline scripts and styles.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from longspan.harness.errors import BoardError
from longspan.leaderboards.cache import default_cache
from longspan.leaderboards.declared import find_board
from longspan.leaderboards.explorer import as_script, explorer_data
from longspan.leaderboards.kept_estimates import kept_estimates
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.notes import comparison_notes, sampling_notes
from longspan.leaderboards.page import page_model
from longspan.leaderboards.plots import draw_plots
from longspan.leaderboards.tables import to_csv, to_markdown
from longspan.leaderboards.views import build_board
from longspan.leaderboards.watch import BuiltBoard, look, watch_logs

HERE = Path(__file__).parent
STATIC = ("board.css", "board.js")
PLOTS = "plots"


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
    _require_replaceable(out)  # before the work, not after it
    cache = None if no_cache else default_cache()

    def build() -> BuiltBoard:
        notes = _read_notes(extra)
        curves = _training_folder(training)
        found = read_logs(logs, cache)
        with kept_estimates(cache and cache.folder):
            board = build_board(
                found,
                title=title,
                baseline=baseline,
                training=curves,
                tasksets=taskset or (),
                declared=None if declared is None else find_board(declared),
            )
        board["notes"] = [*comparison_notes(found.runs), *sampling_notes(board["sources"]), *notes]
        if watch:
            board["refresh_seconds"] = max(1, round(every))
        return BuiltBoard(board, as_script(explorer_data(found, board["baseline"])))

    if watch:
        others = [path for path in (training, extra) if path is not None]
        watch_logs(build, lambda built: _publish(built, out), lambda: look(logs, others), every)
    else:
        _publish(build(), out)


def _publish(built: BuiltBoard, out: Path) -> None:
    board = built.board
    write_site(board, built.samples_script, out)
    num_left_out = len(board["skipped"])
    left_out = f", {num_left_out} logs left out (the page says why)" if num_left_out else ""
    print(f"board: {out / 'index.html'} ({len(board['sources'])} logs{left_out})", flush=True)


def write_site(board: Mapping[str, Any], samples_script: str, out: Path) -> None:
    """Writes the page and its files: whole, or the board that was there before stays.

    Args:
        board: As `views.build_board` returns it, with "notes".
        samples_script: As `explorer.as_script` returns it.
        out: Folder; a board in it is replaced.

    Raises:
        BoardError: the folder holds something else.
    """
    out = out.absolute()
    _require_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _write_files(board, samples_script, staging, out / PLOTS)
        old = out.with_name(f".{out.name}.old-{os.getpid()}")
        if out.exists():
            out.rename(old)
        try:
            staging.rename(out)
        except BaseException:  # Ctrl-C between the two
            if old.exists() and not out.exists():
                old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _require_replaceable(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "board.json").is_file():
        raise BoardError(f"{out} holds other files than a board; choose another --out or empty it")


def _write_files(
    board: Mapping[str, Any], samples_script: str, folder: Path, plots_before: Path
) -> None:
    folder.mkdir()
    plots = draw_plots(board["numbers"], folder / PLOTS, plots_before)
    for name in STATIC:
        shutil.copyfile(HERE / "static" / name, folder / name)
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("index.html.jinja")
    texts = {
        "samples.js": samples_script,
        "board.json": board_json(board),
        "board.csv": to_csv(board),
        "board.md": to_markdown(board),
        "index.html": template.render(page_model(board, plots), version=version("longspan")),
    }
    for name, text in texts.items():
        # A lone surrogate, which JSON may hold, is no UTF-8.
        (folder / name).write_text(text, encoding="utf-8", errors="replace", newline="\n")


def board_json(board: Mapping[str, Any]) -> str:
    """Returns the board as JSON: the same text for the same logs."""
    return json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _training_folder(path: Path | None) -> Path | None:
    if path is not None and not path.exists():
        raise BoardError(f"no such training run: {path}; give its folder, or leave --training out")
    return path.parent if path is not None and path.is_file() else path


def _read_notes(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        notes = json.loads(path.read_text("utf-8")).get("notes", [])
    except (ValueError, AttributeError) as error:
        raise BoardError(f'{path} is not JSON of the form {{"notes": [...]}} ({error})') from error
    if not isinstance(notes, list):
        raise BoardError(f"notes of {path} are not a list but {type(notes).__name__}; use a list")
    return [str(note) for note in notes]
