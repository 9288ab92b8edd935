"""What a training step reports: one flat JSON object per step, and the file of them."""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from longspan.harness.datasets.input_files import printable
from longspan.harness.errors import one_line
from longspan.harness.rollout import Rollout
from longspan.harness.scoring.validity import FAILURES, is_scored
from longspan.trainers.aepo import AepoDecision

ALARM_SHARE = 0.1
"""Share of rollouts without a score above which a step raises an alarm."""

MAX_ERROR_CHARS = 200

UNTYPED = "untyped"


def rollout_metrics(rollouts: Iterable[Rollout]) -> dict[str, Any]:
    """Returns what a step's rollouts were like; means run over rollouts that have a score.

    `reward_by_type` stands next to the number of scored rollouts; failures of judge, scorer
    and engine are counted by kind and enter no mean.
    """
    rollouts = list(rollouts)
    scored = [one for one in rollouts if one.reward is not None and is_scored(one.validity)]
    rewards: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        rewards[one.task_type or UNTYPED].append(float(one.reward or 0.0))
    endings = Counter(one.validity for one in rollouts)
    return {
        "reward_mean": _mean([value for values in rewards.values() for value in values]),
        "reward_by_type": {kind: _mean(values) for kind, values in sorted(rewards.items())},
        "response_tokens": _mean([one.sampled_tokens for one in scored]),
        "turns": _mean([len(one.turns) for one in scored]),
        "cut_off_share": sum(one.is_cut_off for one in rollouts) / max(1, len(rollouts)),
        "no_answer_share": endings["no_answer"] / len(rollouts) if rollouts else 0.0,
        "num_rollouts": len(rollouts),
        "num_invalid": len(rollouts) - len(scored),
        "invalid_by_kind": {kind: endings[kind] for kind in sorted(FAILURES) if endings[kind]},
        "first_error_by_kind": _first_errors(rollouts),
        "prompt_tokens": sum(one.prompt_tokens for one in rollouts),
        "sampled_tokens": sum(one.sampled_tokens for one in rollouts),
        "role_tokens": dict(sum((Counter(one.role_tokens) for one in rollouts), Counter())),
    }


def aepo_metrics(decision: AepoDecision | None) -> dict[str, Any]:
    """Returns AEPO's decision as metrics; masking is False where AEPO is not used."""
    if decision is None:
        return {"aepo_masking": False}
    return {
        "aepo_masking": decision.masking,
        "aepo_reason": decision.reason,
        "aepo_low": decision.low,
        "aepo_high": decision.high,
        "aepo_masked_steps": decision.masked_steps,
    }


def alarm(metrics: Mapping[str, Any]) -> str | None:
    """Returns a line when so many rollouts take no part that the step means little or nothing."""
    if metrics.get("num_trained") == 0:
        return "no rollout takes part, so the step is skipped: weights and AEPO stay as they are"
    share = metrics["num_invalid"] / max(1, metrics["num_rollouts"])
    if share <= ALARM_SHARE:
        return None
    kinds = ", ".join(f"{kind} {number}" for kind, number in metrics["invalid_by_kind"].items())
    errors = metrics.get("first_error_by_kind") or {}
    first = next(iter(errors.values()), None)
    why = f"; the first says: {first}" if first else ""
    return f"{share:.0%} of rollouts have no score ({kinds}){why}"


def _first_errors(rollouts: Iterable[Rollout]) -> dict[str, str]:
    """Returns by kind of failure what its first rollout says, in one line."""
    found: dict[str, str] = {}
    for one in rollouts:
        if one.validity in FAILURES and one.error:
            found.setdefault(one.validity, printable(one_line(one.error, MAX_ERROR_CHARS)))
    return dict(sorted(found.items()))


class MetricsFile:
    """JSON lines, one per step; a resumed run cuts off the lines of steps that it repeats."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes a step's metrics; what is not finite becomes null, which is JSON."""
        line = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def truncate(self, size: int) -> None:
        """Forgets everything behind the first `size` bytes."""
        if self.size > size:
            os.truncate(self.path, size)

    def rows(self) -> list[dict[str, Any]]:
        """Returns all rows."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values) if values else math.nan


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
