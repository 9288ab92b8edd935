"""Filtering: how hard every sample is for a checkpoint, and which samples a later stage trains on.

    STAGE/difficulties.jsonl   versions of the tasks, then a line per sample; grows part by part
    STAGE/kept.json            the samples that are kept, and how many were dropped for what

A sample's rollouts follow from recipe, stage, sample and epoch alone, so a measurement that was
killed goes on with the next part and ends with the same bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longspan.harness.errors import DataError, RecipeError
from longspan.harness.files import read_mapping
from longspan.harness.rollout import Rollout
from longspan.harness.scoring.validity import is_scored
from longspan.harness.stratify import draw_evenly, histogram, mean_rate
from longspan.trainers.local.policy import sampling_engine
from longspan.trainers.local.stage import (
    StageRun,
    registered,
    sample_key,
    stage_environment,
    stage_samples,
    task_versions,
)
from longspan.trainers.progress import StageProgress
from longspan.trainers.stages import FilterStage

DIFFICULTIES, KEPT = "difficulties.jsonl", "kept.json"


def filter_stage(run: StageRun[FilterStage]) -> frozenset[str]:
    """Runs or resumes a filter stage and returns the keys of the samples that are kept.

    Raises:
        RecipeError: no sample is kept, or the tasks have changed since the stage began.
        ModelError: the checkpoint cannot be used.
    """
    place = run.folder / KEPT
    if not place.exists():
        run.folder.mkdir(parents=True, exist_ok=True)
        difficulties = _measure(run)
        _write_json(place, _selection(run, difficulties))
    return frozenset(read_mapping(place, "selection of a filter stage")["kept"])


def select(stage: FilterStage, difficulties: Mapping[str, float], seed: int) -> list[str]:
    """Returns the keys whose mean reward lies in the stage's bounds, drawn evenly from its bins."""
    inside = {k: rate for k, rate in difficulties.items() if stage.lowest <= rate <= stage.highest}
    if stage.num_samples is None:
        return sorted(inside)
    return draw_evenly(inside, stage.num_samples, stage.num_bins, seed)


def _measure(run: StageRun[FilterStage]) -> dict[str, float | None]:
    """Returns the mean reward of every sample, None where no rollout had a score."""
    sampling = run.stage.sampling
    with registered(sampling_engine(run.start, run.model), run.stage.name) as name:
        environment = stage_environment(run, name)
        samples = stage_samples(environment.tasks, run)
        path = run.folder / DIFFICULTIES
        found = _resume(path, task_versions(environment.tasks))
        left = [key for key in samples if key not in found]
        with StageProgress(run.stage.name, len(samples), len(found), run.quiet) as progress:
            for start in range(0, len(left), sampling.batch_size):
                batch = defaultdict(list)
                for key in left[start : start + sampling.batch_size]:
                    task, sample = samples[key]
                    batch[task].append(sample)
                rows = _rates(environment.rollouts(batch, sampling.group_size))
                _append(path, [{"sample": key, "mean_reward": rows[key]} for key in sorted(rows)])
                found.update(rows)
                progress.show(len(found), f"mean reward {_mean(found):.3f}")
    return found


def _rates(rollouts: list[Rollout]) -> dict[str, float | None]:
    """Returns the mean reward of every sample, clipped to [0, 1]; None without a scored rollout."""
    rewards: dict[str, list[float]] = defaultdict(list)
    for one in rollouts:
        own = rewards[sample_key(one.task, one.sample_id)]
        if one.reward is not None and is_scored(one.validity):
            own.append(float(one.reward))
    return {key: mean_rate(own) for key, own in rewards.items()}


def _selection(
    run: StageRun[FilterStage], difficulties: Mapping[str, float | None]
) -> dict[str, Any]:
    """Returns what is kept, with the counts that explain it."""
    stage = run.stage
    scored = {key: rate for key, rate in difficulties.items() if rate is not None}
    kept = select(stage, scored, run.stage_seed)
    if not kept:
        raise RecipeError(
            f"filter {stage.name} keeps none of {len(difficulties)} samples: mean rewards "
            f"{histogram(scored.values(), 10)} by tenths, bounds [{stage.lowest}, "
            f"{stage.highest}]; widen them"
        )
    return {
        "kept": kept,
        "num_measured": len(difficulties),
        "num_without_score": len(difficulties) - len(scored),
        "num_too_hard": sum(rate < stage.lowest for rate in scored.values()),
        "num_too_easy": sum(rate > stage.highest for rate in scored.values()),
        "histogram": histogram(scored.values(), 10),
        "histogram_kept": histogram((scored[key] for key in kept), 10),
    }


def _mean(rates: Mapping[str, float | None]) -> float:
    scored = [rate for rate in rates.values() if rate is not None]
    return sum(scored) / len(scored) if scored else math.nan


def _resume(path: Path, versions: Mapping[str, str]) -> dict[str, float | None]:
    """Returns what was measured before; a line that a kill left unfinished is cut off.

    Raises:
        RecipeError: the tasks have changed since.
        DataError: the file is damaged.
    """
    if not path.exists():
        _append(path, [{"versions": dict(versions)}])
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    if not whole:
        return _resume_empty(path, versions)
    try:
        first, *rows = [json.loads(line) for line in whole.splitlines()]
        before, found = first["versions"], {row["sample"]: row["mean_reward"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"damaged: {path} ({error}); delete it to measure again") from error
    if before != versions:
        raise RecipeError(
            f"the tasks have changed since {path.parent} was started: {dict(versions)}, then "
            f"{before}; restore them or train into another folder"
        )
    return found


def _resume_empty(path: Path, versions: Mapping[str, str]) -> dict[str, float | None]:
    path.unlink()
    return _resume(path, versions)


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
