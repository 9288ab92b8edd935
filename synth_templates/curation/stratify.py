"""`longspan stratify`: samples drawn evenly over their difficulty for a model.

A sample's difficulty is the mean score of `epochs` attempts (arXiv 2512.12967, section 4), measured
by an ordinary evaluation: its log is kept, so that a killed measurement goes on, and drawing again
with other bins costs nothing. Samples that no attempt gave a score are left out and counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from inspect_ai.log import EvalLog, EvalSampleSummary, read_eval_log_sample_summaries

from longspan.harness.errors import DataError
from longspan.harness.evaluate import EvaluationSettings, evaluate
from longspan.harness.generation import GenerationSettings
from longspan.harness.harvest import choose_value, read_value
from longspan.harness.resolve import named_task, resolve_solver
from longspan.harness.scoring.validity import is_scored
from longspan.harness.stratify import draw_evenly, histogram, mean_rate
from longspan.harness.taskset import Split, TaskSet
from longspan.synth_templates.curation.derive import derive


def stratify_command(
    taskset: Annotated[Path, typer.Argument(help="Folder of the task set.")],
    model: Annotated[
        str, typer.Option(help="Inspect model, packaged checkpoint, or checkpoint folder.")
    ],
    num_samples: Annotated[int, typer.Option(min=1, help="Samples to draw.")],
    out: Annotated[Path, typer.Option(help="Folder of the new task set.")],
    epochs: Annotated[int, typer.Option(min=1, help="Attempts per sample.")] = 8,
    bins: Annotated[int, typer.Option(min=1, help="Uniform bins of the mean score.")] = 5,
    split: Annotated[
        Split, typer.Option(help="Split that is measured and drawn from; others stay.")
    ] = "train",
    solver: Annotated[str | None, typer.Option(help="Solver in place of the task's own.")] = None,
    grader: Annotated[str | None, typer.Option(help="Model of the judge.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus, in (0, 1].")] = 0.95,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Output limit per call.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling and of the draw.")] = 0,
    log_dir: Annotated[Path, typer.Option(help="Folder of logs; finished ones are kept.")] = Path(
        "logs"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> TaskSet:
    """Measure how hard every sample is for a model and draw evenly from bins of difficulty."""
    opened = TaskSet.open(taskset)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists already; remove it or choose another folder")
    settings = EvaluationSettings(
        generation=GenerationSettings(
            temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
        ),
        epochs=epochs,
        display="none" if quiet else "plain",
    )
    log = _evaluate(taskset, split, model, settings, solver, grader, log_dir)
    summaries = read_eval_log_sample_summaries(log.location)
    rates = sample_rates(summaries)
    cost = count_cost(summaries)
    scored = {name: rate for name, rate in rates.items() if rate is not None}
    drawn = {name: scored[name] for name in draw_evenly(scored, num_samples, bins, seed)}
    facts = {
        "operation": "stratify",
        "model": model,
        "checkpoint_hash": (log.eval.metadata or {}).get("longspan_checkpoint_hash"),
        **{"split": split, "epochs": epochs, "bins": bins, "seed": seed},
        "settings": settings.generation.model_dump(mode="json"),
        **{"measured": len(rates), "without_score": len(rates) - len(scored), "drawn": len(drawn)},
        "histogram": histogram(scored.values(), bins),
        "histogram_drawn": histogram(drawn.values(), bins),
        "rates": drawn,
        "cost": cost,
    }
    rows = [row for row in opened.rows() if row.split != split or row.id in drawn]
    total = {key: num + cost[key] for key, num in opened.manifest["cost"].items()}
    made = derive(opened, out, rows, facts, changes={"cost": total})
    if not quiet:
        short = f" ({num_samples - len(drawn)} short)" if len(drawn) < num_samples else ""
        print(f"{len(rates)} samples measured, by bin: {facts['histogram']}")
        print(f"{len(drawn)} drawn{short}, by bin: {facts['histogram_drawn']}; {out}")
    return made


def sample_rates(summaries: Iterable[EvalSampleSummary]) -> dict[str, float | None]:
    """Returns the mean score of each sample's attempts, None where no attempt has a score.

    Raises:
        RecipeError: an attempt has several scores.
    """
    rewards: dict[str, list[float]] = defaultdict(list)
    for one in summaries:
        own = rewards[str(one.id)]
        if one.error is not None or not one.scores:
            continue
        value, score = choose_value(one.scores, None)
        reward = read_value(value)
        validity = (score.metadata or {}).get("validity")
        if reward is not None and (validity is None or is_scored(str(validity))):
            own.append(reward)
    return {name: mean_rate(own) for name, own in rewards.items()}


def count_cost(summaries: Iterable[EvalSampleSummary]) -> dict[str, int]:
    """Returns calls and tokens of all attempts, judges included, as a manifest counts them."""
    total = {"model_calls": 0, "prompt_tokens": 0, "sampled_tokens": 0}
    for one in summaries:
        total["model_calls"] += one.turn_count or 1
        for usage in (one.model_usage or {}).values():
            total["prompt_tokens"] += usage.input_tokens
            total["sampled_tokens"] += usage.output_tokens
    return total


def _evaluate(
    taskset: Path,
    split: Split,
    model: str,
    settings: EvaluationSettings,
    solver: str | None,
    grader: str | None,
    log_dir: Path,
) -> EvalLog:
    return evaluate(
        named_task(str(taskset), split, {}),
        model,
        log_dir,
        settings,
        solver=resolve_solver(solver) if solver else None,
        model_roles={"grader": grader} if grader else None,
    )
