"""How good a judge is: pairs with known verdicts (`canaries.yaml`) -> its error rates.

A score that a judge had a part in is worth as much as the judge. The rates are measured with the
very prompt of the form that is judged, once per judge and prompt in a process, and stand in every
judged score's metadata; the metric `judge_quality` carries them into the header of the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import RunVar
from inspect_ai.model import Model
from inspect_ai.scorer import Metric, SampleScore, Value, metric
from inspect_ai.util import collect

from longspan.harness.files import read_mapping
from longspan.harness.scoring.judge import Verdict, ask
from longspan.harness.scoring.judge_prompts import Form, JudgeRequest, prompt_hash

QUALITY_KEY = "quality"
"""Key of a score's `metadata["judge"]` under which the judge's quality stands."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A pair of gold answer and answer whose verdict is beyond dispute."""

    kind: str
    """What it probes: "near number"."""
    request: JudgeRequest
    """What the judge is asked."""
    meets: bool
    """The right verdict."""


@dataclass(frozen=True, slots=True)
class JudgeQuality:
    """A judge's errors on the canaries of one form."""

    num_positive: int
    """Canaries whose right verdict is yes."""
    num_negative: int
    """Canaries whose right verdict is no."""
    false_positive_rate: float | None
    """Of the negatives with a verdict, the fraction judged yes; None if none got a verdict."""
    false_negative_rate: float | None
    """Of the positives with a verdict, the fraction judged no; None if none got a verdict."""
    num_failed: int
    """Canaries that got no verdict."""

    def to_metadata(self) -> dict[str, Any]:
        """Returns what stands under `QUALITY_KEY`."""
        return asdict(self)


_Key = tuple[str, ...]
_verdicts: dict[_Key, dict[Canary, Verdict]] = {}
"""Verdicts by judge and prompt; kept one by one, so a measurement that is cut short goes on."""

_locks: RunVar[dict[_Key, anyio.Lock]] = RunVar("longspan_canary_locks")
"""Locks of the running event loop: training runs a loop a step, and a lock belongs to one."""


@cache
def canaries(form: Form) -> tuple[Canary, ...]:
    """Returns the canaries of a form.

    Raises:
        DataError: the file cannot be read.
    """
    content = read_mapping(Path(__file__).with_suffix(".yaml"), "canaries")
    return tuple(_canary(form, row) for row in content[form])


async def measure(model: Model, form: Form = "equivalence") -> JudgeQuality:
    """Returns the judge's error rates under a form's prompt.

    Asked once per judge and prompt in this process; concurrent callers share one measurement. If
    the caller is cancelled half way, the next one asks only what is missing.

    Raises:
        LimitExceededError: a limit of the sample in which the canaries are asked.
    """
    key = (str(model), str(model.api.base_url), model.config.model_dump_json(), prompt_hash(form))
    async with _lock(key):
        known = _verdicts.setdefault(key, {})

        async def judge(canary: Canary) -> None:
            known[canary] = await ask(model, canary.request)

        await collect(*(judge(one) for one in canaries(form) if one not in known))
    return quality(known)


def quality(verdicts: Mapping[Canary, Verdict]) -> JudgeQuality:
    """Returns the error rates of verdicts on canaries."""
    said = {meets: _values(verdicts, meets) for meets in (True, False)}
    wrong = {meets: [value != meets for value in values] for meets, values in said.items()}
    num_positive = sum(canary.meets for canary in verdicts)
    return JudgeQuality(
        num_positive=num_positive,
        num_negative=len(verdicts) - num_positive,
        false_positive_rate=_fraction(wrong[False]),
        false_negative_rate=_fraction(wrong[True]),
        num_failed=len(verdicts) - len(said[True]) - len(said[False]),
    )


@metric
def judge_quality() -> Metric:
    """Error rates of the judge on canaries, mean over the samples that a judge was asked about.

    A sample counts with the rates of its own judge and form. Gives nothing where no judge was
    asked. A sample whose judge failed has no score and never reaches a metric; the fraction of
    canaries without a verdict tells how often that is to be expected.
    """

    def compute(scores: list[SampleScore]) -> Value:
        found = [one for score in scores if (one := _quality_of(score)) is not None]
        rates = {
            "judge_false_positive_rate": [one.get("false_positive_rate") for one in found],
            "judge_false_negative_rate": [one.get("false_negative_rate") for one in found],
            "judge_canary_failed_rate": [_failed_rate(one) for one in found],
        }
        known = {name: [x for x in values if x is not None] for name, values in rates.items()}
        return {name: math.fsum(given) / len(given) for name, given in known.items() if given}

    return compute


def _canary(form: Form, row: Mapping[str, Any]) -> Canary:
    gold = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    request = JudgeRequest(form, row["question"], tuple(gold), row["answer"])
    return Canary(row["kind"], request, row["meets"])


def _lock(key: _Key) -> anyio.Lock:
    locks = _locks.get({})
    _locks.set(locks)
    return locks.setdefault(key, anyio.Lock())


def _values(verdicts: Mapping[Canary, Verdict], meets: bool) -> list[bool]:
    given = [verdict.value for canary, verdict in verdicts.items() if canary.meets == meets]
    return [value for value in given if value is not None]


def _fraction(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _quality_of(score: SampleScore) -> Mapping[str, Any] | None:
    judge = (score.score.metadata or {}).get("judge")
    found = judge.get(QUALITY_KEY) if isinstance(judge, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _failed_rate(found: Mapping[str, Any]) -> float | None:
    total = found.get("num_positive", 0) + found.get("num_negative", 0)
    return found.get("num_failed", 0) / total if total else None
