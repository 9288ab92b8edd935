"""What a quickstart found, as `summary.json` and as the lines its user reads.

Every figure is taken from the board's `numbers`; nothing is computed a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longspan.harness.errors import DataError

BASE, TRAINED, CEILING = "nano", "trained", "nano-ceiling"
FULL, AGENT = "full_context", "memory_agent"
_PACKAGES = ("longspan", "inspect_ai", "torch", "transformers", "numpy")

Row = Mapping[str, Any]


def write_summary(out: Path, seed: int, seconds: float) -> str:
    """Writes OUT/summary.json from the board and returns the text to print.

    Args:
        out: Folder of the quickstart.
        seed: Its seed.
        seconds: Wall time of this invocation.

    Raises:
        DataError: the board lacks an evaluation that the summary needs.
    """
    board = json.loads((out / "board" / "board.json").read_text("utf-8"))
    summary = summarize(board, seed)
    summary["cost"] = {
        "evaluation": dict(board["cost"]["totals"]),
        "training": training_cost(out / "training"),
        "wall_seconds_of_this_run": round(seconds, 1),
    }
    path = out / "summary.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    temporary.rename(path)
    return render(summary, out)


def summarize(board: Row, seed: int) -> dict[str, Any]:
    """Returns the summary of a board.

    Accuracies are in [0, 1], on held-out samples; the board's notes say how they were sampled.
    """
    rows = board["numbers"]["rows"]
    difference = _find(board["numbers"]["differences"], TRAINED, FULL, 1)
    return {
        "seed": seed,
        "versions": {name: version(name) for name in _PACKAGES},
        "accuracy": {
            "base": _find(rows, BASE, FULL, 1)["accuracy"],
            "trained": _find(rows, TRAINED, FULL, 1)["accuracy"],
            "ceiling": _find(rows, CEILING, FULL, 1)["accuracy"],
        },
        "difference": {
            "mean": difference["mean"],
            "interval": difference["interval"],
            "num_samples": difference["num_samples"],
        },
        "by_solver_and_length": [
            {
                "checkpoint": row["checkpoint"],
                "solver": row["solver"],
                "input_over_window": row["input_over_window"],
                "accuracy": row["accuracy"],
                "interval": row["interval"],
                "num_samples": row["num_samples"],
            }
            for row in rows
        ],
        "notes": list(board["notes"]),
    }


_TRAINING_COSTS = ("num_rollouts", "prompt_tokens", "sampled_tokens")
_TRAINING_SECONDS = ("rollout_seconds", "train_seconds")


def training_cost(folder: Path) -> dict[str, float]:
    """Returns what all steps of a training run used: rollouts, tokens, wall seconds."""
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("**/metrics.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    cost: dict[str, float] = {"steps": len(rows)}
    cost |= {key: sum(row[key] for row in rows) for key in _TRAINING_COSTS}
    return cost | {key: round(sum(row[key] for row in rows), 1) for key in _TRAINING_SECONDS}


def render(summary: Row, out: Path) -> str:
    """Returns the summary as text, with where everything is."""
    accuracy, difference = summary["accuracy"], summary["difference"]
    low, high = difference["interval"]
    cost, training = summary["cost"]["evaluation"], summary["cost"]["training"]
    lines = [
        "",
        f"Full context, {difference['num_samples']} held-out samples: "
        f"base {_percent(accuracy['base'])}, "
        f"trained {_percent(accuracy['trained'])}, ceiling (trained on clean reasoning only) "
        f"{_percent(accuracy['ceiling'])}",
        f"Gain of RL: {_points(difference['mean'])} points, paired 95% interval "
        f"{_points(low)} to {_points(high)}",
        "",
        "Accuracy beyond the window (full context is cut in the middle):",
        *_table(summary["by_solver_and_length"]),
        *(f"  {note}" for note in summary["notes"]),
        "",
        f"Cost:        evaluation {cost['calls']:,} calls, {cost['input_tokens']:,} tokens read, "
        f"{cost['output_tokens']:,} written; training {training['steps']} steps, "
        f"{training['num_rollouts']:,} rollouts, {training['sampled_tokens']:,} tokens written",
        f"Time:        {summary['cost']['wall_seconds_of_this_run']:.0f} s in this run",
        f"Board:       {out / 'board' / 'index.html'}",
        f"Checkpoint:  {out / 'training' / 'final'}",
        f"Task sets:   {out / 'tasksets'}",
        f"Logs:        inspect view --log-dir {out / 'logs'}",
        f"Summary:     {out / 'summary.json'}",
    ]
    return "\n".join(lines)


def _table(rows: Iterable[Row]) -> list[str]:
    cells: dict[tuple[str, str], dict[float, float]] = {}
    for row in rows:
        key = (row["checkpoint"], row["solver"])
        cells.setdefault(key, {})[row["input_over_window"]] = row["accuracy"]
    lengths = sorted({length for cell in cells.values() for length in cell})
    header = "".join(f"{length:>7g}x" for length in lengths)
    lines = [f"  {'checkpoint':<14}{'solver':<14}{header}"]
    for (checkpoint, solver), cell in sorted(cells.items()):
        shown = "".join(
            f"{_percent(cell[length]) if length in cell else '-':>8}" for length in lengths
        )
        lines.append(f"  {checkpoint:<14}{solver:<14}{shown}")
    return lines


def _find(rows: Iterable[Row], checkpoint: str, solver: str, windows: int) -> Row:
    wanted = (checkpoint, solver, windows)
    for row in rows:
        if (row["checkpoint"], _short(row["solver"]), row["input_over_window"]) == wanted:
            return row
    raise DataError(
        f"the board has no result for {checkpoint}, {solver} at {windows}x; "
        "see its list of skipped logs"
    )


def _short(solver: str) -> str:
    return solver.rpartition("/")[2]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _points(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:+.1f}"
