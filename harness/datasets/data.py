"""Where a task's data are: given, in a local mirror, beside the spec, or on the hub.

A mirror is the folder that LONGSPAN_DATA names, with files laid out as on the hub
(`owner/name/file`), by the data set's name (`name/file`), loosely (`file`), or as the hub's own
cache (`datasets--owner--name/snapshots/commit/file`). Which commit a file is from is known only
where the layout says it or where `longspan data fetch` wrote it down; logs say "unknown" otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from longspan.harness.datasets import hub
from longspan.harness.datasets.rows import rows_hash
from longspan.harness.errors import DataError
from longspan.harness.spec import DatasetSpec, SpecFile

DATA_VARIABLE = "LONGSPAN_DATA"
"""Environment variable: the folder in which data files of tasks are looked for."""
RECORD_FILE = "longspan-fetched.json"
"""Beside fetched files: the commit and size of each."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Data:
    """The files of a task, and which commit of which repository they are."""

    paths: tuple[Path, ...]
    member: str | None = None
    """The file within a zip archive."""
    repository: str | None = None
    revision: str = UNKNOWN
    """Commit, or "unknown"."""

    @property
    def names(self) -> str:
        """The files' names, for messages."""
        return ", ".join(path.name for path in self.paths)

    def hash(self) -> str:
        """Returns the SHA-256 of what is read: of the one file, or of the files' hashes."""
        hashes = [rows_hash(path, self.member) for path in self.paths]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def facts(self) -> dict[str, str]:
        """Returns what the log says about where the records come from."""
        found = {"data": self.names}
        if self.repository:
            found |= {"data_repository": self.repository, "data_revision": self.revision}
        return found


def find_data(file: SpecFile, data: str | Sequence[str] | None = None) -> Data:
    """Returns the data of a task.

    Files that are given, else those in LONGSPAN_DATA, else beside the spec, else from the hub.

    Args:
        file: The spec.
        data: Files, or a folder laid out as LONGSPAN_DATA (`-T data=`).

    Raises:
        DataError: there are none; the message says which and how to get them.
    """
    dataset = file.spec.dataset
    if data:
        names = data if isinstance(data, list | tuple) else [data]
        return _given(file, [str(name) for name in names])
    found = find_locally(file)
    if found is not None:
        return found
    if dataset.hub is None:
        raise _missing(file)
    try:
        paths = [
            hub.download(dataset.hub.repository, _spellings(name), dataset.hub.revision)
            for name in dataset.hub.files
        ]
    except DataError as error:
        raise _missing(file, str(error)) from error
    return _from_hub(dataset, paths)


def find_locally(file: SpecFile) -> Data | None:
    """Returns the data of a task that are on this machine, None where they are not whole."""
    dataset = file.spec.dataset
    for folder in [*mirrors(), file.path.parent]:
        found = _in_folder(dataset, folder)
        if found is not None:
            return found
    if dataset.hub is None:
        return None
    paths = [_cached(dataset, dataset.hub.revision, name) for name in dataset.hub.files]
    whole = [path for path in paths if path is not None]
    return _from_hub(dataset, whole) if len(whole) == len(paths) else None


def mirrors() -> list[Path]:
    """Returns the folder of LONGSPAN_DATA, if it is set."""
    variable = os.environ.get(DATA_VARIABLE, "")
    return [Path(variable).expanduser()] if variable else []


def record_fetched(folder: Path, path: Path, repository: str, revision: str) -> None:
    """Writes down which commit a fetched file is from, beside it."""
    record = folder / RECORD_FILE
    content = _read_record(record)
    content |= {"repository": repository}
    content.setdefault("files", {})[path.relative_to(folder).as_posix()] = {
        "revision": revision,
        "bytes": path.stat().st_size,
    }
    record.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _given(file: SpecFile, names: list[str]) -> Data:
    dataset = file.spec.dataset
    paths = [Path(name).expanduser() for name in names]
    for path in paths:
        if not path.exists():
            raise DataError(f"no data file at {path}; check the path given with -T data=")
    if len(paths) == 1 and paths[0].is_dir():
        found = _in_folder(dataset, paths[0])
        if found is None:
            raise DataError(
                f"{paths[0]} does not hold {_wanted(dataset)}; check the path given with -T data="
            )
        return found
    return replace(_from_hub(dataset, paths), revision=UNKNOWN)


