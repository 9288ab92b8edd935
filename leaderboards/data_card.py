"""What a task set holds and how it was made, for the page's data card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longspan.harness.taskset import TaskSet


def read_data_cards(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns the cards of task sets, from their manifests.

    Raises:
        DataError: a folder holds no whole task set.
    """
    return [_card(TaskSet.open(folder)) for folder in folders]


def _card(taskset: TaskSet) -> dict[str, Any]:
    manifest: Mapping[str, Any] = taskset.manifest
    counts: Mapping[str, Mapping[str, int]] = manifest["counts"]
    kinds = sorted({kind for by_kind in counts.values() for kind in by_kind})
    return {
        "name": taskset.name,
        "hash": taskset.hash,
        "seed": manifest["seed"],
        "num_samples": manifest["num_samples"],
        "num_documents": manifest["num_documents"],
        "num_groups": manifest["num_groups"],
        "tokenizer": manifest["counter"]["name"],
        "splits": list(counts),
        "kinds": [
            {"kind": kind, "counts": [by_kind.get(kind, 0) for by_kind in counts.values()]}
            for kind in kinds
        ],
        "yields": [
            {
                "step": step,
                **{name: facts[name] for name in ("wanted", "drawn", "accepted")},
                "rejected": [
                    {"reason": str(reason), "number": number}
                    for reason, number in facts["rejected"].items()
                ],
            }
            for step, facts in manifest["yields"].items()
        ],
    }
