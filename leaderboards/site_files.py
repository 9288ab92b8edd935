"""The files of a board: a static page that opens from disk, and JSON, CSV and Markdown.

All have the same numbers. Nothing is fetched from a network. Everything that comes from models and
data is escaped (Jinja's autoescape), or text inside a JSON string (the samples); the page's policy
forbids inline scripts and styles.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from longspan.leaderboards.markdown import to_markdown
from longspan.leaderboards.page import page_model
from longspan.leaderboards.plots import start_plots
from longspan.leaderboards.publishing import published
from longspan.leaderboards.tables import to_csv
from longspan.leaderboards.watch import BuiltBoard
from longspan.leaderboards.workers import Workers

HERE = Path(__file__).parent
STATIC = ("board.css", "board.js")
PLOTS = "plots"


def write_site(built: BuiltBoard, out: Path, workers: Workers) -> None:
    """Writes the page and its files: whole, or the board that was there before stays.

    Args:
        built: The board, with "notes".
        out: Folder; a board in it is replaced, and files of others stay.
        workers: Other processes, which draw.

    Raises:
        BoardError: the folder holds something else than a board.
    """
    out = out.absolute()
    with published(out) as folder:
        _write_files(built, folder, out / PLOTS, workers)


def _write_files(built: BuiltBoard, folder: Path, plots_before: Path, workers: Workers) -> None:
    board = built.board
    drawn = start_plots(board["numbers"], folder / PLOTS, plots_before, workers)
    try:
        for name in STATIC:
            shutil.copyfile(HERE / "static" / name, folder / name)
        _write(folder / "samples.js", built.samples_script)
        _write(folder / "board.json", board_json(board))
        _write(folder / "board.csv", to_csv(board))
        _write(folder / "board.md", to_markdown(board))
    finally:
        plots = drawn()  # in any case: nobody may write into a folder that is removed
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("index.html.jinja")
    page = template.render(page_model(board, plots), version=version("longspan"))
    _write(folder / "index.html", page)


def _write(path: Path, text: str) -> None:
    # A lone surrogate, which JSON may hold, is no UTF-8.
    path.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def board_json(board: Mapping[str, Any]) -> str:
    """Returns the board as JSON: the same text for the same logs."""
    return json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
