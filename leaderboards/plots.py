"""The board's pictures: numbers -> SVG and PNG files, the same bytes for the same numbers.

Backgrounds are transparent and all lines and letters are of middle tones, so that a picture can be
read on a light and on a dark page.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from longspan.leaderboards import figures, wording
from longspan.leaderboards.figures import (
    BASELINE_COLOUR,
    COLOURS,
    GRID,
    INK,
    breakdown_figure,
    difference_figure,
    heat_figure,
    length_figure,
    retention_figure,
    training_figure,
)
from longspan.leaderboards.lengths import family
from longspan.leaderboards.wording import solver_name, words

Row = Mapping[str, Any]

STYLE: Any = {
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
ENDINGS = ("svg", "png")
DRAWN = "drawn.json"
"""File beside the pictures: what each was drawn from, as a hash, and its size."""
Draw = partial[Any]
"""A function of `leaderboards.figures` with its numbers."""


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
    width: int = 0
    height: int = 0
    """Size on the page, in CSS pixels."""


def draw_plots(numbers: Mapping[str, Any], folder: Path, before: Path | None = None) -> list[Plot]:
    """Returns the pictures that the numbers allow, written into the folder as SVG and PNG.

    Args:
        numbers: Of a board.
        folder: Where they go, with a list of what each was drawn from.
        before: Such a folder of an older board; a picture of the same numbers is taken from it.
    """
    known = _drawn_before(before)
    plots, keys = [], {}
    with matplotlib.rc_context(STYLE):
        for plot, draw in _jobs(numbers):
            key = _key(draw)
            sizes = known.get(f"{plot.name}/{key}")
            if before is not None and sizes is not None:
                made: Plot | None = replace(plot, width=sizes[0], height=sizes[1])
                _copy(plot.name, before, folder)
            else:
                figure = draw()
                made = None if figure is None else _save(figure, folder, plot)
            if made is not None:
                plots.append(made)
                keys[f"{made.name}/{key}"] = [made.width, made.height]
    if keys:
        (folder / DRAWN).write_text(json.dumps(keys, indent=1) + "\n", encoding="utf-8")
    return plots


def _key(draw: Draw) -> str:
    """Returns a hash of all that a picture follows from: numbers, code, matplotlib."""
    facts = json.dumps([draw.func.__name__, *draw.args], sort_keys=True)
    return hashlib.sha256(f"{_code()}{facts}".encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    texts = [Path(str(module.__file__)).read_bytes() for module in (figures, wording)]
    digest = hashlib.sha256(b"".join([*texts, Path(__file__).read_bytes()]))
    return f"{digest.hexdigest()}{matplotlib.__version__}"


def _drawn_before(folder: Path | None) -> dict[str, tuple[int, int]]:
    """Returns name and key of the pictures of a folder -> size; nothing where it does not say."""
    if folder is None:
        return {}
    try:
        content = json.loads((folder / DRAWN).read_text(encoding="utf-8"))
        found = {str(name): (int(size[0]), int(size[1])) for name, size in content.items()}
    except (OSError, ValueError, TypeError, IndexError, AttributeError):
        return {}
    return {
        name: size
        for name, size in found.items()
        if all((folder / f"{name.partition('/')[0]}.{ending}").is_file() for ending in ENDINGS)
    }


def _copy(name: str, before: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        shutil.copyfile(before / f"{name}.{ending}", folder / f"{name}.{ending}")


def _jobs(numbers: Mapping[str, Any]) -> list[tuple[Plot, Draw]]:
    """Returns what could be drawn, each with the function that draws it."""
    colours = checkpoint_colours(numbers)
    jobs: list[tuple[Plot, Draw]] = []
    for index, (name, rows) in enumerate(length_families(numbers["rows"])):
        title = "Accuracy by input length" + (f": {name}" if name else "")
        about = "Accuracy with 95% intervals over input length, by checkpoint and solver."
        plot = Plot(f"length{_suffix(index)}", "overall", title, about)
        jobs.append((plot, partial(length_figure, rows, colours)))
    about = "Paired difference to the baseline in percentage points with 95% intervals."
    plot = Plot("differences", "overall", f"Difference to {numbers['baseline']}", about)
    jobs.append((plot, partial(difference_figure, numbers["differences"], colours)))
    for name in ("task_type", "input_length", "hops", "kind"):
        setting, rows = main_setting(numbers["breakdowns"].get(name, []))
        about = f"Accuracy with 95% intervals by {words(name)} and checkpoint."
        plot = Plot(name, name, f"Accuracy by {words(name)}: {setting}", about)
        unit = "hop" if name == "hops" else ""
        jobs.append((plot, partial(breakdown_figure, rows, colours, unit)))
    for index, maps in enumerate(heat_families(numbers["heat_maps"])):
        title = f"Score by depth of the evidence and length: {maps[0]['task']}"
        about = "Mean score by where the evidence stands (rows) and input length (columns)."
        plot = Plot(f"depth{_suffix(index)}", "depth", title, about)
        jobs.append((plot, partial(heat_figure, maps)))
    about = "Share of the evidence that was read, noted and kept to the end, by input length."
    plot = Plot("retention", "retention", "What the memory agent read, noted and kept", about)
    jobs.append((plot, partial(retention_figure, numbers["retention"], colours)))
    for index, stage in enumerate(numbers["training"]):
        about = "Reward, entropy, response length and gradient norm by training step."
        plot = Plot(f"training{_suffix(index)}", "training", f"Training: {stage['stage']}", about)
        jobs.append((plot, partial(training_figure, stage["steps"])))
    return jobs


def checkpoint_colours(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Returns a colour per checkpoint: grey for the baseline, then those evaluated most often."""
    counts = Counter(row["checkpoint"] for row in numbers["rows"])
    others = sorted(counts.keys() - {numbers["baseline"]}, key=lambda name: (-counts[name], name))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(others)}
    return {str(numbers["baseline"]): BASELINE_COLOUR} | colours


