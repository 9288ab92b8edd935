"""What of a task's data is here: files, nothing to fetch, missing, or there and damaged.

A look costs little: the ends of each file are read, not the records. So a file that is cut off in
its middle may pass here; a run reads all of it and stops.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from longspan.harness.datasets.data import DATA_VARIABLE, find_locally
from longspan.harness.datasets.generators import GENERATORS, find_material
from longspan.harness.spec import SpecFile
from longspan.harness.taskset_task import TASKSET_READER

_PARQUET_MARK = b"PAR1"
_TAIL_BYTES = 64


@dataclass(frozen=True)
class DataState:
    """The data of a task on this machine."""

    cell: str
    """In a few words, for a table."""
    lines: tuple[str, ...]
    """For people: which files are used, or what to do."""
    is_usable: bool = True
    """False: something is missing or damaged."""


def data_state(file: SpecFile) -> DataState:
    """Returns what of a task's data is on this machine."""
    name, dataset = file.spec.name, file.spec.dataset
    if dataset.reader == TASKSET_READER:
        line = "a task set of yours: pass -T path=DIR (build one with `longspan synth`)"
        return DataState("-T path=DIR", (line,))
    if dataset.reader in GENERATORS:
        return DataState("generated", ("generated: there is nothing to fetch", *_materials(file)))
    found = find_locally(file)
    if found is None and dataset.hub is not None:
        remedy = f"longspan data fetch {name}"
        return DataState(f"missing: {remedy}", (f"missing; run: {remedy}",), False)
    if found is None:
        cell = f"missing: set {DATA_VARIABLE} or -T data=FILE"
        wanted = " or ".join(dataset.files) or "its file"
        source = f" ({dataset.source})" if dataset.source else ""
        line = (
            f"missing, and not on the hub; put {wanted}{source} into the folder that "
            f"{DATA_VARIABLE} names, or pass -T data=FILE"
        )
        return DataState(cell, (line,), False)
    damaged = {path: what for path in found.paths if (what := damage(path, found.member))}
    lines = [
        f"{path}  ({found.revision})" + (f"  {damaged[path]}" if path in damaged else "")
        for path in found.paths
    ]
    if damaged:
        path, what = next(iter(damaged.items()))
        return DataState(f"damaged: {path.name}: {what}", tuple(lines), False)
    return DataState(found.names, tuple(lines))


def damage(path: Path, member: str | None = None) -> str | None:
    """Returns what is wrong with a file as far as its ends tell, None if nothing is."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            end = file.read()
        if not size:
            return "is empty; fetch it again"
        if path.suffix == ".zip":
            held = [f"/{name}" for name in zipfile.ZipFile(path).namelist()]
            lacks = member and not any(name.endswith(f"/{member}") for name in held)
            return f"lacks {member}; fetch it again" if lacks else None
    except (OSError, zipfile.BadZipFile) as error:
        return f"cannot be read ({error}); fetch it again"
    whole = {".parquet": end.endswith(_PARQUET_MARK), ".json": end.rstrip()[-1:] in (b"]", b"}")}
    return None if whole.get(path.suffix, True) else "is cut off; fetch it again"


def _materials(file: SpecFile) -> list[str]:
    """Returns a line for every material that some tasks of a generator are made of."""
    lines = []
    for name in GENERATORS[file.spec.dataset.reader].materials:
        path = find_material(file, name)
        remedy = f"not here; for tasks that are made of {name} pass -T {name}=FILE"
        lines.append(f"{name}: {path or remedy}")
    return lines
