"""The judge: an Inspect model in the role `grader` that says whether an answer meets a rule.

A judge may fail (provider error, refusal, reply cut off, no verdict). That is no "no": the verdict
has no value then, the sample ends as *judge failed*, outside every mean, and `longspan rejudge` can
ask again. What is asked stands in `scoring.judge_prompts`; how good a judge is, `scoring.canaries`
measures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    model_roles,
)
from inspect_ai.util import LimitExceededError

from longspan.harness.errors import one_line
from longspan.harness.scoring.grading import JudgeMode
from longspan.harness.scoring.judge_prompts import FORMS, JudgeRequest, prompt, prompt_hash

ROLE = "grader"
"""The model role that judges."""

MAX_TOKENS = 8192
"""Output limit of a call unless the role's own configuration has one; leaves room to think."""

MAX_REPLY_CHARS = 20_000
"""How much of a reply is kept, from its end; the verdict stands last."""

_VERDICT = re.compile(r"\[\[\s*(YES|NO)\s*\]\]", re.IGNORECASE)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_THINKING_START = "<think>"
_THINKING_END = "</think>"
_UNFINISHED = {
    "max_tokens": "the reply was cut off at the judge's output limit; raise its max_tokens",
    "model_length": "the reply was cut off at the judge's window",
    "content_filter": "the judge's provider refused (content filter)",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said, or why it said nothing."""

    value: bool | None
    """Whether the answer meets the rule; None if the judge failed."""
    reply: str
    """The reply as it came, without reasoning that the provider keeps apart."""
    tokens_in: int
    """Tokens of the prompt, cached ones included; 0 where the provider does not tell."""
    tokens_out: int
    """Tokens of the reply, reasoning included; 0 where the provider does not tell."""
    model: str
    """Name of the judge: "openai/gpt-5"."""
    prompt_hash: str
    """Hash of the prompt's form (see `judge_prompts.prompt_hash`)."""
    failure: str | None = None
    """One line that says why there is no value."""


def grader_or_none() -> Model | None:
    """Returns the run's model of role `grader` (the first of several), None if it has none.

    `get_model(role="grader")` would hand out the model under evaluation instead: a policy that
    judges itself.
    """
    models = model_roles().get(ROLE)
    return models[0] if isinstance(models, list) else models


async def ask(model: Model, request: JudgeRequest) -> Verdict:
    """Returns the judge's verdict on a request; whatever goes wrong with the judge is in it.

    Temperature is 0 and the output limit `MAX_TOKENS`, unless the judge's own configuration says
    otherwise (models that must not be read greedily).

    Raises:
        LimitExceededError: a limit of the sample; the judge is not to blame.
    """
    asked = prompt(request)
    about = (str(model), prompt_hash(request.form))
    own = model.config
    config = GenerateConfig(
        temperature=0.0 if own.temperature is None else own.temperature,
        max_tokens=own.max_tokens or MAX_TOKENS,
    )
    try:
        output = await model.generate(
            [ChatMessageSystem(content=asked.system), ChatMessageUser(content=asked.user)],
            config=config,
        )
    except LimitExceededError:
        raise
    except Exception as error:  # each provider has errors of its own
        reason = one_line(f"{type(error).__name__}: {error}", 300)
        return Verdict(None, "", 0, 0, *about, failure=reason)
    reply = output.completion
    stop_reason = output.stop_reason if output.choices else None
    value = read_verdict(reply, stop_reason)
    return Verdict(
        value=value,
        reply=_SURROGATE.sub("\ufffd", reply[-MAX_REPLY_CHARS:]),
        tokens_in=_input_tokens(output.usage),
        tokens_out=output.usage.output_tokens if output.usage else 0,
        model=about[0],
        prompt_hash=about[1],
        failure=None if value is not None else _why_none(output),
    )


def read_verdict(reply: str, stop_reason: str | None = "stop") -> bool | None:
    """Returns the last well-formed verdict after any thinking; None without one or if cut off."""
    if stop_reason in _UNFINISHED:
        return None
    _, _, rest = reply.rpartition(_THINKING_END)
    # Only at the start: a judge that quotes the tag from an answer is not thinking.
    if rest.lstrip().startswith(_THINKING_START):
        return None
    verdicts = _VERDICT.findall(rest)
    return verdicts[-1].upper() == "YES" if verdicts else None


def judged_value(rule: float, verdict: Verdict) -> float | None:
    """Returns the score of an answer from the rule's value and the verdict, in both modes.

    1 if the judge says yes, else the rule's value. If the judge failed there is no score, except
    where the rule has given 1 already, which no verdict could change.
    """
    if verdict.value or rule >= 1.0:
        return 1.0
    return None if verdict.value is None else rule


def judge_record(
    mode: JudgeMode, request: JudgeRequest, rule: float, verdict: Verdict
) -> dict[str, Any]:
    """Returns what a score's metadata holds under "judge": enough to see it all and to ask again.

    Args:
        mode: When the judge is asked.
        request: What it was asked.
        rule: The rule's value, a fraction in [0, 1].
        verdict: What it said.
    """
    capped = request.capped()
    return {
        "mode": mode,
        "form": capped.form,
        "rule": rule,
        "question": capped.question,
        "gold": list(capped.gold),
        "answer": capped.answer,
        "model": verdict.model,
        "prompt_hash": verdict.prompt_hash,
        "reply": verdict.reply,
        "tokens": [verdict.tokens_in, verdict.tokens_out],
        "verdict": verdict.value,
        "failure": verdict.failure,
    }


def recorded_request(record: dict[str, Any]) -> JudgeRequest:
    """Returns the request that `judge_record` wrote.

    Raises:
        ValueError: the record holds no request.
    """
    try:
        form, question, answer = record["form"], record["question"], record["answer"]
        gold = tuple(str(one) for one in record["gold"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"the judge's record lacks a field: {error}") from error
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}: got {form!r}")
    return JudgeRequest(form, str(question), gold, str(answer))


def _why_none(output: ModelOutput) -> str:
    if not output.choices or not output.completion.strip():
        return one_line(f"the judge said nothing{f': {output.error}' if output.error else ''}", 300)
    return _UNFINISHED.get(output.stop_reason, "the reply holds no [[YES]] or [[NO]]")


def _input_tokens(usage: ModelUsage | None) -> int:
    if usage is None:
        return 0
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return usage.input_tokens + cached