def length_families(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the rows of tasks that differ in length only, by the name that they share.

    world-1x, world-4x and world-16x are one family, and so is one task that was run at several
    lengths. A family with one length is no picture.
    """
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row["input_over_window"] is not None:
            families.setdefault(family(row["task"]), []).append(row)
    return [
        (name, part)
        for name, part in sorted(families.items())
        if len({row["input_over_window"] for row in part}) > 1
    ]


def heat_families(maps: Sequence[Row]) -> list[list[Row]]:
    """Returns the heat maps of each task and solver together, to be drawn side by side."""
    families: dict[tuple[str, str], list[Row]] = {}
    for one in maps:
        families.setdefault((one["task"], one["solver"]), []).append(one)
    return list(families.values())


def main_setting(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """Returns the task and solver with the most samples, in words, and its rows."""
    settings: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        settings.setdefault((row["task"], row["solver"]), []).append(row)
    if not settings:
        return "", []
    # Full context first where the samples are equally many: it is what checkpoints are trained on.
    best = max(
        sorted(settings), key=lambda key: (_num_samples(settings[key]), key[1] == "full_context")
    )
    return f"{best[0]}, {solver_name(best[1])}", settings[best]


def _num_samples(rows: Sequence[Row]) -> int:
    return max(int(row["num_samples"]) for row in rows)


def _suffix(index: int) -> str:
    return f"-{index + 1}" if index else ""


def _save(figure: Figure, folder: Path, plot: Plot) -> Plot:
    """Returns the plot with its size, after writing both files."""
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = {"metadata": {"Date": None}}, {"dpi": PNG_DOTS_PER_INCH}
    for ending, options in (("svg", svg), ("png", png)):
        path = folder / f"{plot.name}.{ending}"
        figure.savefig(path, format=ending, transparent=True, **options)
    width, height = figure.get_size_inches()
    return replace(plot, width=round(96 * width), height=round(96 * height))
