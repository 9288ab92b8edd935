"""The report of an ablation: a table of paired differences over seeds, and the training curves.

The unit is a run: an arm trained from one seed. Differences are taken seed by seed, and intervals
are Student's over the seeds, so that they hold the noise of training as well as of evaluation. A
second interval is over the held-out samples, clustered by world, of each sample's mean over the
seeds: what other samples would do to these very runs.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from longspan.leaderboards.logs import read_logs
from longspan.leaderboards.statistics import estimate_difference

Runs = Mapping[tuple[str, int], Path]
RESULTS = "results.json"
EDGE_STEPS = 5
"""Steps at the end of training whose mean is reported."""
CURVES = {"reward_mean": "reward", "entropy": "entropy (nats)", "gradient_norm": "gradient norm"}


def write_report(plan: Mapping[str, Any], runs: Runs, out: Path) -> str:
    """Writes results.json, report.md and curves.png into `out`; returns the report's text."""
    samples = {run: run_samples(folder) for run, folder in runs.items()}
    scores = {run: run_scores(parts) for run, parts in samples.items()}
    curves = {run: run_curves(folder) for run, folder in runs.items()}
    arms = list(dict.fromkeys(arm for arm, _ in runs))
    seeds = sorted({seed for _, seed in runs})
    columns = list(dict.fromkeys(name for one in scores.values() for name in one))
    values = {
        column: {arm: [scores[arm, s].get(column, np.nan) for s in seeds] for arm in arms}
        for column in columns
    }
    tables = {column: compare(values[column], plan["baseline"]) for column in columns}
    for column, rows in tables.items():
        for arm, row in rows.items():
            if ":" not in column and "difference" in row:
                pair = [
                    [samples[one, seed].get(column) for seed in seeds]
                    for one in (arm, baseline_of(arm, plan["baseline"]))
                ]
                row |= over_samples(*pair)
    results = {
        "name": plan["name"],
        "baseline": plan["baseline"],
        "seeds": seeds,
        "scores": tables,
        "training": {
            arm: summary([curves[arm, s] for s in seeds])
            for arm in arms
            if all(curves[arm, s] for s in seeds)
        },
    }
    (out / RESULTS).write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    text = render(plan, results)
    (out / "report.md").write_text(text, "utf-8")
    draw(curves, list(results["training"]), seeds, out / "curves.png")
    return text


def run_samples(folder: Path) -> dict[str, pd.DataFrame]:
    """Returns the scored samples of a run's last checkpoint by evaluation."""
    found = {logs.name: read_logs([logs]).samples for logs in sorted(folder.glob("logs/*/*"))}
    return {name: samples[samples["value"].notna()] for name, samples in found.items()}


