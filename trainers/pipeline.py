"""`longspan train`: runs or resumes a recipe: task sets, stages, evaluations, board.

    OUT/run.json                     resolved recipe, its hash, code version, overrides
    OUT/tasksets/<name>/             task sets that the recipe declares
    OUT/stages/<name>/metrics.jsonl  one line per step
    OUT/stages/<name>/states/        to resume from, while the stage runs
    OUT/stages/<name>/checkpoint/    of a finished stage
    OUT/tensorboard/<name>/          the same as TensorBoard events, with --tensorboard
    OUT/logs/<checkpoint>/<name>/    eval logs
    OUT/board/                       board of the evaluations
    OUT/final                        link to the last stage's checkpoint

The same command continues a run that was killed and returns at once when all is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from longspan.harness.errors import RecipeError
from longspan.harness.workers import folder_lock
from longspan.trainers.evaluations import Evaluations, build_tasksets
from longspan.trainers.recipe import Recipe, load_recipe, recipe_hash
from longspan.trainers.stage_runner import TENSORBOARD, StageRunner
from longspan.trainers.stages import START, TaskSource

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the shipped recipes."""
TrainOneStage = Callable[[Any], Path]
"""Trains a stage in some engine and returns its checkpoint."""
FINAL = "final"
"""Name of the link to the last checkpoint."""
RUN_FILE = "run.json"


def train_command(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe file, or the name of a shipped one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    engine: Annotated[str, typer.Option(help="Engine: local or openrlhf.")] = "local",
    cluster: Annotated[
        str | None,
        typer.Option(help="Machines of openrlhf: single_gpu, node_of_8, cpu, or a YAML file."),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to use instead of one on this machine.")
    ] = None,
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
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events to OUT/tensorboard.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="Show nothing.")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(help="Compute a saved batch's step again and show it; needs nothing else."),
    ] = None,
) -> Path | None:
    """Run or resume a training recipe; the last checkpoint is OUT/final."""
    if replay is not None:
        from longspan.trainers.local.replay import replay_command  # loads torch

        return replay_command(replay).folder
    if recipe is None or out is None:
        raise RecipeError(
            "longspan train needs a recipe and a folder: longspan train laptop --out runs/laptop; "
            "or --replay with a saved batch"
        )
    # What a run is does not depend on where its task sets lie; their contents are compared later.
    identity = recipe_hash(resolve_recipe(recipe, checkpoint, None, seed))
    resolved = resolve_recipe(recipe, checkpoint, tasks, seed)
    train_stage = _stage_trainer(engine, cluster, ray_address, resolved)
    final = train(
        resolved,
        out,
        identity,
        resume=resume,
        tensorboard=tensorboard,
        quiet=quiet,
        train_stage=train_stage,
    )
    if not quiet and final is not None:
        typer.echo(f"trained checkpoint: {final} (inspect eval ... --model longspan-local/{final})")
    return final


def train(
    recipe: Recipe,
    out: Path,
    identity: str | None = None,
    *,
    resume: bool = True,
    tensorboard: bool = False,
    quiet: bool = False,
    train_stage: TrainOneStage | None = None,
) -> Path | None:
    """Runs or resumes a recipe; returns the link to the last checkpoint that a stage made.

    Args:
        recipe: what to run; `parse_recipe` makes one of a mapping.
        out: folder of the run.
        identity: what a folder must have been started with to be resumed; the recipe's hash.
        resume: continues what is there; otherwise the run starts over.
        tensorboard: whether stages write TensorBoard events.
        quiet: shows nothing.
        train_stage: of another engine; None is the embedded one's.

    Raises:
        RecipeError: the folder holds another run, or a stage does not fit its tasks.
        LongspanError: a stage or an evaluation cannot be run, or stopped.
    """
    identity = identity or recipe_hash(recipe)
    with folder_lock(out) as lock:
        if not resume:
            _start_over(out)
        _claim(out, recipe, identity)
        tasksets = build_tasksets(recipe, out, quiet)
        stages = StageRunner(out, recipe, tasksets, tensorboard, quiet, train_stage)
        with Evaluations(out, recipe, tasksets, identity, lock, quiet) as evaluations:
            _run_recipe(recipe, stages, evaluations)
        evaluations.build_board()
        return None if stages.last is None else _link(out / FINAL, stages.last)


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
    if not path.suffix and not path.is_file():
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


def _stage_trainer(
    engine: str, cluster: str | None, ray_address: str | None, recipe: Recipe
) -> TrainOneStage | None:
    """Returns what trains a recipe's stages in an engine; None for the embedded one.

    Raises:
        RecipeError: no such engine, or it does not have what options or recipe ask for, or it is
            not installed.
        ModelError: no Ray cluster is at the address.
    """
    if engine == "local":
        if cluster or ray_address:
            raise RecipeError("--cluster and --ray-address need --engine openrlhf; add it")
        return None
    if engine != "openrlhf":
        raise RecipeError(f"unknown engine: {engine}; use local or openrlhf")
    # Loads torch and transformers.
    from longspan.trainers.openrlhf.arguments import check_recipe
    from longspan.trainers.openrlhf.cluster import load_cluster
    from longspan.trainers.openrlhf.launch import Launcher

    machines = load_cluster(cluster or "single_gpu")
    check_recipe(recipe, machines)
    return Launcher(machines, ray_address).train_stage


def _run_recipe(recipe: Recipe, stages: StageRunner, evaluations: Evaluations) -> None:
    """Runs what is not done yet."""
    evaluations.start(START, recipe.checkpoint)
    for stage in recipe.stages:
        checkpoint = stages.run(stage)
        if checkpoint is not None:
            evaluations.start(stage.name, str(checkpoint), stages.num_steps)


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
    for name in ("stages", "tasksets", "logs", "board", TENSORBOARD):
        if (out / name).exists():
            shutil.rmtree(out / name)


def _link(link: Path, target: Path) -> Path:
    """Makes `link` point to `target`, in one step, wherever the folder is moved later."""
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(target, link.parent))
    partial.replace(link)
    return link
