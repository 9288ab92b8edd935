"""`longspan lm-eval`: tasks of lm-eval on a checkpoint, with lm-eval's own prompts, metrics, files.

lm-eval (EleutherAI's lm-evaluation-harness) runs its `hf` model on the checkpoint's folder; from us
come the checkpoint, its window, device and number type (those of `longspan eval`), the settings,
and a record beside the files (`harness.lm_eval.record`). Every task that is asked for is a unit
with a folder of its own, which appears when its files are whole: a finished unit is kept, one that
was killed is done again. What the files say is read by `leaderboards.lm_eval`.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from longspan.harness.errors import DataError, ModelError, SpecError
from longspan.harness.generation import GenerationSettings
from longspan.harness.lm_eval.record import read_record
from longspan.harness.lm_eval.run import (
    LmEvalSettings,
    LocalCheckpoint,
    load_model,
    recorded_settings,
    run_unit,
    without_remarks,
)
from longspan.harness.lm_eval.task_names import Unit, asked_hash, load_units
from longspan.harness.resolve import LOCAL_PROVIDER, model_name, resolve_model
from longspan.harness.unit import DAMAGED_SUFFIX, unit_folder

PACKAGES = ("lm_eval", "accelerate")
"""Packages of the extra: lm-eval, and what its `hf` model needs."""
MAX_SHOWN_TASKS = 4


def lm_eval_command(
    tasks: Annotated[
        list[str], typer.Argument(help="Tasks of lm-eval, separated by commas or spaces.")
    ],
    model: Annotated[
        str, typer.Option(help="Packaged checkpoint, checkpoint folder, longspan-local/<Hub id>.")
    ],
    include_path: Annotated[
        Path | None, typer.Option(help="Folder of task files of your own (YAML).")
    ] = None,
    log_dir: Annotated[Path, typer.Option(help="Folder of results.")] = Path("logs/lm-eval"),
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus, in (0, 1].")] = 0.95,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Output limit [the task's own].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling and few-shot examples.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first samples.")] = None,
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Prompt through the chat template.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests run together.")] = 1,
    checkpoint: Annotated[str | None, typer.Option(help="Label of the checkpoint.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Run lm-eval's own tasks on a checkpoint; a finished run of the same task is kept.

    Settings of generation apply to tasks that generate text.
    """
    if not 0 < top_p <= 1:
        raise SpecError(f"top_p must lie in (0, 1]: got {top_p}; the paper uses 0.95")
    settings = LmEvalSettings(
        generation=GenerationSettings(
            temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
        ),
        limit=limit,
        apply_chat_template=apply_chat_template,
        batch_size=batch_size,
    )
    for folder in run_lm_eval(
        tasks, model, log_dir, settings, include_path=include_path, label=checkpoint, quiet=quiet
    ):
        if not quiet:
            print(summary_line(folder), flush=True)


def run_lm_eval(
    tasks: Sequence[str],
    model: str,
    log_dir: Path,
    settings: LmEvalSettings,
    *,
    include_path: Path | None = None,
    label: str | None = None,
    quiet: bool = False,
) -> Iterator[Path]:
    """Yields the folder of each task when its run is finished.

    Args:
        tasks: Names of tasks, groups or tags; one text may hold several, separated by commas.
        model: Packaged checkpoint, folder, or `longspan-local/<Hub id>`.
        log_dir: Gets a folder per checkpoint, and in it one per task.
        settings: Generation, limit, chat template, batch size.
        include_path: Folder of task files beside lm-eval's own.
        label: Name of the checkpoint on boards.
        quiet: Whether lm-eval's progress is hidden.

    Raises:
        SpecError: lm-eval is not installed, or a task is unknown or does not run.
        DataError: the data of a task are missing, or lm-eval could not write its files.
        ModelError: the model is missing, unusable, or not a local checkpoint.
    """
    names = [name for text in tasks for name in re.split(r"[,\s]+", text) if name]
    if not names:
        raise SpecError("no task is named; name some of lm-eval's, for example hellaswag,gsm8k")
    _require_packages()
    if include_path is not None and not include_path.is_dir():
        raise SpecError(f"no such folder: {include_path}; give a folder of task files (YAML)")
    checkpoint = _local_checkpoint(model, label)
    with without_remarks(quiet):
        manager, units = load_units(names, include_path, checkpoint.arguments())
    lm: Any = None
    for unit in units:
        folder = _folder(log_dir, unit, checkpoint, settings)
        if not _is_finished(folder):
            with without_remarks(quiet):
                lm = lm or load_model(checkpoint, settings)
                run_unit(unit, lm, manager, checkpoint, settings, folder)
        yield folder


def summary_line(folder: Path) -> str:
    """Returns the results of a finished run in one line: metrics, samples, where it is."""
    record = read_record(folder)
    if record is None:
        raise DataError(f"no finished run of lm-eval in {folder}; run `longspan lm-eval` again")
    (path,) = (folder / name for name in record.files if name.startswith("results_"))
    results = json.loads(path.read_text("utf-8"))
    parts = []
    for name, count in results["n-samples"].items():
        metrics = [
            f"{key.removesuffix(',none')} {value:.3f}"
            for key, value in results["results"][name].items()
            if "," in key and "_stderr," not in key and isinstance(value, int | float)
        ]
        of = f"{count['effective']} of {count['original']} samples"
        parts.append(f"{name}: {', '.join(metrics)} on {of}")
    more = len(parts) - MAX_SHOWN_TASKS
    shown = "; ".join(parts[:MAX_SHOWN_TASKS]) + (f"; {more} more" if more > 0 else "")
    return f"lm-eval | {record.checkpoint} | {shown} | {path}"


def _require_packages() -> None:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise SpecError(
            f"`longspan lm-eval` needs the package {missing[0]}, which is not installed; "
            "run: pip install 'longspan[lm-eval]'"
        )


def _local_checkpoint(model: str, label: str | None) -> LocalCheckpoint:
    """Returns the checkpoint of a model's name; the model is loaded for it, and let go again."""
    name = model_name(model)
    if not name.startswith(f"{LOCAL_PROVIDER}/"):
        raise ModelError(
            f"longspan lm-eval runs local checkpoints only: got {model}; give a folder or "
            f"{LOCAL_PROVIDER}/<Hub id>, or run lm_eval itself with --log_samples and "
            "--output_path DIR: longspan board DIR reads its files too"
        )
    api: Any = resolve_model(name).api
    found = LocalCheckpoint(
        name=name,
        label=label or api.model_name,
        source=api.source,
        weights=api.checkpoint_hash,
        window=api.window,
        device=str(api.engine.device),
        dtype=str(api.engine.model.dtype).removeprefix("torch."),
    )
    del api
    gc.collect()  # or its weights would stay in memory beside those that lm-eval loads
    return found


def _folder(
    log_dir: Path, unit: Unit, checkpoint: LocalCheckpoint, settings: LmEvalSettings
) -> Path:
    identity = {
        "task": unit.name,
        "asked": asked_hash(unit, settings.limit),
        "weights": checkpoint.weights,
        "label": checkpoint.label,
        "settings": recorded_settings(unit, checkpoint, settings),
    }
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(checkpoint.label).name).strip("-")
    return unit_folder(log_dir / (name or "checkpoint"), identity)


def _is_finished(folder: Path) -> bool:
    """Returns whether the folder holds a whole run; a damaged one is set aside."""
    try:
        if read_record(folder) is not None:
            return True
    except DataError:
        pass  # said by the board, too; here the remedy is to run again
    if folder.exists():
        aside = folder.with_name(folder.name + DAMAGED_SUFFIX)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    return False