def run_scores(parts: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Returns a run's accuracy by evaluation, and by task type."""
    result: dict[str, float] = {}
    for name, samples in parts.items():
        result[name] = float(samples["value"].mean())
        for kind, part in samples.groupby("task_type"):
            result[f"{name}: {kind}"] = float(part["value"].mean())
    return result


def over_samples(
    ours: Sequence[pd.DataFrame | None], base: Sequence[pd.DataFrame | None]
) -> dict[str, float]:
    """Returns the interval over samples of an arm's runs against the baseline's; {} without any.

    A sample's value is its mean over the seeds; samples of one world are a cluster.
    """
    sides = []
    for frames in (ours, base):
        rows = pd.concat([frame for frame in frames if frame is not None] or [pd.DataFrame()])
        if rows.empty:
            return {}
        sides.append(rows.groupby("sample"))
    means = [side["value"].mean().to_dict() for side in sides]
    estimate = estimate_difference(*means, sides[0]["document_group"].first().to_dict())
    if estimate is None:
        return {}
    return {
        "samples_low": estimate.low,
        "samples_high": estimate.high,
        "num_samples": estimate.num_samples,
    }


def baseline_of(arm: str, base: str) -> str:
    """Returns the baseline of an arm: under conditions the one under the arm's own."""
    return base + arm[len(arm.split(" ")[0]) :]


def run_curves(folder: Path) -> list[dict[str, Any]]:
    """Returns the metrics of a run's steps, stage after stage, in the order of training."""
    recipe = json.loads((folder / "run.json").read_text("utf-8"))["recipe"]
    rows: list[dict[str, Any]] = []
    for stage in recipe["stages"]:
        path = folder / "stages" / stage["name"] / "metrics.jsonl"
        if path.exists():
            rows += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return rows


def compare(values: Mapping[str, Sequence[float]], base: str) -> dict[str, dict[str, Any]]:
    """Returns mean and deviation of every arm, and its paired difference to the baseline.

    Under conditions the baseline is the one under the arm's own. p-values are Holm's over the arms.
    """
    rows: dict[str, dict[str, Any]] = {}
    for arm, own in values.items():
        mean, spread = float(np.mean(own)), float(np.std(own, ddof=1)) if len(own) > 1 else None
        rows[arm] = {"values": list(own), "mean": mean, "deviation": spread}
        own_base = baseline_of(arm, base)
        if arm == own_base or own_base not in values or len(own) < 2:
            continue
        if not np.isfinite([*own, *values[own_base]]).all():  # one side was not evaluated
            continue
        difference = np.subtract(own, values[own_base])
        if np.ptp(difference) == 0:  # nothing varies: no test is possible
            rows[arm]["difference"] = float(difference[0])
            continue
        test = stats.ttest_rel(own, values[own_base])
        low, high = test.confidence_interval(0.95)
        rows[arm] |= {"difference": float(difference.mean()), "p": float(test.pvalue)}
        rows[arm] |= {"low": float(low), "high": float(high)}
    tested = [arm for arm, row in rows.items() if "p" in row]
    if tested:
        adjusted = multipletests([rows[arm]["p"] for arm in tested], method="holm")[1]
        for arm, value in zip(tested, adjusted, strict=True):
            rows[arm]["p_holm"] = float(value)
    return rows


def summary(curves: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Returns what training looked like, averaged over seeds: its end, and its extremes."""

    def last(key: str) -> float:
        return float(np.nanmean([row[key] for rows in curves for row in rows[-EDGE_STEPS:]]))

    return {
        "reward_last": last("reward_mean"),
        "entropy_first": float(np.mean([row["entropy"] for rows in curves for row in rows[:1]])),
        "entropy_last": last("entropy"),
        "entropy_max": float(np.mean([max(row["entropy"] for row in rows) for rows in curves])),
        "gradient_norm_max": float(
            np.mean([max(row["gradient_norm"] for row in rows) for rows in curves])
        ),
        "response_tokens_last": last("response_tokens"),
        "masking_share": float(np.mean([row["aepo_masking"] for rows in curves for row in rows])),
        "masked_token_share": float(np.mean([row["masked_share"] for r in curves for row in r])),
    }


def render(plan: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Returns the report as Markdown."""
    num_seeds = len(results["seeds"])
    rows = [row for table in results["scores"].values() for row in table.values()]
    over = (
        "; the last column is the interval over the held-out samples, each its mean over the "
        "seeds, clustered by world"
        if any("samples_low" in row for row in rows)
        else ""
    )
    lines = [
        f"# {plan['title']}",
        "",
        f"Accuracy in percent: mean over {num_seeds} seeds (standard deviation over seeds). "
        f"Differences to `{results['baseline']}` are taken seed by seed, with Student's 95% "
        f"intervals over the seeds and Holm's p over the arms{over}.",
    ]
    overall = [name for name in results["scores"] if ":" not in name]
    for column in overall:
        lines += ["", f"## {column}", "", *score_table(results["scores"][column])]
    lines += ["", "## Training", "", *_training_table(results["training"])]
    for column in overall:
        parts = {
            n.split(": ")[1]: t for n, t in results["scores"].items() if n.startswith(f"{column}:")
        }
        if parts:
            lines += ["", f"## {column}, by task type", "", *_type_table(parts)]
    return "\n".join(lines) + "\n"


def score_table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the lines of a table of compared arms."""
    titles = ["arm", "accuracy", "difference", "p (Holm)", "over samples"]
    if not any("samples_low" in row for row in rows.values()):
        titles.pop()
    lines = [f"| {' | '.join(titles)} |", f"|---{'|---:' * (len(titles) - 1)}|"]
    for arm, row in rows.items():
        spread = "" if row["deviation"] is None else f" ({100 * row['deviation']:.1f})"
        difference = p = samples = ""
        if "difference" in row:
            difference = _points(row["difference"])
            if "p" in row:
                difference += f" [{_points(row['low'])}, {_points(row['high'])}]"
                p = f"{row['p']:.3f} ({row['p_holm']:.3f})"
            else:
                difference += " in every run"
        if "samples_low" in row:
            samples = f"[{_points(row['samples_low'])}, {_points(row['samples_high'])}]"
        cells = (arm, f"{100 * row['mean']:.1f}{spread}", difference, p, samples)
        lines.append(f"| {' | '.join(cells[: len(titles)])} |")
    return lines


def _type_table(parts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    lines = [f"| arm | {' | '.join(parts)} |", f"|---{'|---:' * len(parts)}|"]
    arms = next(iter(parts.values()))
    for arm in arms:
        cells = [f"{100 * part[arm]['mean']:.1f}" for part in parts.values()]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def _training_table(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = [
        f"Means over seeds; *last* is over the last {EDGE_STEPS} steps.",
        "",
        "| arm | reward, last | entropy, first | last | largest | gradient norm, largest "
        "| tokens, last | steps masking | tokens masked |",
        f"|---{'|---:' * 8}|",
    ]
    for arm, row in rows.items():
        lines.append(
            f"| {arm} | {row['reward_last']:.3f} | {row['entropy_first']:.3f} "
            f"| {row['entropy_last']:.3f} | {row['entropy_max']:.3f} "
            f"| {row['gradient_norm_max']:.2f} | {row['response_tokens_last']:.1f} "
            f"| {100 * row['masking_share']:.0f}% | {100 * row['masked_token_share']:.0f}% |"
        )
    return lines


def draw(
    curves: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]],
    arms: Sequence[str],
    seeds: Sequence[int],
    path: Path,
) -> None:
    """Draws reward, entropy and gradient norm by step: a line per arm, the mean over seeds.

    Without conditions the three stand side by side; with them, each has a row and each condition a
    column.
    """
    conditions = list(dict.fromkeys(arm.partition(" ")[2] for arm in arms))
    names = list(dict.fromkeys(arm.partition(" ")[0] for arm in arms))
    shape = (len(CURVES), len(conditions)) if len(conditions) > 1 else (1, len(CURVES))
    size = (4.0 * shape[1], 2.8 * shape[0]) if len(conditions) > 1 else (5.0 * len(CURVES), 4.2)
    sharey = "row" if len(conditions) > 1 else "none"
    figure, grid = plt.subplots(*shape, figsize=size, squeeze=False, sharex="col", sharey=sharey)
    colours = plt.get_cmap("tab10" if len(names) <= 10 else "tab20")
    places = itertools.product(enumerate(CURVES.items()), enumerate(conditions))
    for (row, (key, label)), (column, condition) in places:
        axis = grid[row, column] if len(conditions) > 1 else grid[0, row]
        for arm in (arm for arm in arms if arm.partition(" ")[2] == condition):
            name = arm.partition(" ")[0]
            steps, mean = _mean_curve([curves[arm, seed] for seed in seeds], key)
            axis.plot(steps, mean, label=name, color=colours(names.index(name)))
        axis.set_title(f"{label}, {condition}" if condition else label, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in grid[-1]:
        axis.set_xlabel("step")
    grid[0, -1].legend(fontsize=8, frameon=False, bbox_to_anchor=(1.02, 1), loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _mean_curve(
    runs: Sequence[Sequence[Mapping[str, Any]]], key: str
) -> tuple[range, NDArray[np.float64]]:
    """Returns the steps and the mean over runs, smoothed over a twentieth of the steps."""
    by_step: dict[int, list[float]] = defaultdict(list)
    for rows in runs:
        for step, row in enumerate(rows, start=1):
            by_step[step].append(row[key])
    mean = np.array([np.nanmean(by_step[step]) for step in sorted(by_step)])
    width = max(1, len(mean) // 20)
    smooth = np.convolve(mean, np.ones(width) / width, mode="valid")
    return range(width, len(mean) + 1), smooth


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")
