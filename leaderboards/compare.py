"""`longspan compare`: what the logs say about two checkpoints, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longspan.harness.errors import BoardError
from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.views import (
    Entry,
    checkpoint_differences,
    make_entries,
    require_checkpoint,
)

STYLES = {"better": "green", "worse": "red", "cannot tell": "yellow"}


def compare_command(
    logs: Annotated[list[Path], typer.Argument(help="Eval logs, or folders of them.")],
    a: Annotated[str, typer.Argument(help="Checkpoint that is judged.")],
    b: Annotated[str, typer.Argument(help="Checkpoint that it is compared with.")],
) -> None:
    """Compare checkpoint A with checkpoint B on the samples that both have answered."""
    read = read_logs(logs)
    entries = make_entries(read, baseline=b)
    require_checkpoint([entry.label for entry in entries], a)
    chosen = [entry for entry in entries if entry.label.checkpoint in (a, b)]
    rows = checkpoint_differences(chosen, baseline=b)
    if a == b or not rows:
        raise BoardError(
            f"{a} and {b} share no task, length and solver; evaluate both the same way first"
        )
    console = Console(soft_wrap=False)
    console.print(comparison_table(rows, chosen, a, b))
    console.print(
        "Paired over shared samples, 95% intervals by document group; verdicts at 5% with Holm's "
        f"correction for {len(rows)} comparison{'s' * (len(rows) > 1)}.",
        style="dim",
    )
    if read.skipped:
        console.print(f"{len(read.skipped)} logs left out; the first: ", style="dim", end="")
        console.print(Text(str(read.skipped[0])))


def comparison_table(
    rows: Sequence[Mapping[str, Any]], entries: Sequence[Entry], a: str, b: str
) -> Table:
    """Returns the differences as a table; names are shown as they are, never as markup."""
    means = {(e.label.checkpoint, *e.label.condition): e for e in entries}
    table = Table(title=Text(f"{a} minus {b}, in points"), title_justify="left")
    for name in ("task", "length", "solver"):
        table.add_column(name, overflow="fold")
    for name in (Text(a), Text(b), "difference", "95% interval", "n"):
        table.add_column(name, justify="right")
    table.add_column("verdict", overflow="fold")
    for row in rows:
        condition = (row["task"], row["input_over_window"], row["solver"])
        low, high = row["interval"]
        table.add_row(
            Text(str(row["task"])),
            Text("" if condition[1] is None else f"{condition[1]}x"),
            Text(str(row["solver"])),
            *(_percent(means[(name, *condition)]) for name in (a, b)),
            f"{100 * row['mean']:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}",
            str(row["num_samples"]),
            Text(verdict_words(row), style=STYLES[row["verdict"]]),
        )
    return table


def verdict_words(row: Mapping[str, Any]) -> str:
    """Returns the verdict, and about how many samples would tell where these do not."""
    needed = row["num_samples_needed"]
    return f"{row['verdict']}, needs about {needed:,} samples" if needed else str(row["verdict"])


def _percent(entry: Entry) -> str:
    return f"{100 * sum(entry.scores.values()) / len(entry.scores):.1f}"
