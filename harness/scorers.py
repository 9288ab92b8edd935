"""Scorers: a completion and its gold answers -> a score in [0, 1] and how the sample ended.

`grade` is the one rule; Inspect's scorers, training rewards and `longspan score` all go through it.
A completion cannot make it fail or run long. Gold answers that cannot be compared are a failure of
the scorer, which has no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    Value,
    grouped,
    mean,
    metric,
    scorer,
)
from inspect_ai.scorer import stderr as inspect_stderr
from inspect_ai.solver import TaskState
from inspect_ai.util import sample_limits

from longspan.harness.answers import clean_answer, extract_answer, whole_answer
from longspan.harness.errors import SpecError
from longspan.harness.metrics import MAX_EXTRA_WORDS, METRICS
from longspan.harness.tokens import TRUNCATION_KEY
from longspan.harness.validity import Validity, stop_reason_of, validity_of

CLUSTER_KEY = "document_group"
TYPE_KEY = "task_type"
WHOLE_COMPLETION = frozenset({"sequence_ratio"})
"""Scorers for which the whole completion is the answer where it does not say the phrase."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a completion is worth."""

    value: float | None
    """Fraction in [0, 1]; None where the scorer failed."""
    answer: str | None
    """The answer that was compared."""
    validity: Validity
    """How the sample ended."""
    explanation: str | None = None
    """Why there is no value."""


def grade(
    name: str,
    completion: str,
    targets: Sequence[str],
    stop_reason: str | None = "stop",
    require_phrase: bool = True,
    **options: Any,
) -> Grade:
    """Returns what a completion is worth under a scorer; never raises on a completion.

    Args:
        name: Name of the scorer (a key of `METRICS`).
        completion: The model's output text.
        targets: Gold answers; the best one counts.
        stop_reason: Why the output ended, as Inspect says it; one that hit its limit scores 0.
        require_phrase: Whether an answer needs the phrase "the answer is"; without it the whole
            completion is the answer of a completion that lacks the phrase.
        **options: Of the measure (`max_extra_words`, `tolerance`).
    """
    measure = METRICS.get(name)
    if measure is None:
        known = ", ".join(METRICS)
        return Grade(None, None, "scorer_failed", f"unknown scorer {name!r}; choose one of {known}")
    answer = _answer(name, completion, require_phrase)
    validity = validity_of(stop_reason, answer is not None)
    try:
        # Also for a missing answer: bad gold is found whatever the completion, so a completion
        # cannot choose whether the scorer fails.
        values = [float(measure(answer or "", target, **options)) for target in targets]
        value = max(values)
    except (ValueError, TypeError) as error:
        reason = str(error) if targets else "sample has no gold answer"
        return Grade(None, answer, "scorer_failed", reason)
    if answer is None or validity in ("no_answer", "cut_off"):
        value = 0.0
    return Grade(value, answer, validity)


def score_state(state: TaskState, target: Target, name: str, **options: Any) -> Score:
    """Returns Inspect's score of a finished sample under a scorer."""
    ledger = state.store.get(TRUNCATION_KEY)
    metadata: dict[str, Any] = {"scorer": name}
    if ledger is not None:
        metadata["truncation"] = ledger
    if not state.output.choices:
        if _at_its_limit():
            return Score(value=0.0, metadata=metadata | {"validity": "cut_off"})
        metadata["validity"] = "engine_failed"
        return Score.unscored(
            reason="scoring_failed", explanation="there is no model output", metadata=metadata
        )
    given = grade(
        name, state.output.completion, list(target), stop_reason_of(state.output), **options
    )
    metadata["validity"] = given.validity
    if given.value is None:
        return Score.unscored(
            reason="scoring_failed",
            answer=given.answer,
            explanation=given.explanation,
            metadata=metadata,
        )
    return Score(value=given.value, answer=given.answer, metadata=metadata)


def _at_its_limit() -> bool:
    """Returns whether the running sample used up one of its limits (tokens, messages, time).

    Then a missing output is the model's own doing: it must not be able to leave the statistics by
    writing too much. A log that is scored afterwards does not tell; such samples stay failures.
    """
    try:
        limits = sample_limits()
    except RuntimeError:  # no sample is running
        return False
    every = (limits.token, limits.message, limits.turn, limits.time, limits.working, limits.cost)
    return any(one.remaining is not None and one.remaining <= 0 for one in every)


