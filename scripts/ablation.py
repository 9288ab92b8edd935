"""Trains the arms of an ablation over seeds and says what the differences are.

    python scripts/ablation.py scripts/ablations/algorithms.yaml --out out/ablation

A plan is a recipe with arms: each arm changes something of it. Where the plan has conditions, which
change the recipe likewise, every arm runs under each of them. All arms and seeds start from the
same checkpoint, train on the same task sets, and are evaluated on the same held-out samples. Runs
that are finished are kept, so that the same command continues after a kill. OUT then holds
`results.json`, `report.md` and `curves.png`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from ablation_report import RESULTS, write_report

from longspan.harness.errors import RecipeError
from longspan.harness.files import read_mapping
from longspan.harness.workers import Job, folder_lock, worker_pool
from longspan.trainers.evaluations import build_tasksets
from longspan.trainers.pipeline import RECIPES
from longspan.trainers.recipe import parse_recipe

KEYS = {"name", "title", "baseline", "seeds", "recipe", "arms", "conditions"}


def main() -> None:
    """Trains what is not trained yet and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, help="only so many of the plan's seeds")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these arms")
    parser.add_argument("--only", nargs="+", metavar="CONDITION", help="only these conditions")
    options = parser.parse_args()
    plan = read_mapping(options.plan, "plan of an ablation")
    if unknown := set(plan) - KEYS:
        raise SystemExit(f"{options.plan}: unknown key {min(unknown)!r}; use {sorted(KEYS)}")
    if isinstance(plan["recipe"], str):  # one that is shipped
        plan["recipe"] = read_mapping(RECIPES / f"{plan['recipe']}.yaml", "recipe")
    seeds = plan["seeds"][: options.seeds]
    for key, names in (("arms", options.arms), ("conditions", options.only)):
        if names:
            plan[key] = chosen(plan.get(key) or {}, names, key)
    if only := [*(options.arms or ()), *(options.only or ())]:
        plan["title"] += f" (only {', '.join(only)})"
    arms = dict(crossed(plan["arms"], plan.get("conditions")))
    check_results(options.out / RESULTS, plan["name"], arms)
    with folder_lock(options.out) as lock, worker_pool(options.workers, lock) as submit:
        recipes = write_recipes(plan, arms, seeds, options.out)
        futures = {submit(job): job for job in jobs(recipes, options.out)}
        for number, future in enumerate(as_completed(futures), start=1):
            seconds = future.result()
            print(f"{number}/{len(futures)} {futures[future].label}: {seconds:.0f} s", flush=True)
    runs = {(arm, seed): options.out / "runs" / arm / f"seed-{seed}" for arm, seed in recipes}
    print(write_report(plan, runs, options.out))


def chosen(given: Mapping[str, Any], names: Sequence[str], what: str) -> dict[str, Any]:
    """Returns the named entries; exits where one is not there."""
    if unknown := set(names) - set(given):
        raise SystemExit(f"{what}: no {min(unknown)!r} in the plan; use {sorted(given)}")
    return {name: value for name, value in given.items() if name in names}


def check_results(path: Path, name: str, arms: Mapping[str, Any]) -> None:
    """Exits where a report is there that this one would replace and that holds other arms."""
    if not path.exists():
        return
    there = read_mapping(path, "results of an ablation")
    held = {arm for rows in there["scores"].values() for arm in rows}
    if there["name"] != name or held - set(arms):
        other = there["name"] if there["name"] != name else min(held - set(arms))
        raise SystemExit(f"{path} holds {other!r}, which this run leaves out; choose another --out")


def crossed(
    arms: Mapping[str, Mapping[str, Any]], conditions: Mapping[str, Mapping[str, Any]] | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the arms, each under every condition ("arm condition") where there are some."""
    for name, arm in arms.items():
        if conditions is None:
            yield name, arm
            continue
        for label, condition in conditions.items():
            yield f"{name} {label}", merged(arm, condition)


def arm_recipe(recipe: Mapping[str, Any], arm: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Returns a recipe as an arm, or a condition, changes it.

    Its keys: `recipe` is merged into the recipe, `stage` into every stage of RL, `stages` into
    those it names; `drop` leaves stages out ("all": the start is evaluated). Only the last
    checkpoint is evaluated.

    Raises:
        RecipeError: an arm has another key.
    """
    if unknown := set(arm) - {"recipe", "stage", "stages", "drop"}:
        raise RecipeError(f"an arm has an unknown key: {min(unknown)!r}; see arm_recipe")
    changed = merged(recipe, arm.get("recipe", {}))
    stages = []
    for stage in changed["stages"]:
        if arm.get("drop") == "all" or stage["name"] in arm.get("drop", ()):
            continue
        if stage.get("kind", "train") == "train":
            stage = merged(stage, arm.get("stage", {}))
        stages.append(merged(stage, arm.get("stages", {}).get(stage["name"], {})))
    skip = ["start", *(stage["name"] for stage in stages)][:-1]
    evaluations = [{**one, "skip": skip} for one in changed["evaluations"]]
    rest = {"seed": seed, "evaluation_workers": 0, "board": False}
    return {**changed, "stages": stages, "evaluations": evaluations, **rest}


def merged(base: Any, change: Any) -> Any:
    """Returns `base` with the keys of `change` put into it, mapping by mapping."""
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return deepcopy(change)
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(result[key], value) if key in result else deepcopy(value)
    return result


def write_recipes(
    plan: Mapping[str, Any], arms: Mapping[str, Any], seeds: list[int], out: Path
) -> dict[tuple[str, int], Path]:
    """Writes a recipe per arm and seed, over task sets that all of them share."""
    paths = {}
    for arm, change in arms.items():
        folder = out / "runs" / arm
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            content = arm_recipe(plan["recipe"], change, seed)
            checked = parse_recipe(content, f"{plan['name']}, arm {arm}")
            places = build_tasksets(checked, out / "shared", quiet=True)
            shared = {name: str(place) for name, place in places.items()}
            paths[arm, seed] = folder / f"seed-{seed}.yaml"
            text = yaml.safe_dump({**content, "tasksets": shared}, sort_keys=False)
            paths[arm, seed].write_text(text, "utf-8")
    return paths


def jobs(recipes: Mapping[tuple[str, int], Path], out: Path) -> list[Job]:
    """Returns a job per run, seed by seed: what is done early compares all arms."""
    return [
        Job(f"{arm}, seed {seed}", "train", {"recipe": str(path), "out": place, "quiet": True})
        for (arm, seed), path in sorted(recipes.items(), key=lambda item: item[0][1])
        for place in [out / "runs" / arm / f"seed-{seed}"]
    ]


if __name__ == "__main__":
    main()
