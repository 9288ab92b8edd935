"""How a sample ended, which is not a score.

The model's own doing (answered, no answer, cut off) is scored; a failure of judge, scorer or engine
has no score and enters no mean, group baseline, task standard deviation or batch entropy.
"""

from __future__ import annotations

from typing import Literal, get_args

from inspect_ai.model import ModelOutput

Validity = Literal[
    "answered",
    "no_answer",
    "cut_off",
    "judge_failed",
    "scorer_failed",
    "engine_failed",
    "unknown",
]
"""`unknown`: there is an output, but the provider does not tell whether it was cut off."""

VALIDITIES: tuple[Validity, ...] = get_args(Validity)
FAILURES: frozenset[Validity] = frozenset({"judge_failed", "scorer_failed", "engine_failed"})
"""Endings without a score."""

JUDGED: frozenset[Validity] = frozenset({"answered", "unknown"})
"""Endings that a verdict may turn into a score of the strict form."""

CUT_OFF_KEY = "longspan:cut_off"
"""Key of a sample's store with the limit that ended an agent's reading before the document did. Its
answer is scored as what it is, the best so far, and the sample recorded as cut off."""

_CUT_OFF = ("max_tokens", "model_length", "length")  # the last is OpenAI's own word


def is_scored(validity: str) -> bool:
    """Returns whether a sample that ended so has a score.

    A word that is no validity counts as a failure: an unreadable ending must not enter a mean.
    """
    return validity in VALIDITIES and validity not in FAILURES


def validity_of(stop_reason: str | None, has_answer: bool) -> Validity:
    """Returns the validity of an output from why it stopped and whether it holds an answer.

    The limit comes first: an output that hit it is cut off even where an answer was found before
    the cut, since a longer limit could have changed it. Without a stop reason the answer cannot be
    trusted to be the last word.
    """
    if stop_reason in _CUT_OFF:
        return "cut_off"
    if stop_reason is None or stop_reason == "unknown":
        return "unknown"
    return "answered" if has_answer else "no_answer"


def stop_reason_of(output: ModelOutput) -> str | None:
    """Returns why the output stopped, None where there is no output (an errored sample)."""
    return output.stop_reason if output.choices else None
