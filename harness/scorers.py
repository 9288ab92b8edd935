"""Scorers: a completion and its gold answers -> a score in [0, 1] and how the sample ended.

`grade` is the one rule; Inspect's scorers, training rewards and `longspan score` all go through it.
A completion cannot make it fail or run long. Gold answers that cannot be compared are a failure of
the scorer, which has no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast, get_args

import anyio.to_thread
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import sample_limits

from longspan.harness.aggregates import compat, mean_by_task_type, stderr
from longspan.harness.answers import cap, clean_answer, extract_answer, whole_answer
from longspan.harness.errors import SpecError
from longspan.harness.rules import RULES, Rule
from longspan.harness.tokens import TRUNCATION_KEY
from longspan.harness.validity import Validity, stop_reason_of, validity_of

Scoring = Literal["strict", "compat"]
"""Which form of a rule is the score; both are in the log."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a completion is worth."""

    value: float | None
    """Fraction in [0, 1]; None where the scorer failed, or compat leaves the sample out."""
    answer: str | None
    """The answer that was compared."""
    validity: Validity
    """How the sample ended."""
    explanation: str | None = None
    """Why there is no value."""
    strict: float | None = None
    """Value of the strict form."""
    compat: float | None = None
    """Value of the authors' form; None without one, or where it leaves the sample out."""


@dataclass(frozen=True, slots=True)
class GradeOptions:
    """How completions are graded."""

    scoring: Scoring = "strict"
    """Which form is the value."""
    require_phrase: bool = True
    """Whether an answer needs the phrase "the answer is" (strict); without it the whole completion
    is the answer of a completion that lacks the phrase."""
    rule_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the strict form (`max_extra_words`, `tolerance`)."""


STRICT = GradeOptions()


def grade(
    name: str,
    completion: str,
    targets: Sequence[str],
    stop_reason: str | None = "stop",
    metadata: Mapping[str, Any] | None = None,
    options: GradeOptions = STRICT,
) -> Grade:
    """Returns what a completion is worth under a rule; never raises on a completion.

    Args:
        name: Name of the rule (a key of `RULES`).
        completion: The model's output text.
        targets: Gold answers.
        stop_reason: Why the output ended, as Inspect says it; one that hit its limit scores 0
            (strict: the authors' forms do not look).
        metadata: The record's metadata, from which some rules take what they need.
        options: Which form, and how strictly.
    """
    rule = RULES.get(name)
    if rule is None:
        known = ", ".join(RULES)
        return Grade(None, None, "scorer_failed", f"unknown scorer {name!r}; choose one of {known}")
    metadata = metadata or {}
    answer = _answer(rule, completion, options.require_phrase)
    validity = validity_of(stop_reason, answer is not None)
    problem = _problem(rule, targets, metadata)
    if problem is None:
        try:
            # Also for a missing answer: bad gold is found whatever the completion, so a completion
            # cannot choose whether the scorer fails.
            strict = rule.strict(answer or "", targets, metadata, **options.rule_options)
        except (ValueError, TypeError) as error:
            problem = str(error)
    if problem is not None:
        return Grade(None, answer, "scorer_failed", problem)
    if answer is None or validity in ("no_answer", "cut_off"):
        strict = 0.0
    theirs = rule.compat(cap(completion), targets, metadata) if rule.compat else None
    value = theirs.value if theirs else None
    if options.scoring == "strict":
        return Grade(strict, answer, validity, None, strict, value)
    if theirs is None:
        note = f"scorer {name} has no released code to be compatible with; use strict"
        return Grade(None, answer, "scorer_failed", note, strict)
    return Grade(value, theirs.answer, validity, theirs.note, strict, value)


def score_state(
    state: TaskState, target: Target, name: str, options: GradeOptions = STRICT
) -> Score:
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
        name,
        state.output.completion,
        list(target),
        stop_reason_of(state.output),
        state.metadata,
        options,
    )
    metadata |= {"validity": given.validity, "strict": given.strict, "compat": given.compat}
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


def _answer(rule: Rule, completion: str, require_phrase: bool) -> str | None:
    answer = None if rule.answer == "whole" else extract_answer(completion)
    if rule.answer != "final":
        # The phrase marks the answer where a task asks for it; a task that does not gets all.
        return answer if answer is not None else whole_answer(completion)
    if answer is None and not require_phrase:
        whole = whole_answer(completion)
        return None if whole is None else clean_answer(whole)
    return answer


def _problem(rule: Rule, targets: Sequence[str], metadata: Mapping[str, Any]) -> str | None:
    """Returns what makes a sample impossible to score, whatever its completion."""
    if not targets:
        return "sample has no gold answer"
    missing = [key for key in rule.needs if not metadata.get(key)]
    return f"sample lacks metadata: {', '.join(missing)}" if missing else None


def _make_scorer(name: str, rule: Rule) -> Any:
    """Returns the function that makes a rule's scorer, registered as `longspan/<name>`."""

    def make(
        scoring: Scoring = "strict", require_phrase: bool = True, **rule_options: Any
    ) -> Scorer:
        unknown = rule_options.keys() - set(rule.options)
        if unknown:
            raise TypeError(f"scorer {name} has no option {min(unknown)!r}")
        options = GradeOptions(_checked(scoring), require_phrase, rule_options)

        async def score(state: TaskState, target: Target) -> Score:
            return await _score(state, target, name, options)

        return score

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Scores whether {rule.measures}."
    metrics = [mean(), stderr(), compat()] if rule.compat else [mean(), stderr()]
    return scorer(metrics=metrics, name=name)(make)


@scorer(metrics=[mean(), stderr(), mean_by_task_type()])
def by_sample(scoring: Scoring = "strict", require_phrase: bool = True) -> Scorer:
    """Scores every sample with the scorer that its metadata names.

    Args:
        scoring: Which form of a rule is the score: `strict` or the authors' (`compat`).
        require_phrase: Whether an answer needs the phrase "the answer is".
    """
    options = GradeOptions(_checked(scoring), require_phrase)

    async def score(state: TaskState, target: Target) -> Score:
        return await _score(state, target, str((state.metadata or {}).get("scorer")), options)

    return score


SCORERS: dict[str, Any] = {name: _make_scorer(name, rule) for name, rule in RULES.items()}
"""Name -> Inspect scorer, registered as `longspan/<name>`."""
SCORERS["by_sample"] = by_sample


def find_scorer(name: str) -> Any:
    """Returns the function that makes a scorer, by its name with or without `longspan/`.

    Raises:
        SpecError: no such scorer.
    """
    short = name.removeprefix("longspan/")
    if short not in SCORERS:
        raise SpecError(f"unknown scorer: {name}; choose one of {', '.join(SCORERS)}")
    return SCORERS[short]


def _checked(scoring: str) -> Scoring:
    if scoring not in get_args(Scoring):
        raise SpecError(f"scoring must be strict or compat: got {scoring!r}; use one of them")
    return cast(Scoring, scoring)


async def _score(state: TaskState, target: Target, name: str, options: GradeOptions) -> Score:
    rule = RULES.get(name)
    if rule is not None and rule.is_slow:  # seconds at worst: not on the event loop
        return await anyio.to_thread.run_sync(partial(score_state, state, target, name, options))
    return score_state(state, target, name, options)
