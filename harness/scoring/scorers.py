"""Inspect's scorers: grading as `longspan/<rule>`, with the judge where a run has one.

`grade` (`scoring.grading`) says what a completion is worth by rule. Where the run has a model of
role `grader` and the rule does not find the gold answer, the judge is asked (`fallback`), or always
(`max`, the paper's evaluation); 1 if it says yes, else the rule's value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, cast, get_args

import anyio.to_thread
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import sample_limits

from longspan.harness.errors import SpecError
from longspan.harness.scoring.aggregates import compat, mean_by_task_type, stderr
from longspan.harness.scoring.canaries import QUALITY_KEY, judge_quality, measure
from longspan.harness.scoring.compat import judged_value as compat_judged_value
from longspan.harness.scoring.grading import (
    Grade,
    GradeOptions,
    JudgeMode,
    Scoring,
    grade,
    strict_answer,
)
from longspan.harness.scoring.judge import (
    ROLE,
    Verdict,
    ask,
    grader_or_none,
    judge_record,
    judged_value,
)
from longspan.harness.scoring.judge_prompts import Form, JudgeRequest, form_of, prompt_hash
from longspan.harness.scoring.rules import RULES, Rule, is_abstention
from longspan.harness.scoring.validity import (
    CUT_OFF_KEY,
    JUDGED,
    Validity,
    stop_reason_of,
    validity_of,
)
from longspan.harness.tokens import TRUNCATION_KEY

MAX_CHARS_ON_LOOP = 20_000
"""Completions up to this length are scored on the event loop: in milliseconds."""
JUDGE_MODES = get_args(JudgeMode)
RULE_OPTIONS: dict[str, tuple[Any, str]] = {
    "max_extra_words": (int, "a whole number"),
    "tolerance": (int | float, "a number"),
}
"""Options of rules -> their types, and how users say them; none may be negative."""


async def score_state(state: TaskState, target: Target, name: str, options: GradeOptions) -> Score:
    """Returns Inspect's score of a finished sample under a rule, and the judge where one is."""
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
    by_rule = partial(
        grade,
        name,
        state.output.completion,
        list(target),
        stop_reason_of(state.output),
        state.metadata,
        options,
    )
    rule = RULES.get(name)
    is_long = len(state.output.completion) > MAX_CHARS_ON_LOOP
    if rule is not None and (rule.is_slow or is_long):  # seconds at worst: not on the event loop
        given = await anyio.to_thread.run_sync(by_rule)
    else:
        given = by_rule()
    if rule is not None:
        given = await _judged(state, target, rule, given, options, metadata)
    validity = given.validity
    if state.store.get(CUT_OFF_KEY) and validity in JUDGED:
        validity = "cut_off"
    metadata |= {"validity": validity, "strict": given.strict, "compat": given.compat}
    if given.value is None:
        judge_failed = given.validity == "judge_failed"
        return Score.unscored(
            reason="grader_failed" if judge_failed else "scoring_failed",
            answer=given.answer,
            explanation=given.explanation,
            metadata=metadata,
        )
    return Score(value=given.value, answer=given.answer, metadata=metadata)


async def _judged(
    state: TaskState,
    target: Target,
    rule: Rule,
    given: Grade,
    options: GradeOptions,
    metadata: dict[str, Any],
) -> Grade:
    """Returns the grade after the judge, whose record it adds to the score's metadata.

    Under compat the judge is shown what the authors show theirs, and always: also "None" where
    there is no answer, which then counts for their form alone.
    """
    strict, answer = given.strict, given.asked
    if options.judge == "none" or rule.judge == "no" or strict is None or answer is None:
        return given
    model = grader_or_none()
    always = options.judge == "max" or rule.judge == "should" or options.scoring == "compat"
    if (model is None and given.validity != "judge_failed") or (strict >= 1.0 and not always):
        return given
    form = _form(state.metadata)
    question = str(state.metadata.get("question") or state.input_text)
    request = JudgeRequest(form, question, tuple(target), answer)
    ended = _ended(state, target, rule, options)
    if model is None:
        missing = f"there is no judge (model role {ROLE})"
        verdict = Verdict(None, "", 0, 0, "", prompt_hash(form), failure=missing)
        metadata["judge"] = judge_record(options.judge, request, strict, verdict) | {"ended": ended}
        return given
    quality = await measure(model, form)
    verdict = await ask(model, request)
    metadata["judge"] = judge_record(options.judge, request, strict, verdict) | {
        "rule_compat": given.compat,
        "scoring": options.scoring,
        "ended": ended,
        QUALITY_KEY: quality.to_metadata(),
    }
    value = judged_value(strict, verdict)
    if value is None or (verdict.value is None and options.scoring == "compat"):
        return Grade(None, answer, "judge_failed", verdict.failure)
    if verdict.value is None:  # the rule has found the gold answer: no verdict could change that
        return Grade(value, answer, ended, None, value, given.compat)
    theirs = compat_judged_value(metadata["scorer"], given.compat, verdict.reply)
    if ended not in JUDGED:
        value = strict
    chosen = theirs if options.scoring == "compat" else value
    return Grade(chosen, given.answer or answer, ended, None, value, theirs)


