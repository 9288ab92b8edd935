"""Estimates of earlier builds, kept beside the rows of logs: a new log changes few of a board's.

An estimate follows from its numbers, their clusters and the code alone, so it is kept under a hash
of the former, in a file named by the versions of the latter. Whatever is wrong with the file, the
estimates are made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path

from longspan.leaderboards import jackknife, statistics
from longspan.leaderboards.statistics import Estimate

MAX_KEPT = 20_000
"""Estimates in a file, about 4 MB, unless a single board has more."""
PACKAGES = ("numpy", "scipy", "statsmodels")


@contextmanager
def kept_estimates(folder: Path | None) -> Iterator[None]:
    """Spares what is asked for within it the estimates that earlier builds have made.

    Args:
        folder: Where they are kept; None: all are made anew, and none are kept.
    """
    path = None if folder is None else folder / f"estimates-{_code_version()}.json"
    before = {} if path is None else _read(path)
    with statistics.remembering(before) as used:
        yield
    if path is not None and used.keys() - before.keys():
        _write(path, before, used)


def _code_version() -> str:
    digest = hashlib.sha256("/".join(map(version, PACKAGES)).encode())
    for module in (statistics, jackknife):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:32]


def _read(path: Path) -> dict[str, Estimate]:
    try:
        content = json.loads(path.read_bytes())
        text = content["estimates"]
        if hashlib.sha256(text.encode()).hexdigest() != content["sha256"]:
            return {}
        return {key: Estimate(*values) for key, values in json.loads(text).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(path: Path, before: Mapping[str, Estimate], used: Mapping[str, Estimate]) -> None:
    """Writes estimates in place of those of other code: what was used, and what there is room for.

    Those used last stand at the end.
    """
    others = [key for key in before if key not in used]
    room = max(0, MAX_KEPT - len(used))
    kept = {key: before[key] for key in others[max(0, len(others) - room) :]} | dict(used)
    text = json.dumps({key: astuple(estimate) for key, estimate in kept.items()})
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "estimates": text}
        try:
            partial.write_text(json.dumps(content), encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        for other in path.parent.glob("estimates-*.json"):
            if other != path:
                other.unlink(missing_ok=True)
    except OSError:  # a folder that cannot be written to: `RowCache` says so
        pass
