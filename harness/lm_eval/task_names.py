"""Tasks of lm-eval by name, with their data, and what identifies what they ask."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from longspan.harness.errors import DataError, SpecError, one_line

GENERATES = "generate_until"
FILE_FORMATS = ("json", "csv", "parquet", "text", "arrow")
"""Data sets of these names are files of the user's, not of the Hub."""
PLACES = ("dataset_kwargs", "metadata")
"""Keys of a definition that say where data and model are; the data are hashed themselves."""


@dataclass(frozen=True)
class Unit:
    """A task, group or tag of lm-eval, loaded."""

    name: str
    members: Sequence[Any]
    """What is given to lm-eval: the group, or the tasks."""
    tasks: Mapping[str, Any]

    @property
    def generates(self) -> bool:
        """Whether any of its tasks has the model generate text."""
        return any(task.OUTPUT_TYPE == GENERATES for task in self.tasks.values())


def load_units(
    names: Sequence[str], include_path: Path | None, arguments: Mapping[str, Any]
) -> tuple[Any, list[Unit]]:
    """Returns lm-eval's task manager, and the tasks of these names with their data.

    Args:
        names: Of tasks, groups or tags.
        include_path: Folder of task files beside lm-eval's own; their code is run.
        arguments: Of the model; some tasks make their data with its tokenizer (RULER).

    Raises:
        SpecError: a task is unknown or cannot be loaded.
        DataError: the data of a task are missing.
    """
    from lm_eval.tasks import TaskManager  # optional and heavy

    manager = TaskManager(
        include_path=None if include_path is None else str(include_path), metadata=dict(arguments)
    )
    _require_known(names, manager.all_tasks)
    return manager, [_load(name, manager) for name in dict.fromkeys(names)]


def asked_hash(unit: Unit, limit: int | None) -> str:
    """Returns a hash of what the tasks ask: their definitions and the samples that are used."""
    digest = hashlib.sha256()
    for name, task in sorted(unit.tasks.items()):
        config = {key: value for key, value in task.dump_config().items() if key not in PLACES}
        for part in (name, task.VERSION, config, *islice(task.eval_docs, limit)):
            digest.update(json.dumps(part, sort_keys=True, default=str).encode("utf-8"))
    return digest.hexdigest()


def _require_known(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if not unknown:
        return
    nearest = difflib.get_close_matches(unknown[0], known, n=3)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see: lm_eval ls tasks"
    raise SpecError(
        f"lm-eval has no task {unknown[0]}; {hint} (task files of your own: --include-path FOLDER)"
    )


def _load(name: str, manager: Any) -> Unit:
    try:
        loaded = manager.load([name])
    except OSError as error:  # missing files, and what datasets raises without a network
        raise DataError(_missing_data(name, manager, error)) from error
    except Exception as error:  # a task is a program of its own, and may fail in any way
        raise SpecError(
            f"lm-eval cannot load task {name}: {_reason(error)}; mend its file, or install what it "
            "asks for"
        ) from error
    group = loaded["groups"].get(name)
    return Unit(name, [group] if group else list(loaded["tasks"].values()), loaded["tasks"])


def _missing_data(name: str, manager: Any, error: OSError) -> str:
    """Returns what is missing for a task and how to get it."""
    config = manager.task_index[name].cfg or {}
    path, subset = config.get("dataset_path"), config.get("dataset_name")
    if path in FILE_FORMATS:
        files = json.dumps((config.get("dataset_kwargs") or {}).get("data_files"))
        return (
            f"cannot read the data of task {name}: {files} ({_reason(error)}); paths are relative "
            "to the folder that the command is run in"
        )
    fetch = "run the same command once with a network and without HF_HUB_OFFLINE"
    if not path:  # a group: the reason names the data set
        return f"the data of task {name} are not on this machine ({_reason(error)}); {fetch}"
    arguments = ", ".join(repr(part) for part in (path, subset) if part)
    return (
        f"the data of task {name} are not on this machine: data set {path} ({_reason(error)}); "
        f'{fetch}, or: python -c "import datasets; datasets.load_dataset({arguments})"'
    )


def _reason(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 200).rstrip(".")
