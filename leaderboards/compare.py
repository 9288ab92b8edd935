"""`longspan compare`: what the logs say about two checkpoints, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longspan.harness.errors import BoardError
from longspan.leaderboards.cache import default_cache
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.notes import comparison_notes
from longspan.leaderboards.views import (
    Entry,
    checkpoint_differences,
    make_entries,
    require_checkpoint,
)

PLAIN_WIDTH = 140
"""Columns where the output is no terminal."""
STYLES = {"better": "green", "worse": "red", "cannot tell": "yellow"}


def compare_command(
    logs: Annotated[
        list[str],
        typer.Argument(
            help="Logs of Inspect, results of lm-eval, folders, patterns, or URLs of such."
        ),
    ],
    a: Annotated[str, typer.Argument(help="Checkpoint that is judged.")],
    b: Annotated[str, typer.Argument(help="Checkpoint that it is compared with.")],
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Read every log anew and keep nothing.")
    ] = False,
) -> None:
    """Compare checkpoint A with checkpoint B on the samples that both have answered."""
    read = read_logs(logs, None if no_cache else default_cache())
    entries = make_entries(read, baseline=b)
    require_checkpoint([entry.label for entry in entries], a)
    chosen = [entry for entry in entries if entry.label.checkpoint in (a, b)]
    rows = checkpoint_differences(chosen, baseline=b)
    if a == b or not rows:
        raise BoardError(
            f"{a} and {b} share no task, length and solver; evaluate both the same way first"
        )
    console = Console()
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    console.print(comparison_table(rows, chosen, a, b))
    console.print(
        "Paired over shared samples, 95% intervals by document group; verdicts at 5% with Holm's "
        f"correction for {len(rows)} comparison{'s' * (len(rows) > 1)}; needs: about how many "
        "samples would show a difference of this size.",
        style="dim",
    )
    for note in comparison_notes([entry.run for entry in chosen]):
        console.print(Text(note, style="dim"))
    if read.skipped:
        console.print(f"{len(read.skipped)} logs left out; the first: ", style="dim", end="")
        console.print(Text(str(read.skipped[0])))


def comparison_table(
    rows: Sequence[Mapping[str, Any]], entries: Sequence[Entry], a: str, b: str
) -> Table:
    """Returns the differences as a table; names are shown as they are, never as markup."""
    means = {(e.label.checkpoint, *e.label.condition): e for e in entries}
    title = Text(f"{a} minus {b}, in points")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("task", "solver"):
        table.add_column(name, overflow="fold")
    for header in (Text(a), Text(b), "diff.", "95% interval", "n"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("needs", justify="right", no_wrap=True)
    for row in rows:
        condition = (row["task"], row["input_over_window"], row["solver"])
        low, high = row["interval"]
        needed = row["num_samples_needed"]
        table.add_row(
            Text(_task(row)),
            Text(str(row["solver"]).replace("_", " ")),
            *(_percent(means[(name, *condition)]) for name in (a, b)),
            f"{100 * row['mean']:+.1f}",
            f"{100 * low:+.1f}, {100 * high:+.1f}",
            str(row["num_samples"]),
            Text(row["verdict"], style=STYLES[row["verdict"]]),
            f"{needed:,}" if needed else "",
        )
    return table


def _task(row: Mapping[str, Any]) -> str:
    length = "" if row["input_over_window"] is None else f"{row['input_over_window']}x"
    return str(row["task"]) if str(row["task"]).endswith(length) else f"{row['task']} at {length}"


def _percent(entry: Entry) -> str:
    return f"{100 * sum(entry.scores.values()) / len(entry.scores):.1f}"
