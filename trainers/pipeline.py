"""`longspan train`: runs or resumes the stages of a recipe.

    OUT/run.json                     resolved recipe, its hash, code version, overrides
    OUT/stages/<name>/metrics.jsonl  one line per step
    OUT/stages/<name>/states/        to resume from, while the stage runs
    OUT/stages/<name>/checkpoint/    of a finished stage
    OUT/final                        link to the last stage's checkpoint

The same command continues a run that was killed and returns at once when all is done.
"""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from longspan.harness.errors import RecipeError
from longspan.harness.workers import folder_lock
from longspan.trainers.recipe import Recipe, TaskSource, load_recipe, recipe_hash

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the shipped recipes."""
FINAL = "final"
"""Name of the link to the last checkpoint."""
RUN_FILE = "run.json"


def train_command(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or the name of a shipped one (laptop).")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    engine: Annotated[str, typer.Option(help="Engine: local.")] = "local",
    resume: Annotated[
        bool, typer.Option(help="Continue what is there; --no-resume starts over.")
    ] = True,
    checkpoint: Annotated[
        str | None, typer.Option(help="Start from this checkpoint instead of the recipe's.")
    ] = None,
    tasks: Annotated[
        list[Path] | None, typer.Option(help="Train on this task set folder (may be repeated).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the recipe's.", min=0)] = None,
    quiet: Annotated[bool, typer.Option(help="Show nothing.")] = False,
) -> Path:
    """Run or resume a training recipe; the last checkpoint is OUT/final."""
    if engine != "local":
        raise RecipeError(f"unknown engine: {engine}; use local")
    # What a run is does not depend on where its task sets lie; their contents are compared later.
    identity = recipe_hash(resolve_recipe(recipe, checkpoint, None, seed))
    resolved = resolve_recipe(recipe, checkpoint, tasks, seed)
    with folder_lock(out):
        if not resume:
            _start_over(out)
        _claim(out, resolved, identity)
        final = _run_stages(out, resolved, quiet)
    if not quiet:
        typer.echo(f"trained checkpoint: {final} (inspect eval ... --model longspan-local/{final})")
    return final


def resolve_recipe(
    recipe: str,
    checkpoint: str | None = None,
    tasks: list[Path] | None = None,
    seed: int | None = None,
) -> Recipe:
    """Returns the recipe of a file or shipped name, with what the command line overrides.

    Raises:
        RecipeError: no such recipe, or it is wrong.
    """
    path = Path(recipe)
    if not path.suffix and not path.exists():
        path = RECIPES / f"{recipe}.yaml"
        if not path.is_file():
            shipped = ", ".join(sorted(one.stem for one in RECIPES.glob("*.yaml")))
            raise RecipeError(f"no recipe {recipe!r}; give a YAML file or one of: {shipped}")
    loaded = load_recipe(path)
    if tasks:
        sources = (
            TaskSource(task="longspan/taskset", args={"path": str(folder), "split": "train"})
            for folder in tasks
        )
        loaded = loaded.with_tasks(*sources)
    changes: dict[str, Any] = {"checkpoint": checkpoint, "seed": seed}
    return loaded.model_copy(update={k: v for k, v in changes.items() if v is not None})


def _run_stages(out: Path, recipe: Recipe, quiet: bool) -> Path:
    """Runs the stages in order; finished ones return at once."""
    # Loads torch and transformers, which a wrong recipe or folder should not have to wait for.
    from longspan.trainers.local.trainer import StageRun, train_stage

    done: dict[str, Path] = {}
    last = recipe.checkpoint
    for stage in recipe.stages:
        start = str(done[stage.start_from]) if stage.start_from is not None else last
        run = StageRun(
            stage=stage,
            folder=out / "stages" / stage.name,
            start=start,
            seed=recipe.seed,
            state_every_steps=recipe.state_every_steps,
            model_roles=recipe.model_roles,
            quiet=quiet,
        )
        done[stage.name] = train_stage(run)
        last = str(done[stage.name])
    return _link(out / FINAL, done[recipe.stages[-1].name])


def _claim(out: Path, recipe: Recipe, identity: str) -> None:
    """Writes what the folder is a run of, or refuses one that is another run's.

    Raises:
        RecipeError: the folder holds another run, or does not say which.
    """
    path = out / RUN_FILE
    here = {
        "recipe_hash": identity,
        "longspan": version("longspan"),
        "recipe": recipe.model_dump(mode="json"),
    }
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))["recipe_hash"]
        except (ValueError, KeyError, TypeError) as error:
            raise RecipeError(
                f"damaged: {path} ({error}); choose another --out or start over with --no-resume"
            ) from error
        if there != here["recipe_hash"]:
            raise RecipeError(
                f"{out} holds a run of another recipe or with other options: "
                f"{there}, asked for {here['recipe_hash']}; choose another --out "
                "or start over with --no-resume"
            )
        return
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(here, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _start_over(out: Path) -> None:
    """Removes a run from its folder, and nothing else."""
    (out / RUN_FILE).unlink(missing_ok=True)
    (out / FINAL).unlink(missing_ok=True)
    if (out / "stages").exists():
        shutil.rmtree(out / "stages")


def _link(link: Path, target: Path) -> Path:
    """Makes `link` point to `target`, in one step, wherever the folder is moved later."""
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(target, link.parent))
    partial.replace(link)
    return link
