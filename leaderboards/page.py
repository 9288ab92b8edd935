"""What the page shows, in the order that it shows it: a board's numbers -> values for the template.

Everything is plain text here; the template escapes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longspan.leaderboards.breakdowns import EVIDENCE_SHARES
from longspan.leaderboards.lm_eval import PREFIX as LM_EVAL
from longspan.leaderboards.page_tables import difference_cells, heat_table, suite_model
from longspan.leaderboards.plots import Plot, by_setting, checkpoint_colours
from longspan.leaderboards.tables import by_key, key_of
from longspan.leaderboards.wording import (
    MISSING,
    cost_words,
    count,
    duration,
    endings_words,
    interval,
    percent,
    solver_name,
    windows,
    words,
)

Row = Mapping[str, Any]

BREAKDOWNS = {
    "task_type": "By task type",
    "input_length": "By input length",
    "hops": "By hops",
    "kind": "By kind of question",
}
MAX_HEAT_MAPS = 24
FULL_COVERAGE = 0.995


def page_model(board: Mapping[str, Any], plots: Sequence[Plot]) -> dict[str, Any]:
    """Returns the template's values.

    Args:
        board: As `views.build_board` returns it, with "notes".
        plots: Pictures that were drawn.
    """
    numbers = board["numbers"]
    order = list(checkpoint_colours(numbers))
    return {
        "title": board["title"],
        "baseline": board["baseline"],
        "notes": board.get("notes", []),
        "headline": headline(numbers),
        "suite": suite_model(numbers["suite"], board["baseline"]),
        "inputs": board["inputs"],
        "overall": overall_rows(board),
        "solver_rows": [solver_row(row) for row in numbers["solver_differences"]],
        "breakdowns": [
            {
                "name": name,
                "title": title,
                "tables": pivot_tables(numbers["breakdowns"][name], order),
            }
            for name, title in BREAKDOWNS.items()
            if numbers["breakdowns"].get(name)
        ],
        "heat_maps": [heat_table(one) for one in numbers["heat_maps"][:MAX_HEAT_MAPS]],
        "retention": [retention_row(row) for row in numbers["retention"]],
        "training": [training_summary(stage) for stage in numbers["training"]],
        "plots": {
            kind: [plot for plot in plots if plot.kind == kind]
            for kind in ("overall", *BREAKDOWNS, "depth", "retention", "training")
        },
        "data": board["data"],
        "skipped": board["skipped"],
        "sources": [source_row(source) for source in board["sources"]],
        "checkpoints": numbers["checkpoints"],
        "totals": cost_words(board["cost"]["totals"]),
        "refresh_seconds": board.get("refresh_seconds"),
        "has_lm_eval": any(row["task"].startswith(LM_EVAL) for row in numbers["rows"]),
        "num_comparisons": len(numbers["differences"]),
    }


def headline(numbers: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns what to take away: the best-supported gains, and what the solver makes of length."""
    made = []
    differences = numbers["differences"]
    if differences:
        # Most samples tell most; full context first, which is what checkpoints are trained on.
        most = max(row["num_samples"] for row in differences)
        widest = [row for row in differences if row["num_samples"] == most]
        solver = min((row["solver"] for row in widest), key=lambda name: name != "full_context")
        evaluations = Counter(row["checkpoint"] for row in numbers["rows"])
        chosen = [row for row in widest if row["solver"] == solver]
        for row in sorted(chosen, key=lambda row: -evaluations[row["checkpoint"]])[:2]:
            what = f"{row['checkpoint']} against {row['baseline']}: {_where(row)}"
            made.append(_card(what, row))
    longest = max((r["input_over_window"] or 0 for r in numbers["solver_differences"]), default=0)
    at_longest = [r for r in numbers["solver_differences"] if r["input_over_window"] == longest]
    chosen = [row for row in at_longest if row["checkpoint"] == numbers["baseline"]] or at_longest
    for row in chosen[:1]:
        other = solver_name(row["baseline_solver"])
        what = f"{solver_name(row['solver'])} against {other}: {row['checkpoint']}, {row['task']}"
        if longest:
            what += f", {windows(longest)} the window"
        made.append(_card(what, row))
    return made