def _in_folder(dataset: DatasetSpec, folder: Path) -> Data | None:
    if dataset.hub is not None:
        revision = dataset.hub.revision
        paths = [_mirrored(dataset, revision, _spellings(name), folder)
                 for name in dataset.hub.files]  # fmt: skip
        whole = [path for path in paths if path is not None]
        if len(whole) == len(paths):
            return _from_hub(dataset, whole)
        other = next((folder / name for name in dataset.files if (folder / name).is_file()), None)
    else:
        other = _mirrored(dataset, None, dataset.files, folder)
    return _from_hub(dataset, [other]) if other else None


def _repositories(dataset: DatasetSpec) -> tuple[str, ...]:
    """Returns the names under which a mirror may hold the files, the hub's own first."""
    return (*((dataset.hub.repository,) if dataset.hub else ()), *dataset.aliases)


def _mirrored(
    dataset: DatasetSpec, revision: str | None, spellings: Sequence[str], folder: Path
) -> Path | None:
    """Returns the place of a file in a mirror; all spellings in one layout before the next one."""
    named = [repository.split("/") for repository in _repositories(dataset)]
    places = [folder / owner / data_set for owner, data_set in named]
    places += [folder / data_set for _, data_set in named]
    places.append(folder)
    for repository in _repositories(dataset):
        places += _snapshots(folder / hub.cache_folder(repository), revision)
    found = [place / spelling for place in places for spelling in spellings]
    found += [folder / PurePosixPath(spelling).name for spelling in spellings]
    return next((path for path in found if path.is_file()), None)


def _snapshots(cache: Path, revision: str | None) -> Iterator[Path]:
    """Yields the snapshots of a hub cache that may be used: the pinned commit's, else main's."""
    if revision is not None:
        yield cache / "snapshots" / revision
        return
    try:
        commit = (cache / "refs" / "main").read_text(encoding="utf-8").strip()
        yield cache / "snapshots" / PurePosixPath(commit).name
    except (OSError, UnicodeDecodeError):
        held = sorted((cache / "snapshots").glob("*"))
        yield from held if len(held) == 1 else []


def _cached(dataset: DatasetSpec, revision: str | None, name: str) -> Path | None:
    found = (
        hub.cached_file(repository, spelling, revision)
        for repository in _repositories(dataset)
        for spelling in _spellings(name)
    )
    return next((path for path in found if path is not None), None)


def _from_hub(dataset: DatasetSpec, paths: Sequence[Path]) -> Data:
    """Returns files with the repository and the commit that they are from, where it is known."""
    repositories = _repositories(dataset)
    commits = {_commit(repositories, path) for path in paths}
    revision = commits.pop() if len(commits) == 1 else None
    member = dataset.hub.member if dataset.hub else None
    return Data(tuple(paths), member, next(iter(repositories), None), revision or UNKNOWN)


def _commit(repositories: Sequence[str], path: Path) -> str | None:
    """Returns the commit that a file is from, as far as it is written down."""
    in_caches = (hub.commit_in_cache(path, repository) for repository in repositories)
    commit = next((commit for commit in in_caches if commit is not None), None)
    if commit is not None:
        return commit
    for folder in list(path.parents)[:3]:
        content = _read_record(folder / RECORD_FILE)
        entry = content.get("files", {}).get(path.relative_to(folder).as_posix())
        if entry and content.get("repository") in repositories:
            same = path.stat().st_size == entry.get("bytes")
            return str(entry.get("revision")) if same else None
    return None


def _read_record(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _spellings(name: str) -> list[str]:
    return name.split("|")


def _wanted(dataset: DatasetSpec) -> str:
    if dataset.hub is None:
        return " or ".join(dataset.files) or "a data file"
    names = ", ".join(_spellings(name)[0] for name in dataset.hub.files)
    commit = f"at {dataset.hub.revision[:8]}" if dataset.hub.revision else "(no pinned commit)"
    return f"{names} of {dataset.hub.repository} {commit}"


def _missing(file: SpecFile, reason: str = "") -> DataError:
    """Returns the error for data that are nowhere: which, where looked for, the remedy."""
    dataset = file.spec.dataset
    variable = os.environ.get(DATA_VARIABLE, "")
    state = f"not in {DATA_VARIABLE}={variable}" if variable else f"{DATA_VARIABLE} is not set"
    source = f" ({dataset.source})" if dataset.source else ""
    needs = f"task {file.spec.name} needs {_wanted(dataset)}{source}: {state}"
    if dataset.hub is None:
        return DataError(
            f"{needs}; set {DATA_VARIABLE} to the folder that holds it, or pass -T data=FILE"
        )
    fetch = f"`longspan data fetch {file.spec.name}`"
    # The remedy stands before the hub's own words: a long line is cut at its end.
    remedy = f"run {fetch} where there is internet, or pass -T data=FILE"
    return DataError(f"{needs}; {remedy}" + (f" ({reason})" if reason else ""))
