"""`longspan compare`: what the logs say about two checkpoints, in the terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longspan.harness.errors import BoardError
from longspan.leaderboards.cache import default_cache
from longspan.leaderboards.differences import checkpoint_differences
from longspan.leaderboards.entries import Entry, make_entries, require_checkpoint
from longspan.leaderboards.logs import Logs, read_logs
from longspan.leaderboards.notes import comparison_notes, content_notes
from longspan.leaderboards.suite_comparison import boards_to_compare, compare_suite
from longspan.leaderboards.views import rounded

PLAIN_WIDTH = 140
"""Columns where the output is no terminal."""
STYLES = {"better": "green", "worse": "red", "cannot tell": "yellow"}
WORSE = 1
"""Exit code of --check where A is worse."""


def compare_command(
    logs: Annotated[
        list[str],
        typer.Argument(
            help="Logs of Inspect, results of lm-eval, folders, patterns, or URLs of such."
        ),
    ],
    a: Annotated[str, typer.Argument(help="Checkpoint that is judged.")],
    b: Annotated[str, typer.Argument(help="Checkpoint that it is compared with.")],
    board: Annotated[
        str | None,
        typer.Option(help="Declared board whose average is compared; else all that are complete."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, fractions in [0, 1].")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where A is worse on a task or an average.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Read every log anew and keep nothing.")
    ] = False,
) -> None:
    """Compare checkpoint A with checkpoint B on the samples that both have answered.

    A and B may also stand before the logs.
    """
    logs, a, b = _ordered(logs, a, b)
    specs = boards_to_compare(board)
    read = read_logs(logs, None if no_cache else default_cache())
    entries = make_entries(read, baseline=b)
    require_checkpoint([entry.label for entry in entries], a)
    chosen = [entry for entry in entries if entry.label.checkpoint in (a, b)]
    rows = checkpoint_differences(chosen, baseline=b)
    if a == b or not rows:
        raise BoardError(
            f"{a} and {b} share no task, length and solver; evaluate both the same way first"
        )
    suites = [compare_suite(spec, chosen, a, b) for spec in specs]
    suites = [suite for suite in suites if suite["difference"] or board]
    tasks = {entry.run.task for entry in chosen}
    notes = comparison_notes([entry.run for entry in chosen])
    notes += content_notes(one for one in read.conflicts if one.task in tasks)
    if as_json:
        print(json.dumps(_as_json(a, b, rows, suites, read, notes), indent=1, allow_nan=False))
    else:
        _show(comparison_table(rows, chosen, a, b, suites), len(rows), suites, read, notes)
    found = [row["verdict"] for row in [*rows, *(s["difference"] for s in suites)] if row]
    if check and "worse" in found:
        raise typer.Exit(WORSE)


def comparison_table(
    rows: Sequence[Mapping[str, Any]],
    entries: Sequence[Entry],
    a: str,
    b: str,
    suites: Sequence[Mapping[str, Any]] = (),
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
        both = [_mean(means[(name, *condition)]) for name in (a, b)]
        _add(table, _task(row), str(row["solver"]).replace("_", " "), both, row)
    for suite in suites:
        if suite["difference"]:
            both = [suite["averages"][name]["mean"] for name in (a, b)]
            _add(table, f"average: {suite['title']}", "", both, suite["difference"])
    return table


def _add(
    table: Table, name: str, solver: str, both: Sequence[float], row: Mapping[str, Any]
) -> None:
    low, high = row["interval"]
    needed = row["num_samples_needed"]
    table.add_row(
        Text(name),
        Text(solver),
        *(f"{100 * mean:.1f}" for mean in both),
        f"{100 * row['mean']:+.1f}",
        f"{100 * low:+.1f}, {100 * high:+.1f}",
        str(row["num_samples"]),
        Text(row["verdict"], style=STYLES[row["verdict"]]),
        f"{needed:,}" if needed else "",
    )


def _show(
    table: Table,
    num_rows: int,
    suites: Sequence[Mapping[str, Any]],
    read: Logs,
    notes: Sequence[str],
) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    console.print(table)
    console.print(
        "Paired over shared samples, 95% intervals by document group; verdicts at 5% with Holm's "
        f"correction for {num_rows} comparison{'s' * (num_rows > 1)}; needs: about how many "
        "samples would show a difference of this size.",
        style="dim",
    )
    for suite in suites:
        if suite["missing"]:
            names = ", ".join(suite["missing"])
            console.print(Text(f"No average of {suite['board']}; it lacks: {names}", style="dim"))
    for note in notes:
        console.print(Text(note, style="dim"))
    if read.skipped:
        console.print(f"{len(read.skipped)} logs left out; the first: ", style="dim", end="")
        console.print(Text(str(read.skipped[0])))


def _as_json(
    a: str,
    b: str,
    rows: Sequence[Mapping[str, Any]],
    suites: Sequence[Mapping[str, Any]],
    read: Logs,
    notes: Sequence[str],
) -> Any:
    skipped = [{"place": one.place, "reason": one.reason} for one in read.skipped]
    content = {"a": a, "b": b, "tasks": list(rows), "averages": list(suites)}
    content |= {"notes": list(notes), "skipped": skipped}
    return rounded(content)


def _ordered(logs: Sequence[str], a: str, b: str) -> tuple[list[str], str, str]:
    """Returns logs and names, also where the names stand first: what is no path is a name."""
    given = [*map(str, logs), a, b]
    if Path(given[-1]).exists() and not Path(given[0]).exists():
        return given[2:], given[0], given[1]
    return list(logs), a, b


def _task(row: Mapping[str, Any]) -> str:
    length = "" if row["input_over_window"] is None else f"{row['input_over_window']}x"
    return str(row["task"]) if str(row["task"]).endswith(length) else f"{row['task']} at {length}"


def _mean(entry: Entry) -> float:
    return sum(entry.scores.values()) / len(entry.scores)