def _answer(name: str, completion: str, require_phrase: bool) -> str | None:
    answer = extract_answer(completion)
    if name in WHOLE_COMPLETION:
        # The phrase marks the answer where a task asks for it; a task that does not gets all.
        return answer if answer is not None else whole_answer(completion)
    if answer is None and not require_phrase:
        whole = whole_answer(completion)
        return None if whole is None else clean_answer(whole)
    return answer


@metric
def stderr() -> Metric:
    """Standard error of the mean, by document group where every sample has one.

    Samples of one world or document are not independent; their clusters are (Miller 2024, arXiv
    2411.00640). A single cluster says nothing about the spread between clusters, so the samples'
    own spread is used then.
    """

    def compute(scores: list[SampleScore]) -> Value:
        clusters = {(score.sample_metadata or {}).get(CLUSTER_KEY) for score in scores}
        clustered = None not in clusters and len(clusters) > 1
        return _apply(inspect_stderr(cluster=CLUSTER_KEY if clustered else None), scores)

    return compute


@metric
def mean_by_task_type() -> Metric:
    """Mean score of each task type, for samples that have one."""

    def compute(scores: list[SampleScore]) -> Value:
        typed = [score for score in scores if (score.sample_metadata or {}).get(TYPE_KEY)]
        return _apply(grouped(mean(), TYPE_KEY, all=False), typed)

    return compute


def _apply(measure: Any, scores: list[SampleScore]) -> Value:
    value: Value = measure(scores)
    return value


@scorer(metrics=[mean(), stderr()])
def cover_exact_match(
    max_extra_words: int = MAX_EXTRA_WORDS, require_phrase: bool = True
) -> Scorer:
    """Scores 1 if the gold answer stands in the final answer as whole words.

    Args:
        max_extra_words: Words that an answer may have beyond the gold answer's.
        require_phrase: Whether an answer needs the phrase "the answer is".
    """
    return _simple(
        "cover_exact_match", max_extra_words=max_extra_words, require_phrase=require_phrase
    )


@scorer(metrics=[mean(), stderr()])
def letter(require_phrase: bool = True) -> Scorer:
    """Scores 1 if the final answer names exactly the gold option.

    Args:
        require_phrase: Whether an answer needs the phrase "the answer is".
    """
    return _simple("letter", require_phrase=require_phrase)


@scorer(metrics=[mean(), stderr()])
def numeric(tolerance: float = 1e-6, require_phrase: bool = True) -> Scorer:
    """Scores 1 if the final answer's one number equals the gold number.

    Args:
        tolerance: Relative tolerance.
        require_phrase: Whether an answer needs the phrase "the answer is".
    """
    return _simple("numeric", tolerance=tolerance, require_phrase=require_phrase)


@scorer(metrics=[mean(), stderr()])
def sequence_ratio() -> Scorer:
    """Scores the similarity of the whole completion and the gold text (the measure of MRCR)."""
    return _simple("sequence_ratio")


@scorer(metrics=[mean(), stderr(), mean_by_task_type()])
def by_sample(require_phrase: bool = True) -> Scorer:
    """Scores every sample with the scorer that its metadata names.

    Args:
        require_phrase: Whether an answer needs the phrase "the answer is".
    """

    async def score(state: TaskState, target: Target) -> Score:
        name = str((state.metadata or {}).get("scorer"))
        return await _score(state, target, name, require_phrase=require_phrase)

    return score


SCORERS = {
    "cover_exact_match": cover_exact_match,
    "letter": letter,
    "numeric": numeric,
    "sequence_ratio": sequence_ratio,
    "by_sample": by_sample,
}
"""Name -> Inspect scorer, registered as `longspan/<name>`."""


def find_scorer(name: str) -> Any:
    """Returns the function that makes a scorer, by its name with or without `longspan/`.

    Raises:
        SpecError: no such scorer.
    """
    short = name.removeprefix("longspan/")
    if short not in SCORERS:
        raise SpecError(f"unknown scorer: {name}; choose one of {', '.join(SCORERS)}")
    return SCORERS[short]


def _simple(name: str, **options: Any) -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return await _score(state, target, name, **options)

    return score


async def _score(state: TaskState, target: Target, name: str, **options: Any) -> Score:
    if name in WHOLE_COMPLETION:  # seconds at worst: not on the event loop
        return await anyio.to_thread.run_sync(partial(score_state, state, target, name, **options))
    return score_state(state, target, name, **options)
