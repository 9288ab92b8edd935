"""Tables of the page with a shape of their own: a declared board, heat maps, cells of differences.

Everything is plain text here; the template escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longspan.leaderboards.wording import (
    MISSING,
    count,
    interval,
    percent,
    points,
    solver_name,
    verdict_words,
)

Row = Mapping[str, Any]

CLASSES = {"better": "better", "worse": "worse", "cannot tell": "unclear"}
NUM_SHADES = 10
"""Steps of colour of a heat map."""


def suite_model(suite: Mapping[str, Any] | None, baseline: str | None) -> dict[str, Any] | None:
    """Returns the table of a declared board: header, rows, reported rows and footnotes."""
    if suite is None:
        return None
    differences = {row["checkpoint"]: row for row in suite["differences"]}
    reported = suite["reported"] or {"rows": [], "notes": [], "table_notes": [], "source": ""}
    return {
        "title": suite["title"],
        "description": suite["description"],
        "columns": [column["name"] for column in suite["columns"]],
        "has_average": suite["has_average"],
        "has_difference": bool(differences),
        "rows": [
            {
                "checkpoint": row["checkpoint"],
                "is_baseline": row["checkpoint"] == baseline,
                "average": _suite_cell(row["average"]),
                "cells": [_suite_cell(cell) for cell in row["cells"]],
                "difference": difference_cells(differences.get(row["checkpoint"])),
            }
            for row in suite["rows"]
        ],
        "source": reported["source"],
        "reported": [
            {
                "name": row["name"],
                "notes": ", ".join(map(str, row["notes"])),
                "average": _reported_cell(row["average"]),
                "cells": [_reported_cell(value) for value in row["values"]],
            }
            for row in reported["rows"]
        ],
        "notes": reported["notes"],
        "table_notes": ", ".join(map(str, reported["table_notes"])),
    }


def heat_table(one: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a heat map as a table: a line per depth, a cell per length with its shade."""
    return {
        "title": f"{one['checkpoint']}: {one['task']}, {solver_name(one['solver'])}",
        "lengths": one["lengths"],
        "lines": [
            {"depth": depth, "cells": [_heat_cell(cell) for cell in cells]}
            for depth, cells in zip(one["depths"], one["cells"], strict=True)
        ],
    }


def difference_cells(row: Row | None) -> dict[str, Any]:
    """Returns the cells of a difference; blank ones where there is none."""
    if row is None:
        return {
            "points": "",
            "value": "",
            "interval": "",
            "words": "",
            "class": "",
            "detectable": "",
        }
    detectable = row.get("minimum_detectable_effect")
    return {
        "points": points(row["mean"]),
        "value": row["mean"],
        "interval": interval(row["interval"], signed=True),
        "words": verdict_words(row),
        "class": CLASSES[row["verdict"]],
        "detectable": "" if detectable is None else percent(detectable),
    }


def _heat_cell(cell: Row | None) -> dict[str, Any]:
    if cell is None:
        return {"text": "", "n": "", "shade": ""}
    shade = min(NUM_SHADES - 1, int(cell["accuracy"] * NUM_SHADES))
    return {"text": percent(cell["accuracy"]), "n": count(cell["num_samples"]), "shade": shade}


def _suite_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    if cell["mean"] is None:
        missing = "; ".join(one if ":" in one else f"lacks {one}" for one in cell["missing"])
        return {"text": MISSING, "value": "", "interval": "", "missing": missing}
    return {
        "text": percent(cell["mean"]),
        "value": cell["mean"],
        "interval": interval(cell["interval"]),
        "missing": "",
    }


def _reported_cell(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"text": MISSING, "value": ""}
    return {"text": f"{100 * value:.2f}", "value": value}
