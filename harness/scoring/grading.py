"""`grade`: a completion and its gold answers -> a fraction, and how the sample ended.

The one rule: Inspect's scorers, training rewards and `longspan score` all go through it. A
completion cannot make it fail or run long. Gold answers that cannot be compared are a failure of
the scorer, which has no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from longspan.harness.scoring.answers import (
    MAX_COMPLETION_CHARS,
    cap,
    clean_answer,
    extract_answer,
    remove_thinking,
    says_phrase,
)
from longspan.harness.scoring.compat import ASK_JUDGE, Compat
from longspan.harness.scoring.rules import RULES, Rule
from longspan.harness.scoring.validity import JUDGED, Validity, validity_of

Scoring = Literal["strict", "compat"]
"""Which form of a rule is the score; both are in the log."""
JudgeMode = Literal["none", "fallback", "max"]
"""When a run's judge is asked: never, where the rule gives less than 1, always."""


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
    asked: str | None = None
    """What a judge is to be shown; None where there is nothing to ask about."""


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
    judge: JudgeMode = "fallback"
    """When the run's judge is asked, if it has one (scorers only; `grade` is the rule alone)."""


STRICT = GradeOptions()
MAX_COMPAT_CHARS = 5_000_000
"""The authors' forms see this many characters at the end of a completion: more than any output
limit of theirs lets through."""
NEEDS_JUDGE = "the gold answer is a rubric, which only a judge finds; name one as model role grader"


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
    answer = strict_answer(rule, completion, targets, options.require_phrase)
    problem = _problem(rule, targets, metadata)
    if problem is not None:
        return Grade(None, answer, "scorer_failed", problem)
    theirs = rule.compat(_seen(rule, completion), targets, metadata) if rule.compat else None
    validity = validity_of(stop_reason, answer is not None)
    try:
        # Also for a missing answer: bad gold is found whatever the completion, so a completion
        # cannot choose whether the scorer fails.
        strict = rule.strict(answer or "", targets, metadata, **options.rule_options)
    except (ValueError, TypeError) as error:
        value = theirs.value if theirs else None
        if value is None or options.scoring == "strict":
            return Grade(None, answer, "scorer_failed", str(error), compat=value)
        return Grade(value, answer, validity, str(error), compat=value)
    if answer is None or validity not in JUDGED:
        strict = 0.0
    if options.scoring == "compat":
        return _compat_grade(name, theirs, strict, validity)
    value = theirs.value if theirs else None
    asked = answer if validity in JUDGED else None
    if asked is not None and strict < 1 and rule.only_judge(metadata):
        return Grade(None, answer, "judge_failed", NEEDS_JUDGE, 0.0, value, asked)
    return Grade(strict, answer, validity, None, strict, value, asked)


def strict_answer(
    rule: Rule, completion: str, targets: Sequence[str], require_phrase: bool
) -> str | None:
    """Returns what the strict form of a rule takes as the answer, None where there is none."""
    if rule.answer in ("whole", "final_or_whole"):
        # A gold text may hold what marks thinking or an answer: then nothing of it is a mark.
        thinks = any(remove_thinking(gold) != gold.strip() for gold in targets)
        whole = completion.strip() if thinks else remove_thinking(completion)
        if rule.answer == "whole":
            return whole[:MAX_COMPLETION_CHARS] or None
        # The phrase marks the answer where a task asks for it; a task that does not gets all.
        answer = None if any(map(says_phrase, targets)) else extract_answer(completion)
        return answer if answer is not None else cap(whole) or None
    answer = extract_answer(completion, may_be_list=rule.answer == "final_list")
    if answer is None and not require_phrase:
        whole = cap(remove_thinking(completion))
        return clean_answer(whole)
    return answer


def _compat_grade(name: str, theirs: Compat | None, strict: float, validity: Validity) -> Grade:
    """Returns the grade where the authors' form is the score."""
    if theirs is None:
        note = f"scorer {name} has no released code to be compatible with; use strict"
        return Grade(None, None, "scorer_failed", note, strict)
    if theirs.note == ASK_JUDGE:
        return Grade(None, theirs.answer, "judge_failed", theirs.note, strict, None, theirs.asked)
    value, asked = theirs.value, theirs.asked
    return Grade(value, theirs.answer, validity, theirs.note, strict, value, asked)


def _seen(rule: Rule, completion: str) -> str:
    """Returns what the authors' form sees of a completion: all but of very long ones.

    A rule on the whole output looks at its beginning, where MRCR has its prefix.
    """
    if rule.answer == "whole":
        return completion[:MAX_COMPLETION_CHARS]
    return cap(completion) if rule.is_slow else completion[-MAX_COMPAT_CHARS:]


def _problem(rule: Rule, targets: Sequence[str], metadata: Mapping[str, Any]) -> str | None:
    """Returns what makes a sample impossible to score, whatever its completion."""
    if not targets:
        return "sample has no gold answer"
    missing = [key for key in rule.needs if not metadata.get(key)]
    return f"sample lacks metadata: {', '.join(missing)}" if missing else None
