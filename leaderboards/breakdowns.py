"""Accuracy by kind of question, what the memory agent kept, and what was cut: one run at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from longspan.leaderboards.entries import Entry
from longspan.leaderboards.statistics import estimate_mean

EVIDENCE_SHARES = (
    *("read", "noted", "kept", "used"),
    *("lost_never_read", "lost_not_noted", "lost_overwritten", "lost_not_used"),
)
"""What became of a sample's evidence, as the memory agent's record names it."""


def breakdowns(entry: Entry, column: str) -> list[dict[str, Any]]:
    """Returns accuracy by the values of a column; samples without one are in none of them."""
    known = entry.rows[column].dropna()
    of_sample: dict[str, Any] = {}
    for sample, group in zip(entry.rows["sample"][known.index], known, strict=True):
        of_sample.setdefault(sample, group)
    members: dict[Any, list[str]] = {}
    for sample, group in of_sample.items():
        if sample in entry.scores:
            members.setdefault(group, []).append(sample)
    found = []
    for group in sorted(members):
        samples = members[group]
        estimate = estimate_mean(
            [entry.scores[key] for key in samples], [entry.groups[key] for key in samples]
        )
        name = str(int(group)) if isinstance(group, float) else str(group)
        found.append(
            {
                **entry.label.as_dict(),
                "group": name,
                "accuracy": estimate.mean,
                "interval": [estimate.low, estimate.high],
                "num_samples": estimate.num_samples,
            }
        )
    return found


def retention(entry: Entry) -> list[dict[str, Any]]:
    """Returns what a memory agent's run kept (one item), nothing for other solvers.

    Shares of the evidence are means over samples with a passport, None where none has one. Shares
    of malformed and cut turns are over all reading turns.
    """
    records = [record for record in entry.rows["memory"] if isinstance(record, Mapping)]
    if not records:
        return []
    turns = sum(_count(record, "num_calls") for record in records)

    def mean(name: str) -> float | None:
        values = [float(r[name]) for r in records if isinstance(r.get(name), int | float)]
        return sum(values) / len(values) if values else None

    def share(name: str) -> float | None:
        return sum(_count(record, name) for record in records) / turns if turns else None

    return [
        {
            **entry.label.as_dict(),
            **{name: mean(name) for name in EVIDENCE_SHARES},
            "num_samples": len(records),
            "num_chunks": mean("num_chunks"),
            "memory_tokens": mean("memory_tokens"),
            "malformed_share": share("num_malformed"),
            "cut_off_share": share("num_cut_off"),
            "memory_cut_share": share("num_memory_cuts"),
        }
    ]


def truncation_shares(rows: pd.DataFrame) -> dict[str, float | None]:
    """Returns the share of samples whose context was cut, and the mean share of evidence left."""
    ledgers = [ledger for ledger in rows["truncation"] if isinstance(ledger, Mapping)]
    cut = [_count(ledger, "tokens_dropped") > 0 for ledger in ledgers]
    kept = [float(ledger["evidence_kept"]) for ledger in ledgers if "evidence_kept" in ledger]
    return {
        "truncated_share": sum(cut) / len(cut) if cut else None,
        "evidence_kept": sum(kept) / len(kept) if kept else None,
    }


def _count(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    return int(value) if isinstance(value, int | float) else 0
