"""How each picture is drawn: rows of a board -> a matplotlib figure.

Names come from logs: they are shown as they are, never read as mathematics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longspan.leaderboards.palette import COLOURS, GRID, INK
from longspan.leaderboards.wording import solver_name, words

Row = Mapping[str, Any]

WIDTH = 5.9
MAX_HEIGHT = 12.0
"""Of a picture, in inches: letters stay readable on a phone."""
MAX_NAME_CHARS = 28
MAX_ROWS = 40
MAX_PANELS = 6
HEAT_COLOURS = "viridis"
DARK_BELOW = 60
"""Percent below which the colours are dark enough for white letters."""
SMOOTHING_STEPS = 10
"""Window of the running mean that is drawn over a training curve."""


def length_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure:
    """Returns accuracy over input length: a line per checkpoint and solver, intervals as bars."""
    lengths = sorted({row["input_over_window"] for row in rows})
    series: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        series.setdefault((row["checkpoint"], row["solver"]), []).append(row)
    solvers = sorted({row["solver"] for row in rows})
    figure = Figure(figsize=(WIDTH, 4.3), layout="constrained")
    axes = figure.subplots()
    ordered = [key for name in colours for key in sorted(series) if key[0] == name]
    for index, key in enumerate(ordered):
        part = sorted(series[key], key=lambda row: row["input_over_window"])
        shift = 0.05 * (index - (len(ordered) - 1) / 2)
        at = [lengths.index(row["input_over_window"]) + shift for row in part]
        solver_index = solvers.index(key[1])
        axes.errorbar(
            at,
            [100 * row["accuracy"] for row in part],
            yerr=_bars(part, "accuracy"),
            color=colours[key[0]],
            linestyle=("--", "-", ":", "-.")[solver_index % 4],
            marker=("o", "s", "^", "D")[solver_index % 4],
            markersize=6,
            markerfacecolor="none" if solver_index == 0 else colours[key[0]],
            capsize=2.5,
            elinewidth=1.1,
            label=_plain(f"{_short(key[0])}, {solver_name(key[1])}"),
        )
    axes.set_xticks(range(len(lengths)), [f"{length:g}\u00d7" for length in lengths])
    axes.set_xlim(-0.4, len(lengths) - 0.6)
    axes.set_xlabel("input length / window")
    _percent_axis(axes, max(row["interval"][1] for row in rows))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def difference_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    """Returns a forest of paired differences with intervals; None where there are none."""
    rows = list(rows)[:MAX_ROWS]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=GRID, linewidth=1)
    for place, row in enumerate(rows):
        clear = row["verdict"] != "cannot tell"
        axes.errorbar(
            [100 * row["mean"]],
            [place],
            xerr=_bars([row], "mean"),
            color=colours.get(row["checkpoint"], INK),
            marker="o",
            markersize=6,
            markerfacecolor=None if clear else "none",
            capsize=2.5,
            elinewidth=1.6,
        )
    labels = [
        _plain(f"{_short(row['checkpoint'])}: {_short(row['task'])}")
        + "\n"
        + _plain(_short(solver_name(row["solver"])))
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), labels, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlabel("percentage points (filled: a real difference)")
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    return figure


def breakdown_figure(
    rows: Sequence[Row], colours: Mapping[str, str], unit: str = ""
) -> Figure | None:
    """Returns accuracy by group and checkpoint as dots with intervals; None for one group.

    Args:
        rows: Of one task and solver.
        colours: By checkpoint.
        unit: What a group counts, where it is a number.
    """
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    if len(groups) < 2:
        return None
    names = [name for name in colours if any(row["checkpoint"] == name for row in rows)]
    height = 0.9 + 0.2 * len(groups) * (len(names) + 1)
    figure = Figure(figsize=(WIDTH, min(height, MAX_HEIGHT)), layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(names):
        part = [row for row in rows if row["checkpoint"] == name]
        shift = 0.7 * ((index + 0.5) / len(names) - 0.5)
        axes.errorbar(
            [100 * row["accuracy"] for row in part],
            [groups.index(str(row["group"])) + shift for row in part],
            xerr=_bars(part, "accuracy"),
            color=colours[name],
            linestyle="none",
            marker="o",
            markersize=6,
            capsize=2.5,
            elinewidth=1.6,
            label=_plain(_short(name)),
        )
    labels = [f"{group} {unit}{'s' * (group != '1')}" if unit else words(group) for group in groups]
    axes.set_yticks(range(len(groups)), [_plain(_short(label)) for label in labels])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=min(4, len(names)), fontsize=9)
    return figure


def retention_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    """Returns the share of evidence read, noted and kept, by run; None without passports."""
    rows = [row for row in rows if row["read"] is not None][:MAX_ROWS]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 1.1 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    shades = {"read": 0.28, "noted": 0.55, "kept": 1.0}
    for place, row in enumerate(rows):
        colour = colours.get(row["checkpoint"], INK)
        for name, alpha in shades.items():
            # Wide and faint to narrow and strong: kept lies within noted within read.
            height = {"read": 0.62, "noted": 0.42, "kept": 0.2}[name]
            axes.barh(place, 100 * row[name], height=height, color=colour, alpha=alpha, linewidth=0)
    axes.set_yticks(
        range(len(rows)),
        [_plain(f"{_short(row['checkpoint'])}: {_short(row['task'])}") for row in rows],
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the evidence: read (wide), noted, kept to the end (narrow)")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return figure


def heat_figure(maps: Sequence[Row]) -> Figure:
    """Returns mean scores by depth and length as shaded cells, a panel per checkpoint.

    Args:
        maps: Of one task and solver.
    """
    maps = list(maps)[:MAX_PANELS]
    num_columns = min(2, len(maps))
    num_rows = -(-len(maps) // num_columns)
    size = (WIDTH * (1 if num_columns == 1 else 1.6), 0.5 + 2.4 * num_rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes, one in zip(grid.flat, maps, strict=False):
        values = [
            [math.nan if cell is None else 100 * cell["accuracy"] for cell in line]
            for line in one["cells"]
        ]
        axes.imshow(values, cmap=HEAT_COLOURS, vmin=0, vmax=100, aspect="auto")
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                if not math.isnan(value):
                    colour = "white" if value < DARK_BELOW else "#1b1f24"
                    place = {"ha": "center", "va": "center", "fontsize": 8.5, "color": colour}
                    axes.text(column, row, f"{value:.0f}", **place)
        axes.set_xticks(range(len(one["lengths"])), one["lengths"], fontsize=8.5)
        axes.set_yticks(range(len(one["depths"])), one["depths"], fontsize=8.5)
        axes.set_title(_plain(_short(one["checkpoint"])))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    for axes in grid.flat[len(maps) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("depth of the evidence")
    for axes in grid[-1]:
        axes.set_xlabel("input length, tokens")
    return figure


PANELS = {
    "reward_mean": "mean reward",
    "entropy": "entropy, nats per token",
    "masked_share": "share of rollouts masked",
    "response_tokens": "response length, tokens",
    "cut_off_share": "share of rollouts cut off",
    "gradient_norm": "gradient norm",
}
"""Key of a training step -> the title of its curve."""


def training_figure(steps: Sequence[Row]) -> Figure | None:
    """Returns the curves of a stage; the entropy panel shows AEPO's band and when it masked."""
    shown = [key for key in PANELS if any(_has(step, key) for step in steps)]
    if not shown:
        return None
    num_rows = (len(shown) + 1) // 2
    figure = Figure(figsize=(1.6 * WIDTH, 2.1 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, 2 if len(shown) > 1 else 1, squeeze=False)
    for axes, key in zip(grid.flat, shown, strict=False):
        _curve(axes, steps, key)
        if key == "entropy":
            _aepo(axes, steps)
        if key.endswith("_share"):
            axes.set_ylim(-0.03, 1.03)
        axes.set_title(PANELS[key])
        axes.grid(axis="y")
        axes.margins(x=0.01)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    return figure


def _curve(axes: Axes, steps: Sequence[Row], key: str) -> None:
    points = [(step["step"], step[key]) for step in steps if _has(step, key)]
    at, values = [one[0] for one in points], [one[1] for one in points]
    means = []
    for index in range(len(values)):
        window = values[max(0, index - SMOOTHING_STEPS + 1) : index + 1]
        means.append(sum(window) / len(window))
    axes.plot(at, values, color=COLOURS[0], alpha=0.35, linewidth=1)
    axes.plot(at, means, color=COLOURS[0])


def _aepo(axes: Axes, steps: Sequence[Row]) -> None:
    """Shows the band, and shades the steps in which negative advantages were masked."""
    banded = [step for step in steps if _has(step, "aepo_low") and _has(step, "aepo_high")]
    for key in ("aepo_low", "aepo_high"):
        at, levels = [step["step"] for step in banded], [step[key] for step in banded]
        axes.plot(at, levels, color=COLOURS[1], linewidth=1, linestyle="--")
    start: int | None = None
    for step, after in zip(steps, [*steps[1:], {}], strict=True):
        if not step.get("aepo_masking"):
            continue
        start = step["step"] if start is None else start
        if not after.get("aepo_masking"):
            end = step["step"] + 0.5
            axes.axvspan(start - 0.5, end, color=COLOURS[1], alpha=0.14, linewidth=0)
            start = None


def _has(step: Row, key: str) -> bool:
    return isinstance(step.get(key), int | float)


def _bars(rows: Sequence[Row], key: str) -> list[list[float]]:
    """Returns what errorbar wants: how far the interval reaches below and above, in percent."""
    return [
        [max(0.0, 100 * (row[key] - row["interval"][0])) for row in rows],
        [max(0.0, 100 * (row["interval"][1] - row[key])) for row in rows],
    ]


def _percent_axis(axes: Axes, highest: float) -> None:
    axes.set_ylim(0, 20 * max(1, math.ceil(5 * highest)))
    axes.set_ylabel("accuracy, %")
    axes.grid(axis="y")
    axes.tick_params(length=0)


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "\u2026"


def _plain(text: str) -> str:
    """Returns a label that matplotlib shows as it is: no mathematics, no control characters."""
    shown = "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")
    return " " + shown if shown.startswith("_") else shown
