"""Names of the board's rows: what tells two runs apart is written out, so none are mixed.

Runs of one task in several versions, by several judges or scorings, of one checkpoint name with
several weights, or under several settings get the difference into their names; differences that
nobody varied stay out of sight.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longspan.leaderboards.rows import Run, bounded

SHOWN_HASH_CHARS = 8
MAX_FACT_CHARS = 40
REPEAT_SETTINGS = frozenset({"seed"})
"""Settings that make another draw of the same comparison, not another condition."""


@dataclass(frozen=True)
class Label:
    """The name of one row; samples pair across checkpoints where all but `checkpoint` are equal."""

    checkpoint: str
    solver: str
    task: str
    input_over_window: float | int | None

    @property
    def condition(self) -> tuple[Any, ...]:
        """What must be equal for two checkpoints to be compared."""
        return self.task, self.input_over_window, self.solver

    def as_dict(self) -> dict[str, Any]:
        """Returns the key fields of a row."""
        return {
            "checkpoint": self.checkpoint,
            "solver": self.solver,
            "task": self.task,
            "input_over_window": self.input_over_window,
        }


def label_runs(runs: Sequence[Run]) -> list[Label]:
    """Returns the label of each run; no two are equal.

    Args:
        runs: No two of one identity.
    """
    short = short_hashes([one for run in runs for one in (run.task_version, run.checkpoint_hash)])
    arguments = _arguments(runs, short)
    versions = _named(runs, lambda run: run.task, lambda run: arguments[run.task, run.task_version])
    conflicts = conflicting_prompts(runs)
    tasks = _with_differences(
        runs, versions, lambda i: versions[i], lambda run: _measure(run, conflicts)
    )
    names = _named(runs, lambda run: run.checkpoint, lambda run: short[run.checkpoint_hash])
    solvers = _with_differences(
        runs, [run.solver for run in runs], lambda i: (tasks[i], runs[i].solver), _condition
    )
    keys = [
        (names[i], solvers[i], tasks[i], _whole(run.input_over_window))
        for i, run in enumerate(runs)
    ]
    names = _with_differences(runs, names, lambda i: keys[i], _repeat)
    return _distinct([Label(names[i], *key[1:]) for i, key in enumerate(keys)], runs)


def _distinct(labels: Sequence[Label], runs: Sequence[Run]) -> list[Label]:
    """Returns labels of which those that are still equal name their evaluation by a hash."""
    counts = Counter(labels)
    return [
        label
        if counts[label] == 1
        else replace(label, solver=f"{label.solver} (evaluation {_identity_hash(run)})")
        for label, run in zip(labels, runs, strict=True)
    ]


def short_hashes(values: Iterable[str | None]) -> dict[str | None, str]:
    """Returns hashes or versions -> their beginnings, as long as it takes to tell them apart."""
    known = {value for value in values if value}
    lengths = range(SHOWN_HASH_CHARS, max(map(len, known), default=0) + 1)
    enough = next((n for n in lengths if len({one[:n] for one in known}) == len(known)), None)
    return {"": "no hash", None: "no hash"} | {value: value[:enough] for value in known}


def conflicting_prompts(runs: Sequence[Run]) -> set[str]:
    """Returns the forms of the judge's prompt of which the runs used several wordings.

    A form that a run never needed says nothing: which are used depends on the answers.
    """
    hashes: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for form, prompt_hash in run.judge_prompts.items():
            hashes[form].add(prompt_hash)
    return {form for form, known in hashes.items() if len(known) > 1}


def _measure(run: Run, conflicts: set[str]) -> dict[str, Any]:
    """Returns what makes a score another measurement of the same task."""
    prompts = {
        f"{form} prompt": run.judge_prompts.get(form, "unused")[:SHOWN_HASH_CHARS]
        for form in sorted(conflicts)
    }
    return {
        **run.task_args,
        "metric": run.metric,
        "judge": run.judge or "none",
        **run.scoring,
        **prompts,
    }


def _condition(run: Run) -> dict[str, Any]:
    settings = {k: v for k, v in run.settings.items() if k not in REPEAT_SETTINGS}
    return {**settings, **run.solver_args}


def _repeat(run: Run) -> dict[str, Any]:
    repeats = {k: v for k, v in run.settings.items() if k in REPEAT_SETTINGS}
    return {**repeats, "epochs": run.epochs}


def _arguments(runs: Sequence[Run], short: Mapping[str | None, str]) -> dict[tuple[str, str], str]:
    """Returns task and version -> the arguments that make the version, else its hash.

    Arguments name a version only where they tell all versions of the task apart.
    """
    known: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        known[run.task].setdefault(run.task_version, run)
    found = {}
    for task, versions in known.items():
        facts = {v: {k: str(x) for k, x in run.task_args.items()} for v, run in versions.items()}
        keys = sorted({key for one in facts.values() for key in one})
        differing = [k for k in keys if len({one.get(k) for one in facts.values()}) > 1]
        texts = {v: _shown(one, differing) for v, one in facts.items()}
        tell_apart = len(set(texts.values())) == len(texts)
        for version in versions:
            found[task, version] = texts[version] if tell_apart else short[version]
    return found


def _named(
    runs: Sequence[Run], name: Callable[[Run], str], detail: Callable[[Run], str]
) -> list[str]:
    """Returns names, with the detail where one name has several."""
    details: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        details[name(run)].add(detail(run))
    return [
        f"{name(run)} ({detail(run)})" if len(details[name(run)]) > 1 else name(run) for run in runs
    ]


def _with_differences(
    runs: Sequence[Run],
    names: Sequence[str],
    key: Callable[[int], Hashable],
    facts: Callable[[Run], Mapping[str, Any]],
) -> list[str]:
    """Returns names, with the facts in which runs of one key differ."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index in range(len(runs)):
        groups[key(index)].append(index)
    result = list(names)
    for members in groups.values():
        known = [dict(facts(runs[index])) for index in members]
        differing = [
            fact
            for fact in sorted({fact for one in known for fact in one})
            if len({str(one.get(fact)) for one in known}) > 1
        ]
        for index, one in zip(members, known, strict=True):
            if differing:
                result[index] = f"{names[index]} ({_shown(one, differing)})"
    return result


def _shown(facts: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name}={bounded(facts.get(name), MAX_FACT_CHARS)}" for name in names)


def _identity_hash(run: Run) -> str:
    return hashlib.sha256(run.identity.encode()).hexdigest()[:SHOWN_HASH_CHARS]


def _whole(number: float | None) -> float | int | None:
    return int(number) if number is not None and number == int(number) else number