def _ended(state: TaskState, target: Target, rule: Rule, options: GradeOptions) -> Validity:
    """Returns how the sample ended, for the strict form and before the judge."""
    completion = state.output.completion
    answer = strict_answer(rule, completion, list(target), options.require_phrase)
    return validity_of(stop_reason_of(state.output), answer is not None)


def _form(metadata: dict[str, Any]) -> Form:
    kind = metadata.get("question_type")
    return form_of(kind, is_abstention(metadata)) if isinstance(kind, str) else "equivalence"


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


def _make_scorer(name: str, rule: Rule) -> Any:
    """Returns the function that makes a rule's scorer, registered as `longspan/<name>`."""

    def make(
        scoring: Scoring = "strict",
        require_phrase: bool = True,
        judge: JudgeMode = "fallback",
        **rule_options: Any,
    ) -> Scorer:
        _check_rule_options(name, rule, rule_options)
        options = _options(scoring, require_phrase, judge, rule_options)

        async def score(state: TaskState, target: Target) -> Score:
            return await score_state(state, target, name, options)

        return score

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Scores whether {rule.measures}."
    metrics = [mean(), stderr()]
    if rule.compat is not None:
        metrics.append(compat())
    if rule.judge != "no":
        metrics.append(judge_quality())
    return scorer(metrics=metrics, name=name)(make)


@scorer(metrics=[mean(), stderr(), mean_by_task_type(), judge_quality()])
def by_sample(
    scoring: Scoring = "strict", require_phrase: bool = True, judge: JudgeMode = "fallback"
) -> Scorer:
    """Scores every sample with the scorer that its metadata names.

    Args:
        scoring: Which form of a rule is the score: `strict` or the authors' (`compat`).
        require_phrase: Whether an answer needs the phrase "the answer is".
        judge: When a run's grader is asked: `none`, `fallback` or `max`.
    """
    options = _options(scoring, require_phrase, judge, {})

    async def score(state: TaskState, target: Target) -> Score:
        return await score_state(state, target, str((state.metadata or {}).get("scorer")), options)

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


def _check_rule_options(name: str, rule: Rule, given: Mapping[str, Any]) -> None:
    for option, value in given.items():
        if option not in rule.options:
            known = ", ".join(rule.options) or "none"
            raise SpecError(f"scorer {name} has no option {option!r}; it has: {known}")
        kind, what = RULE_OPTIONS[option]
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if not fits or not 0 <= value < math.inf:
            raise SpecError(
                f"{option} of scorer {name} must be {what}, at least 0: got {value!r:.40}; mend it"
            )


def _options(
    scoring: str, require_phrase: bool, judge: str, rule_options: dict[str, Any]
) -> GradeOptions:
    if scoring not in get_args(Scoring):
        raise SpecError(f"scoring must be strict or compat: got {scoring!r}; use one of them")
    if judge not in JUDGE_MODES:
        known = ", ".join(JUDGE_MODES)
        raise SpecError(f"judge must be one of {known}: got {judge!r}; use one of them")
    if not isinstance(require_phrase, bool):
        raise SpecError(
            f"require_phrase must be true or false: got {require_phrase!r:.40}; use one of them"
        )
    return GradeOptions(
        cast(Scoring, scoring), require_phrase, rule_options, cast(JudgeMode, judge)
    )
