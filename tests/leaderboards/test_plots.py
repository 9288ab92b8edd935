"""The pictures: which there are, and that the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longspan.leaderboards.figures import training_figure
from longspan.leaderboards.page import pivot_tables
from longspan.leaderboards.palette import BASELINE_COLOUR
from longspan.leaderboards.plots import (
    DRAWN,
    by_setting,
    checkpoint_colours,
    draw_plots,
    length_families,
)


def row(checkpoint: str, windows: int, solver: str = "full_context", **more: Any) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "solver": solver,
        "task": f"world-{windows}x",
        "input_over_window": windows,
        "accuracy": 0.5,
        "interval": [0.4, 0.6],
        "num_samples": 100,
    } | more


def numbers(checkpoint: str = "trained") -> dict[str, Any]:
    rows = [row(name, windows) for name in ("nano", checkpoint) for windows in (1, 16)]
    return {
        "baseline": "nano",
        "rows": rows,
        "differences": [
            row(checkpoint, 1, mean=0.1, interval=[0.0, 0.2], verdict="better"),
        ],
        "breakdowns": {"task_type": [one | {"group": g} for one in rows for g in ("a", "b")]},
        "heat_maps": [
            row(name, 1)
            | {
                "lengths": ["1K\u20132K", "2K\u20134K"],
                "depths": ["0\u201350%", "50\u2013100%"],
                "cells": [[{"accuracy": 0.5, "num_samples": 3}, None]] * 2,
            }
            for name in ("nano", checkpoint)
        ],
        "retention": [row(checkpoint, 16, read=1.0, noted=0.5, kept=0.25)],
        "training": [{"stage": "s", "steps": [{"step": 1, "reward_mean": 0.5}]}],
    }


def test_every_picture_is_an_svg_and_a_png(tmp_path: Path):
    plots = draw_plots(numbers(), tmp_path)
    names = [plot.name for plot in plots]
    assert names == ["length", "differences", "task_type", "depth", "retention", "training"]
    assert {path.name for path in tmp_path.iterdir()} - {DRAWN} == {
        f"{name}.{ending}" for name in names for ending in ("svg", "png")
    }
    assert all(plot.width > 0 and plot.height > 0 for plot in plots)


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path):
    draw_plots(numbers(), tmp_path / "a")
    draw_plots(numbers(), tmp_path / "b")
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_picture_of_the_same_numbers_is_taken_from_the_board_before(tmp_path: Path, monkeypatch):
    before = draw_plots(numbers(), tmp_path / "a")
    (tmp_path / "a" / "length.svg").write_text("kept")
    (tmp_path / "a" / "training.png").unlink()
    changed = numbers()
    changed["retention"][0]["kept"] = 0.1
    drawn = []

    def note(job: Any, folder: Path) -> tuple[int, int]:
        drawn.append(job.plot.name)
        return 1, 1

    monkeypatch.setattr("longspan.leaderboards.plots.draw_job", note)
    after = draw_plots(changed, tmp_path / "b", tmp_path / "a")
    assert drawn == ["retention", "training"]
    assert (tmp_path / "b" / "length.svg").read_text() == "kept"
    kept = {plot.name: plot for plot in after if plot.name not in drawn}
    assert all(kept[plot.name] == plot for plot in before if plot.name in kept)
    (tmp_path / "a" / DRAWN).write_text("[1]")
    assert len(draw_plots(changed, tmp_path / "c", tmp_path / "a")) == len(before)


def test_names_are_neither_mathematics_nor_markup(tmp_path: Path):
    plots = draw_plots(numbers("_$\\frac{1}{0$ <script>\x07" + "x" * 500), tmp_path)
    assert len(plots) == 6
    assert b"<script" not in (tmp_path / "length.svg").read_bytes()


def test_nothing_to_draw_is_no_picture(tmp_path: Path):
    empty = {"baseline": None, "rows": [], "differences": [], "breakdowns": {}}
    empty |= {"heat_maps": [], "retention": [], "training": []}
    assert draw_plots(empty, tmp_path) == []


def test_tasks_that_differ_in_length_only_are_one_family():
    rows = [row("nano", 1), row("nano", 16), row("nano", 4, task="musique")]
    ((name, part),) = length_families(rows)
    assert name == "world" and len(part) == 2
    assert length_families([row("nano", 1), row("trained", 1)]) == []


def test_the_baseline_is_grey_and_the_most_evaluated_checkpoint_comes_next():
    colours = checkpoint_colours(
        {"baseline": "nano", "rows": [row("nano", 1), row("ceiling", 1)] + 2 * [row("trained", 1)]}
    )
    assert list(colours) == ["nano", "trained", "ceiling"]
    assert colours["nano"] == BASELINE_COLOUR


def test_the_first_setting_has_the_most_samples_and_reads_in_full():
    rows = [row("nano", 1, "memory_agent"), row("nano", 1), row("nano", 16, num_samples=20)]
    assert by_setting(rows) == [
        ("world-1x, full context", [rows[1]]),
        ("world-1x, memory agent", [rows[0]]),
        ("world-16x, full context", [rows[2]]),
    ]


def test_the_picture_is_of_the_first_table():
    rows = [
        row("nano", 1) | {"task": task, "group": group, "num_samples": number}
        for task, group, number in (("a", "x", 6), ("a", "y", 2), ("b", "x", 5), ("b", "y", 5))
    ]
    title, _ = by_setting(rows)[0]
    assert title == "b, full context" == pivot_tables(rows, ["nano"])[0]["title"]


def test_masked_steps_are_shaded_run_by_run():
    steps = [
        {
            "step": s,
            "entropy": 0.2,
            "aepo_low": 0.1,
            "aepo_high": 0.3,
            "aepo_masking": s in (2, 3, 6),
        }
        for s in range(1, 7)
    ]
    figure = training_figure(steps)
    assert figure is not None
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[0].patches]
    assert spans == [(1.5, 3.5), (5.5, 6.5)]


def test_a_step_without_a_number_leaves_a_gap():
    steps = [{"step": 1, "reward_mean": None}, {"step": 2, "reward_mean": 0.4}]
    figure = training_figure(steps)
    assert figure is not None
    assert list(figure.axes[0].lines[0].get_xdata()) == [2]
