"""A picture of a board as SVG and PNG files: the same bytes for the same numbers.

Backgrounds are transparent and all lines and letters are of middle tones, so that a picture can be
read on a light and on a dark page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from longspan.leaderboards import figures
from longspan.leaderboards.palette import GRID, INK

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


def draw(figure: str, numbers: tuple[Any, ...], folder: Path, name: str) -> tuple[int, int] | None:
    """Returns the size of a picture in CSS pixels, after writing both files; None without one.

    Args:
        figure: Name of the function in `leaderboards.figures` that draws it.
        numbers: Its arguments.
        folder: Where the files go.
        name: Their name, without ending.
    """
    with matplotlib.rc_context(STYLE):
        drawn: Figure | None = getattr(figures, figure)(*numbers)
        if drawn is None:
            return None
        _place(drawn)
        for ending, options in (
            ("svg", {"metadata": {"Date": None}}),
            ("png", {"dpi": PNG_DOTS_PER_INCH}),
        ):
            drawn.savefig(folder / f"{name}.{ending}", format=ending, transparent=True, **options)
        width, height = drawn.get_size_inches()
        return round(96 * width), round(96 * height)


def _place(figure: Figure) -> None:
    """Places what a figure holds, once: each of its files would do it again, a quarter of all."""
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)
