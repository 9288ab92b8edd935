"""The board's pictures: numbers of a board -> SVG and PNG files, the same bytes for the same numbers.

Backgrounds are transparent and all lines and letters are of middle tones, so that a picture can be read on a light and
on a dark page. Names come from logs: they are shown as they are, never read as mathematics.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longspan.leaderboards.wording import solver_name, words

Row = Mapping[str, Any]

INK = "#7b828d"
GRID = "#8a919c"
BASELINE_COLOUR = "#8a919c"
COLOURS = ("#3f7fd9", "#e0803a", "#3f9f70", "#a271d1", "#cf5c78", "#3aa3b5", "#b08a2e")
STYLE = {
    "svg.hashsalt": "longspan",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
PNG_DOTS_PER_INCH = 160
MAX_NAME_CHARS = 30
SMOOTHING_STEPS = 10
"""Window of the running mean that is drawn over a training curve."""


@dataclass(frozen=True)
class Plot:
    """A picture that was drawn."""

    name: str
    """File name without ending."""
    kind: str
    """Section of the page that it belongs to."""
    title: str
    description: str
    """What it shows, for those who do not see it."""
    width: int
    height: int


def draw_plots(numbers: Mapping[str, Any], folder: Path) -> list[Plot]:
    """Returns the pictures that the numbers allow, written into the folder as SVG and PNG."""
    colours = checkpoint_colours(numbers)
    jobs: list[tuple[str, str, str, str, Callable[[], Figure | None]]] = [
        (
            f"length{_suffix(index)}",
            "length",
            f"{family}: accuracy by input length" if family else "Accuracy by input length",
            "Accuracy with 95% intervals over input length in windows, by checkpoint and solver.",
            lambda rows=rows: length_figure(rows, colours),
        )
        for index, (family, rows) in enumerate(length_families(numbers["rows"]))
    ]
    jobs.append(
        (
            "differences",
            "overall",
            "Difference to the baseline",
            "Paired difference to the baseline in percentage points with 95% intervals.",
            lambda: difference_figure(numbers["differences"], colours),
        )
    )
    for name in ("task_type", "hops"):
        setting, rows = main_setting(numbers["breakdowns"].get(name, []))
        jobs.append(
            (
                name,
                name,
                f"Accuracy by {words(name)}: {setting}",
                f"Accuracy with 95% intervals by {words(name)} and checkpoint.",
                lambda rows=rows: breakdown_figure(rows, colours),
            )
        )
    jobs.append(
        (
            "retention",
            "retention",
            "What the memory agent read, noted and kept",
            "Share of the evidence that was read, noted and kept to the end, by input length.",
            lambda: retention_figure(numbers["retention"], colours),
        )
    )
    for index, stage in enumerate(numbers["training"]):
        jobs.append(
            (
                f"training{_suffix(index)}",
                "training",
                f"Training: {stage['stage']}",
                "Reward, entropy, response length and gradient norm by training step.",
                lambda stage=stage: training_figure(stage["steps"]),
            )
        )
    plots = []
    with matplotlib.rc_context(STYLE):
        for name, kind, title, description, draw in jobs:
            figure = draw()
            if figure is not None:
                plots.append(_save(figure, folder, name, kind, title, description))
    return plots


def checkpoint_colours(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Returns a colour per checkpoint, grey for the baseline."""
    names = [one["checkpoint"] for one in numbers["checkpoints"]]
    others = [name for name in names if name != numbers["baseline"]]
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(others))}
    return {str(numbers["baseline"]): BASELINE_COLOUR} | colours