def overall_rows(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the overall table, each with its difference, endings and cost."""
    numbers = board["numbers"]
    costs, differences = by_key(board["cost"]["rows"]), by_key(numbers["differences"])
    rows = []
    for row in numbers["rows"]:
        cost = costs.get(key_of(row), {})
        evidence = row.get("evidence_kept")
        cut = row.get("truncated_share")
        rows.append(
            _names(row)
            | {
                "is_baseline": row["checkpoint"] == board["baseline"],
                "accuracy": percent(row["accuracy"]),
                "accuracy_value": row["accuracy"],
                "interval": interval(row["interval"]),
                **_attempts(row["pass_at_k"]),
                "n": count(row["num_samples"]),
                "n_value": row["num_samples"],
                "coverage": percent(row["coverage"]),
                "coverage_value": row["coverage"],
                "is_partial": row["coverage"] < FULL_COVERAGE,
                "endings": endings_words(row["endings"]),
                "cut": MISSING if cut is None else percent(cut),
                "cut_value": "" if cut is None else cut,
                "evidence": "" if evidence is None else f"kept {percent(evidence)}",
                "difference": difference_cells(differences.get(key_of(row))),
                "input_tokens": count(cost.get("input_tokens")),
                "output_tokens": count(cost.get("output_tokens")),
                "calls": MISSING if cost.get("calls") is None else f"{cost['calls']:.1f}",
                "seconds": duration(cost.get("seconds")),
                "cost": cost,
            }
        )
    return rows


def solver_row(row: Row) -> dict[str, Any]:
    """Returns a row of the table that compares solvers with one checkpoint."""
    return _names(row) | {
        "against": solver_name(row["baseline_solver"]),
        "n": count(row["num_samples"]),
        "n_value": row["num_samples"],
        "difference": difference_cells(row),
    }


def pivot_tables(rows: Iterable[Row], checkpoints: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a table per task and solver: a line per group, a column per checkpoint.

    Args:
        rows: Of one breakdown.
        checkpoints: In the order of the columns.
    """
    tables = []
    for title, part in by_setting(rows):
        here = {row["checkpoint"] for row in part}
        names = [name for name in checkpoints if name in here]
        cells = {(str(row["group"]), row["checkpoint"]): row for row in part}
        groups = list(dict.fromkeys(str(row["group"]) for row in part))
        tables.append(
            {
                "title": title,
                "checkpoints": names,
                "lines": [
                    {"group": words(g), "cells": [_cell(cells.get((g, c))) for c in names]}
                    for g in groups
                ],
            }
        )
    return tables


def retention_row(row: Row) -> dict[str, Any]:
    """Returns a row of the table on what the memory agent kept."""
    shares = (*EVIDENCE_SHARES, "malformed_share", "cut_off_share", "memory_cut_share")
    return _names(row) | {
        "shares": [
            {"text": percent(row[name]), "value": "" if row[name] is None else row[name]}
            for name in shares
        ],
        "chunks": MISSING if row["num_chunks"] is None else f"{row['num_chunks']:.1f}",
        "tokens": count(row["memory_tokens"]),
        "n": count(row["num_samples"]),
    }


def training_summary(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stage in words: steps, first and last mean reward, steps with masking."""
    steps = stage["steps"]
    tenth = max(1, len(steps) // 10)
    masked = sum(bool(step.get("aepo_masking")) for step in steps)
    return {
        "stage": stage["stage"],
        "num_steps": len(steps),
        "first": _mean_reward(steps[:tenth]),
        "last": _mean_reward(steps[-tenth:]),
        "masked": f"{masked} of {len(steps)}",
    }


def source_row(source: Row) -> dict[str, str]:
    """Returns where a row of the board came from."""
    settings = [f"{name}={value}" for name, value in sorted(source["settings"].items())]
    return {
        "log": source["log"],
        "sha256": source["sha256"],
        "task": source["task"],
        "version": source["task_version"],
        "checkpoint": source["checkpoint"],
        "hash": source["checkpoint_hash"] or MISSING,
        "solver": solver_name(source["solver"]),
        "settings": ", ".join(settings) or MISSING,
        "metric": source["metric"],
        "suite": source["suite"] or "",
    }


def _card(what: str, row: Row) -> dict[str, str]:
    cells = difference_cells(row)
    how = f"{cells['interval']}, n = {count(row['num_samples'])}: {cells['words']}"
    return {
        "what": what,
        "figure": f"{cells['points']} points",
        "how": how,
        "class": cells["class"],
    }


def _where(row: Row) -> str:
    return f"{row['task']}, {solver_name(row['solver'])}"


def _names(row: Row) -> dict[str, Any]:
    length = row["input_over_window"]
    return {
        "checkpoint": row["checkpoint"],
        "task": row["task"],
        "solver": solver_name(row["solver"]),
        "length": windows(length),
        "length_value": "" if length is None else length,
    }


def _cell(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"text": "", "interval": "", "value": "", "n": ""}
    return {
        "text": percent(row["accuracy"]),
        "interval": interval(row["interval"]),
        "value": row["accuracy"],
        "n": count(row["num_samples"]),
    }


def _attempts(found: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns what several attempts achieve: pass@4 61.2, and [55.0, 67.1]."""
    if found is None:
        return {"attempts": "", "attempts_interval": ""}
    name = f"pass@{found['k']} {percent(found['mean'])}"
    return {"attempts": name, "attempts_interval": interval(found["interval"])}


def _mean_reward(steps: Sequence[Row]) -> str:
    rewards = [step["reward_mean"] for step in steps if step.get("reward_mean") is not None]
    return f"{sum(rewards) / len(rewards):.3f}" if rewards else MISSING
