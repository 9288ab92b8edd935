"""Which pictures a board has, and that only those of new numbers are drawn.

A picture of the same numbers, drawn by the same code, is taken from the board before: drawing is
half of the work of a board that a log is added to.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longspan.leaderboards.palette import BASELINE_COLOUR, COLOURS
from longspan.leaderboards.wording import family, solver_name, words
from longspan.leaderboards.workers import Workers

Row = Mapping[str, Any]
Size = tuple[int, int]

ENDINGS = ("svg", "png")
DRAWN = "drawn.json"
"""File beside the pictures: what each was drawn from, as a hash, and its size."""
DRAWERS = ("drawing", "figures", "palette", "wording")
"""Modules that decide what a picture looks like; matplotlib comes with the first two."""


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


@dataclass(frozen=True, eq=False)
class Job:
    """A picture that could be drawn."""

    plot: Plot
    figure: str
    """Function of `leaderboards.figures`."""
    numbers: tuple[Any, ...]
    """Its arguments."""

    @cached_property
    def facts(self) -> str:
        """What is drawn, as JSON."""
        return json.dumps([self.figure, *self.numbers], sort_keys=True)

    @property
    def key(self) -> str:
        """What the picture follows from: numbers and code, as a hash."""
        return hashlib.sha256(f"{_code()}{self.facts}".encode()).hexdigest()[:32]


def draw_plots(numbers: Mapping[str, Any], folder: Path, before: Path | None = None) -> list[Plot]:
    """Returns the pictures that the numbers allow, drawn here; arguments as for `start_plots`."""
    return start_plots(numbers, folder, before, Workers(1))()


def start_plots(
    numbers: Mapping[str, Any], folder: Path, before: Path | None, workers: Workers
) -> Callable[[], list[Plot]]:
    """Starts to draw the pictures that the numbers allow, and returns what waits for them.

    Args:
        numbers: Of a board.
        folder: Where SVG and PNG go, with a list of what each was drawn from.
        before: Such a folder of an older board; a picture of the same numbers is taken from it.
        workers: Other processes, which draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = {} if before is None else _drawn_before(before)
    jobs = _jobs(numbers)
    waits: dict[Job, Callable[[], Size | None]] = {}
    for job in sorted(jobs, key=lambda one: -len(one.facts)):  # none waits for a long one at last
        size = known.get(f"{job.plot.name}/{job.key}")
        if before is not None and size is not None:
            waits[job] = partial(_copy, job.plot.name, before, folder, size)
        else:
            waits[job] = workers.start(partial(draw_job, job, folder))

    def finish() -> list[Plot]:
        plots, drawn = [], {}
        for job in jobs:
            size = waits[job]()
            if size is not None:
                plots.append(replace(job.plot, width=size[0], height=size[1]))
                drawn[f"{job.plot.name}/{job.key}"] = size
        if drawn:
            (folder / DRAWN).write_text(json.dumps(drawn, indent=1) + "\n", encoding="utf-8")
        return plots

    return finish


def draw_job(job: Job, folder: Path) -> Size | None:
    """Returns the size of a picture, after writing its files; None where there is nothing in it."""
    from longspan.leaderboards.drawing import draw  # matplotlib, which kept pictures do not need

    return draw(job.figure, job.numbers, folder, job.plot.name)


@functools.cache
def _code() -> str:
    places = [find_spec(f"longspan.leaderboards.{name}") for name in DRAWERS]
    code = b"".join(Path(str(place.origin)).read_bytes() for place in places if place)
    return f"{hashlib.sha256(code).hexdigest()}{version('matplotlib')}"


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


def _copy(name: str, before: Path, folder: Path, size: Size) -> Size:
    for ending in ENDINGS:
        shutil.copyfile(before / f"{name}.{ending}", folder / f"{name}.{ending}")
    return size


def _jobs(numbers: Mapping[str, Any]) -> list[Job]:
    """Returns what could be drawn."""
    colours = checkpoint_colours(numbers)
    jobs: list[Job] = []
    for index, (name, rows) in enumerate(length_families(numbers["rows"])):
        title = "Accuracy by input length" + (f": {name}" if name else "")
        about = "Accuracy with 95% intervals over input length, by checkpoint and solver."
        plot = Plot(f"length{_suffix(index)}", "overall", title, about)
        jobs.append(Job(plot, "length_figure", (rows, colours)))
    about = "Paired difference to the baseline in percentage points with 95% intervals."
    plot = Plot("differences", "overall", f"Difference to {numbers['baseline']}", about)
    jobs.append(Job(plot, "difference_figure", (numbers["differences"], colours)))
    for name in ("task_type", "input_length", "hops", "kind"):
        setting, rows = next(iter(by_setting(numbers["breakdowns"].get(name, []))), ("", []))
        about = f"Accuracy with 95% intervals by {words(name)} and checkpoint."
        plot = Plot(name, name, f"Accuracy by {words(name)}: {setting}", about)
        unit = "hop" if name == "hops" else ""
        jobs.append(Job(plot, "breakdown_figure", (rows, colours, unit)))
    for index, maps in enumerate(heat_families(numbers["heat_maps"])):
        setting = f"{maps[0]['task']}, {solver_name(maps[0]['solver'])}"
        title = f"Score by depth of the evidence and length: {setting}"
        about = "Mean score by where the evidence stands (rows) and input length (columns)."
        plot = Plot(f"depth{_suffix(index)}", "depth", title, about)
        jobs.append(Job(plot, "heat_figure", (maps,)))
    about = "Share of the evidence that was read, noted and kept to the end, by input length."
    plot = Plot("retention", "retention", "What the memory agent read, noted and kept", about)
    jobs.append(Job(plot, "retention_figure", (numbers["retention"], colours)))
    for index, stage in enumerate(numbers["training"]):
        about = "Reward, entropy, response length and gradient norm by training step."
        plot = Plot(f"training{_suffix(index)}", "training", f"Training: {stage['stage']}", about)
        jobs.append(Job(plot, "training_figure", (stage["steps"],)))
    return [job for job in jobs if job.numbers[0]]


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


def by_setting(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the rows of every task, length and solver with the words for these.

    Those with the most samples come first; of equal ones full context, which checkpoints are
    trained on.
    """
    settings: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        settings.setdefault((row["task"], row["input_over_window"], row["solver"]), []).append(row)

    def order(key: tuple[Any, ...]) -> tuple[int, bool]:
        return -sum(row["num_samples"] for row in settings[key]), key[2] != "full_context"

    keys = sorted(settings, key=order)
    return [(f"{key[0]}, {solver_name(key[2])}", settings[key]) for key in keys]


def _suffix(index: int) -> str:
    return f"-{index + 1}" if index else ""
