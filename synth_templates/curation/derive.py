"""A task set written from another one: fewer samples, the same documents, passports and proofs.

The manifest tells the lineage: from which task set, by which operation, with which counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longspan.harness.taskset import SampleRow, TaskSet, write_taskset
from longspan.synth_templates.card import render_card

_OF_FILES = ("format", "files")


def derive(
    parent: TaskSet,
    out: Path,
    rows: Sequence[SampleRow],
    operation: Mapping[str, Any],
    *,
    changes: Mapping[str, Any] | None = None,
    reports: Mapping[str, str] | None = None,
) -> TaskSet:
    """Returns the task set of some samples of another one, written to `out`.

    All documents of the groups that are still used are kept: uniqueness of an answer is proved over
    a whole group.

    Args:
        parent: The task set that the samples are of.
        out: Where the new one appears.
        rows: The samples to keep, in stored order.
        operation: What was done, for the lineage: {"operation": name, ...}.
        changes: Further keys of the manifest.
        reports: Further files by name.

    Raises:
        DataError: `out` holds something.
    """
    groups = parent.document_groups()
    used = dict.fromkeys(row.document_group for row in rows)
    documents = parent.documents
    kept = [(group, documents[name]) for group in groups if group in used for name in groups[group]]
    ancestor = {"name": parent.name, "hash": parent.hash, "num_samples": len(parent.rows())}
    manifest = {
        **{key: value for key, value in parent.manifest.items() if key not in _OF_FILES},
        **(changes or {}),
        "counts": count_kinds(rows),
        "num_samples": len(rows),
        "num_documents": len(kept),
        "num_groups": len(used),
        "lineage": [*parent.manifest.get("lineage", ()), {"parent": ancestor, **operation}],
    }
    return write_taskset(out, rows, kept, manifest, render_card(manifest, rows), reports)


def count_kinds(rows: Sequence[SampleRow]) -> dict[str, dict[str, int]]:
    """Returns split -> kind -> number of samples."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        by_kind = counts.setdefault(row.split, {})
        by_kind[row.kind] = by_kind.get(row.kind, 0) + 1
    return counts
