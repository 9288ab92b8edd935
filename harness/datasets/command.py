"""`longspan data`: fetches the data of tasks into a local mirror, and says which files are used."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from longspan.harness.datasets import hub
from longspan.harness.datasets.data import DATA_VARIABLE, mirrors, record_fetched
from longspan.harness.datasets.generators import GENERATORS
from longspan.harness.datasets.state import data_state
from longspan.harness.errors import DataError
from longspan.harness.registry import find_spec
from longspan.harness.spec import HubFiles, SpecFile
from longspan.harness.taskset_task import TASKSET_READER

EXIT_MISSING = 1


class Action(StrEnum):
    """What `longspan data` does."""

    fetch = "fetch"
    path = "path"


def data_command(
    action: Annotated[Action, typer.Argument(help="fetch: download; path: say what is used.")],
    tasks: Annotated[list[str], typer.Argument(help="Names of tasks.")],
) -> int:
    """Fetch the data of tasks from the hub, or print which files a task uses.

    Files go to the folder of LONGSPAN_DATA, laid out as on the hub, or to the hub's cache where the
    variable is not set. The commit of each is written beside it.
    """
    files = [find_spec(name) for name in tasks]
    if action is Action.path:
        return _print_paths(files)
    for file in files:
        fetch(file)
    return 0


def fetch(file: SpecFile) -> list[Path]:
    """Returns the fetched files of a task; prints each with its size and commit.

    Raises:
        DataError: the task's data are not on the hub, or the hub cannot be reached.
    """
    dataset = file.spec.dataset
    if dataset.reader in GENERATORS or dataset.reader == TASKSET_READER:
        raise DataError(
            f"task {file.spec.name} has nothing to fetch; see: longspan data path {file.spec.name}"
        )
    if dataset.hub is None:
        source = dataset.source or "the source that its spec names"
        raise DataError(
            f"the data of task {file.spec.name} are not on the hub: get "
            f"{' or '.join(dataset.files) or 'them'} from {source} and put the file into the "
            f"folder that {DATA_VARIABLE} names"
        )
    folder = next((mirror / dataset.hub.repository for mirror in mirrors()), None)
    try:
        return _fetch(dataset.hub, folder)
    except DataError as error:
        raise DataError(
            f"task {file.spec.name} needs {dataset.hub.repository} at "
            f"{dataset.hub.revision or 'its current commit'}; check the network (HF_HUB_OFFLINE, "
            f"HF_ENDPOINT), or copy its files into {folder or DATA_VARIABLE} ({error})"
        ) from error


def _fetch(files: HubFiles, folder: Path | None) -> list[Path]:
    commit = files.revision or hub.current_commit(files.repository)
    fetched = []
    for name in files.files:
        path = hub.download(files.repository, name.split("|"), commit, folder)
        if folder is not None:
            record_fetched(folder, path, files.repository, commit)
        print(f"{path}  {path.stat().st_size:,} bytes  {files.repository}@{commit[:8]}", flush=True)
        fetched.append(path)
    return fetched


def _print_paths(files: list[SpecFile]) -> int:
    states = [(file.spec.name, data_state(file)) for file in files]
    for name, state in states:
        for line in state.lines:
            print(f"{name}: {line}")
    return 0 if all(state.is_usable for _, state in states) else EXIT_MISSING