def length_families(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the rows of tasks that differ in length only, by the name that they share.

    world-1x, world-4x and world-16x are one family, and so is one task that was run at several lengths. A family with
    one length is no picture.
    """
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row["input_over_window"] is not None:
            family = re.sub(r"[-_ ]?\d+(?:\.\d+)?x$", "", row["task"])
            families.setdefault(family, []).append(row)
    found = [(name, part) for name, part in sorted(families.items()) if len(_lengths(part)) > 1]
    return found


def length_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure:
    """Returns accuracy over input length: a line per checkpoint and solver, intervals as bars."""
    lengths = _lengths(rows)
    series: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        series.setdefault((row["checkpoint"], row["solver"]), []).append(row)
    solvers = sorted({row["solver"] for row in rows})
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
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
    _percent_axis(axes)
    figure.legend(loc="outside right upper", fontsize=9)
    return figure


def difference_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    """Returns a forest of paired differences with intervals; None where there are none."""
    rows = list(rows)[:40]
    if not rows:
        return None
    figure = Figure(figsize=(7.2, 0.9 + 0.34 * len(rows)), layout="constrained")
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
        _plain(f"{_short(row['checkpoint'])}  {_short(row['task'])}, {solver_name(row['solver'])}")
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("percentage points against the baseline (filled: a real difference)")
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    return figure


def main_setting(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """Returns the task and solver with the most samples, in words, and its rows."""
    settings: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        settings.setdefault((row["task"], row["solver"]), []).append(row)
    if not settings:
        return "", []
    # Full context first where the samples are equally many: it is what checkpoints are trained on.
    best = max(
        sorted(settings), key=lambda key: (_most_samples(settings[key]), key[1] == "full_context")
    )
    return f"{best[0]}, {solver_name(best[1])}", settings[best]


def breakdown_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    """Returns accuracy by group and checkpoint as dots with intervals; None for fewer than 2 groups."""
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    if len(groups) < 2:
        return None
    names = [name for name in colours if any(row["checkpoint"] == name for row in rows)]
    figure = Figure(
        figsize=(7.2, 0.9 + 0.22 * len(groups) * (len(names) + 1)), layout="constrained"
    )
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
    axes.set_yticks(range(len(groups)), [_plain(_short(words(group))) for group in groups])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=min(4, len(names)), fontsize=9)
    return figure


def retention_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    """Returns the share of evidence read, noted and kept, by run; None without passports."""
    rows = [row for row in rows if row["read"] is not None][:24]
    if not rows:
        return None
    figure = Figure(figsize=(7.2, 1.1 + 0.42 * len(rows)), layout="constrained")
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
        [_plain(f"{_short(row['checkpoint'])}  {_short(row['task'])}") for row in rows],
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(
        "% of the evidence: read (wide, faint), noted, kept to the end (narrow, strong)"
    )
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return figure


def training_figure(steps: Sequence[Row]) -> Figure | None:
    """Returns the curves of a stage; the entropy panel shows AEPO's band and when it masked."""
    panels = {
        "reward_mean": "mean reward",
        "entropy": "entropy, nats per token",
        "response_tokens": "response length, tokens",
        "gradient_norm": "gradient norm",
    }
    shown = {key: label for key, label in panels.items() if any(_has(s, key) for s in steps)}
    if not shown:
        return None
    num_rows = (len(shown) + 1) // 2
    figure = Figure(figsize=(9.2, 2.5 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, 2 if len(shown) > 1 else 1, squeeze=False)
    for axes, (key, label) in zip(grid.flat, shown.items(), strict=False):
        _curve(axes, steps, key)
        if key == "entropy":
            _aepo(axes, steps)
        axes.set_title(label)
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
    axes.plot(at, values, color=COLOURS[0], alpha=0.35, linewidth=1)
    means = []
    for index in range(len(values)):
        window = values[max(0, index - SMOOTHING_STEPS + 1) : index + 1]
        means.append(sum(window) / len(window))
    axes.plot(at, means, color=COLOURS[0])


def _aepo(axes: Axes, steps: Sequence[Row]) -> None:
    """Shows the band, and shades the steps in which negative advantages were masked."""
    banded = [step for step in steps if _has(step, "aepo_low") and _has(step, "aepo_high")]
    if banded:
        at = [step["step"] for step in banded]
        for key in ("aepo_low", "aepo_high"):
            levels = [step[key] for step in banded]
            axes.plot(at, levels, color=COLOURS[1], linewidth=1, linestyle="--")
    for step in steps:
        if step.get("aepo_masking"):
            axes.axvspan(
                step["step"] - 0.5, step["step"] + 0.5, color=COLOURS[1], alpha=0.14, linewidth=0
            )


def _has(step: Row, key: str) -> bool:
    return isinstance(step.get(key), int | float)


def _lengths(rows: Sequence[Row]) -> list[float]:
    return sorted({row["input_over_window"] for row in rows})


def _most_samples(rows: Sequence[Row]) -> int:
    return max(row["num_samples"] for row in rows)


def _bars(rows: Sequence[Row], key: str) -> list[list[float]]:
    """Returns what errorbar wants: how far the interval reaches below and above, in percent."""
    return [
        [max(0.0, 100 * (row[key] - row["interval"][0])) for row in rows],
        [max(0.0, 100 * (row["interval"][1] - row[key])) for row in rows],
    ]


def _percent_axis(axes: Axes) -> None:
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy, %")
    axes.grid(axis="y")
    axes.tick_params(length=0)


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "\u2026"


def _plain(text: str) -> str:
    """Returns a label that matplotlib shows as it is: no mathematics, no control characters."""
    shown = "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")
    return " " + shown if shown.startswith("_") else shown


def _suffix(index: int) -> str:
    return f"-{index + 1}" if index else ""


def _save(figure: Figure, folder: Path, name: str, kind: str, title: str, description: str) -> Plot:
    folder.mkdir(parents=True, exist_ok=True)
    for ending, options in (
        ("svg", {"metadata": {"Date": None}}),
        ("png", {"dpi": PNG_DOTS_PER_INCH, "metadata": {"Software": None}}),
    ):
        path = folder / f"{name}.{ending}"
        temporary = path.with_name(f".{path.name}.tmp")
        figure.savefig(temporary, format=ending, transparent=True, **options)
        os.replace(temporary, path)
    width, height = figure.get_size_inches()
    return Plot(name, kind, title, description, round(100 * width), round(100 * height))
