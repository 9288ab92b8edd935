"""Replies that fit a schema: JSON taken out of a completion tolerantly, and validated strictly.

A reply that does not fit is shown to the model with what is wrong, a bounded number of times. What
remains is a reason, never an exception: a model that fails is data. Documents in prompts stand
between tags with a nonce and hold nothing that looks like a tag or a control token, so that a
document cannot speak as the prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser
from pydantic import BaseModel, ValidationError

from longspan.harness.passport import Cost
from longspan.harness.scoring.answers import cap, remove_thinking
from longspan.harness.scoring.judge_prompts import neutralise
from longspan.harness.templates import render
from longspan.harness.validation import describe_validation
from longspan.synth_templates.models.calls import Caller, cost_of, identity

T = TypeVar("T", bound=BaseModel)

MAX_STARTS = 64
"""Brackets of a reply at which a JSON value is looked for."""
MAX_SHOWN_CHARS = 4000
"""How much of its own wrong reply a model is shown again."""
_NONCE_BYTES = 6
_START = re.compile(r"[{\[]")
_CUT_OFF = ("max_tokens", "model_length")
_CUT = "cut off: the reply was too long; make it shorter"


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What asking came to.

    Attributes:
        value: What the reply holds; None if no reply fitted.
        problems: What was wrong with each reply that did not fit, as "kind: detail".
        cost: Calls and tokens of all replies.
        prompt_hash: Hash of the prompt.
    """

    value: T | None
    problems: tuple[str, ...]
    cost: Cost
    prompt_hash: str


async def ask_for(
    caller: Caller,
    prompt: str,
    schema: type[T],
    *,
    label: str,
    retries: int,
    check: Callable[[T], str | None] = lambda _: None,
) -> Asked[T]:
    """Returns what a model replies to a prompt, as a value of the schema.

    Args:
        caller: The model.
        prompt: What it is asked.
        schema: What its reply must be.
        label: What the question is about; equal prompts of different labels are different calls.
        retries: How often it is asked again.
        check: Says what is wrong with a value beyond the schema.

    Raises:
        ModelError: the model fails at everything.
    """
    messages: list[ChatMessage] = [ChatMessageUser(content=prompt, metadata=identity(label))]
    problems: list[str] = []
    cost = Cost()
    hashed = text_hash(prompt)
    for attempt in range(1, retries + 2):
        output = await caller.reply(messages)
        if isinstance(output, str):
            problems.append(f"call failed: {output}")
            break
        cost += cost_of(output.usage)
        cut = bool(output.choices) and output.stop_reason in _CUT_OFF
        value = read_value(output.completion, schema, is_cut=cut)
        problem = value if isinstance(value, str) else check(value)
        if not isinstance(value, str) and problem is None:
            return Asked(value, tuple(problems), cost, hashed)
        problems.append(str(problem))
        again = render(prompt_template("again"), {"problem": neutralise(str(problem))})
        messages += [
            ChatMessageAssistant(content=output.completion[:MAX_SHOWN_CHARS] or "(nothing)"),
            ChatMessageUser(content=again, metadata=identity(label, attempt)),
        ]
    return Asked(None, tuple(problems), cost, hashed)


def read_value(completion: str, schema: type[T], *, is_cut: bool = False) -> T | str:
    """Returns the first JSON object of a completion as a value of the schema, or what is wrong.

    Thinking, prose and code fences around it are passed over. A bare list stands for an object with
    it as its only field.
    """
    found = first_json(remove_thinking(cap(completion)))
    if isinstance(found, list) and len(schema.model_fields) == 1:
        found = {next(iter(schema.model_fields)): found}
    if not isinstance(found, dict):
        return _CUT if is_cut else "no JSON: the reply holds no object"
    try:
        # As JSON text: pydantic's strict mode then takes a JSON list for a tuple.
        return schema.model_validate_json(json.dumps(found), strict=True)
    except ValidationError as error:
        # What is left whole of a reply that was cut is a part of what was meant.
        return _CUT if is_cut else f"schema: {describe_validation(error)}"
    except RecursionError:
        return "schema: the reply is nested too deeply"


def first_json(text: str) -> Any:
    """Returns the first JSON object or list in a text, None without one."""
    for number, match in enumerate(_START.finditer(text)):
        if number == MAX_STARTS:
            return None
        try:
            return _DECODER.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    return None


def prompt_template(name: str) -> str:
    """Returns a packaged prompt template by its name."""
    return _prompt_template(name)


def fill_prompt(name: str, values: Mapping[str, Any]) -> str:
    """Returns a packaged prompt, filled."""
    return render(prompt_template(name), values).strip()


def quoted(name: str, text: str) -> str:
    """Returns untrusted text between tags whose nonce it cannot hold: it is a hash of the text."""
    shown = neutralise(text)
    nonce = hashlib.blake2b(shown.encode("utf-8", "replace"), digest_size=_NONCE_BYTES).hexdigest()
    return f"<{name}-{nonce}>\n{shown}\n</{name}-{nonce}>"


def text_hash(text: str) -> str:
    """Returns a short hash of a text (hexadecimal)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def problem_kind(problem: str) -> str:
    """Returns what kind of problem a line of `Asked.problems` is, to count by."""
    return problem.partition(":")[0]


@lru_cache(maxsize=32)
def _prompt_template(name: str) -> str:
    return files(__package__).joinpath("prompts", f"{name}.jinja").read_text("utf-8")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
