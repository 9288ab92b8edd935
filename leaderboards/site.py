"""`longspan board`: logs to a static page that opens from disk, with the same numbers as JSON, CSV and Markdown.

Nothing is fetched from a network. Everything that comes from models and data is escaped (Jinja's autoescape), or text
inside a JSON string (the samples); the page's policy forbids inline scripts and styles.
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
from longspan.leaderboards.explorer import as_script, explorer_data
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.page import page_model
from longspan.leaderboards.plots import draw_plots
from longspan.leaderboards.tables import to_csv, to_markdown
from longspan.leaderboards.views import build_board

HERE = Path(__file__).parent
STATIC = ("board.css", "board.js")
PLOTS = "plots"


def board_command(
    logs: Annotated[list[Path], typer.Argument(help="Eval logs, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("site"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Checkpoint that the others are compared with.")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="Folder of a training run, for its curves.")
    ] = None,
    extra: Annotated[
        Path | None, typer.Option(help='JSON file with {"notes": ["...", ...]} for the page.')
    ] = None,
) -> None:
    """Build the leaderboard from eval logs: a page that opens from disk, JSON, CSV and Markdown."""
    notes = _read_notes(extra)
    found = read_logs(logs)
    board = build_board(found, title=title, baseline=baseline, training=training)
    board["notes"] = notes
    write_site(board, as_script(explorer_data(found, baseline)), out)
    num_left_out = len(board["skipped"])
    left_out = f", {num_left_out} logs left out (the page says why)" if num_left_out else ""
    print(f"board: {out / 'index.html'} ({len(board['sources'])} logs{left_out})")


def write_site(board: Mapping[str, Any], samples_script: str, out: Path) -> None:
    """Writes the page and its files; `index.html` comes last, each file whole or not at all.

    Args:
        board: As `views.build_board` returns it, with "notes".
        samples_script: As `explorer.as_script` returns it.
        out: Folder; other files in it are left alone.
    """
    out.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(board["numbers"], out / PLOTS)
    for path in (out / PLOTS).glob("*.*"):
        if path.stem not in {plot.name for plot in plots} and path.suffix in (".svg", ".png"):
            path.unlink()  # of a board that was here before
    for name in STATIC:
        shutil.copyfile(HERE / "static" / name, out / name)
    _write(out / "samples.js", samples_script)
    _write(out / "board.json", board_json(board))
    _write(out / "board.csv", to_csv(board))
    _write(out / "board.md", to_markdown(board))
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("index.html.jinja")
    page = template.render(page_model(board, plots), version=version("longspan"))
    _write(out / "index.html", page)


def board_json(board: Mapping[str, Any]) -> str:
    """Returns the board as JSON: the same text for the same logs."""
    return json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    os.replace(temporary, path)


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
