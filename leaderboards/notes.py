"""What a reader must know before comparing rows: runs that were sampled, judged or cut differently.

Rows of different versions, judges or scoring have different names (`leaderboards.labels`) and are
never compared; runs of different samples are compared on those they share. The notes say so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from longspan.leaderboards.contents import Conflict
from longspan.leaderboards.labels import (
    SHOWN_HASH_CHARS,
    conflicting_prompts,
    label_runs,
    short_hashes,
)
from longspan.leaderboards.rows import Run
from longspan.leaderboards.wording import solver_name

MAX_TASKS = 8
"""Tasks that a note names."""


def comparison_notes(runs: Sequence[Run]) -> list[str]:
    """Returns a note for each task whose runs are not all comparable, or not on all samples."""
    tasks: dict[str, list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        tasks[run.task].append(index)
    notes = []
    for task, members in sorted(tasks.items()):
        part = [runs[index] for index in members]
        conflicts = conflicting_prompts(part)
        short = short_hashes([run.task_version for run in part])
        facts: tuple[tuple[str, Callable[[Run], str]], ...] = (
            ("versions", lambda run, short=short: short[run.task_version]),  # type: ignore[misc]
            ("judges", lambda run: run.judge or "none"),
            ("scorings", lambda run: _words(run.scoring)),
        )
        for what, value in facts:
            values = sorted({value(run) for run in part})
            if len(values) > 1:
                notes.append(
                    f"{task} stands here in {len(values)} {what} ({'; '.join(values)}): rows of "
                    "different ones are not compared."
                )
        if conflicts:
            notes.append(
                f"{task} was judged with different prompts ({', '.join(sorted(conflicts))}): rows "
                "of different ones are not compared."
            )
    return notes + _sample_set_notes(runs)


def content_notes(conflicts: Iterable[Conflict]) -> list[str]:
    """Returns a note for each task of which logs disagree what its samples ask."""
    return [
        f"{one.task}, version {one.task_version[:SHOWN_HASH_CHARS]}: {one.num_samples} samples ask "
        "or expect other things in some logs than in others, under the same id and version. They "
        "count as different samples; differences are over those that are equal."
        for one in conflicts
    ]


def missing_notes(
    numbers: Mapping[str, Any], training: Path | None, declared: str | None
) -> list[str]:
    """Returns a note for a declared board and for a training run of which nothing was found.

    Args:
        numbers: Of the board.
        training: Folder or file of the training run; None: there is none.
        declared: Name or file of the declared board; None: there is none.
    """
    notes = []
    suite = numbers["suite"]
    if declared and suite and not suite["rows"]:
        tasks = list(dict.fromkeys(task for one in suite["columns"] for task in one["tasks"]))
        shown = ", ".join(tasks[:MAX_TASKS]) + (", ..." if len(tasks) > MAX_TASKS else "")
        notes.append(
            f"Nothing was found for the declared board {Path(declared).name}: no log is a run of "
            f"its tasks ({shown}) by {solver_name(suite['solver'])}."
        )
    if training and not numbers["training"]:
        notes.append(
            f"Nothing was found for the training run {training.resolve().name}: there is no "
            "metrics.jsonl with steps in it or below it."
        )
    return notes


def _sample_set_notes(runs: Sequence[Run]) -> list[str]:
    """Returns a note for each condition that was run on several sets of samples."""
    conditions: dict[tuple[Any, ...], list[tuple[str, Run]]] = defaultdict(list)
    for label, run in zip(label_runs(runs), runs, strict=True):
        conditions[label.task, label.input_over_window].append((label.checkpoint, run))
    notes = []
    for (task, windows), members in sorted(conditions.items(), key=str):
        sets: dict[str, set[str]] = defaultdict(set)
        sizes: dict[str, int] = {}
        for _, run in members:
            sizes[run.sample_set] = max(sizes.get(run.sample_set, 0), run.num_samples // run.epochs)
        for checkpoint, run in members:
            sets[run.sample_set].add(f"{checkpoint} / {solver_name(run.solver)}")
        if len(sets) > 1:
            shown = "; ".join(
                f"{sizes[key]} samples for {', '.join(sorted(names))}"
                for key, names in sorted(sets.items(), key=lambda item: sorted(item[1]))
            )
            at = f" at {windows:g}x" if windows is not None else ""
            notes.append(
                f"Not all evaluations of {task}{at} had the same samples ({shown}): accuracies are "
                "over each one's own samples, differences over shared samples only."
            )
    return notes


def sampling_notes(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns a note for each sampling setting in which the board's evaluations differ.

    It names the tasks; where one task was sampled in two ways, solvers and checkpoints as well.
    Evaluations in which nothing is generated do not count, nor greedy ones for what cuts the
    distribution.
    """
    generated, notes = [source for source in sources if source["generates"]], []
    for name in ("temperature", "top_p", "top_k"):
        sources = generated
        if name != "temperature":
            sources = [one for one in generated if one["settings"].get("temperature") != 0]
        if len({source["settings"].get(name) for source in sources}) <= 1:
            continue
        for parts in (("task",), ("task", "solver"), ("task", "checkpoint", "solver")):
            found: dict[Any, set[str]] = defaultdict(set)
            for source in sources:
                label = " / ".join(str(source[part]) for part in parts)
                found[source["settings"].get(name)].add(label)
            if len(set.union(*found.values())) == sum(map(len, found.values())):
                break
        shown = [
            f"{'default' if value is None else value} for {', '.join(sorted(labels))}"
            for value, labels in sorted(found.items(), key=lambda item: sorted(item[1]))
        ]
        notes.append(f"Not all evaluations were sampled alike: {name} {'; '.join(shown)}.")
    return notes


def _words(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(facts.items())) or "default"
