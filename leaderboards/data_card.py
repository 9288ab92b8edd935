"""What a task set holds and how it was made, for the page's data card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read_data_cards(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns the cards of task sets, from their manifests.

    Raises:
        DataError: a folder holds no whole task set.
    """
    if not folders:
        return []
    from longspan.harness.taskset import TaskSet  # it brings all of Inspect, a second of a rebuild

    sets = [TaskSet.open(folder) for folder in folders]
    return [_card(one.name, one.hash, one.manifest) for one in sets]


def _card(name: str, content_hash: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    counts: Mapping[str, Mapping[str, int]] = manifest["counts"]
    kinds = sorted({kind for by_kind in counts.values() for kind in by_kind})
    return {
        "name": name,
        "hash": content_hash,
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
