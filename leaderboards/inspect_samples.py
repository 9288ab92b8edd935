"""A sample of Inspect's logs to the row of a board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.log import EvalSample
from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    NOANSWER,
    PARTIAL,
    Score,
    Value,
    value_to_float,
)

from longspan.harness.errors import one_line
from longspan.harness.scoring.validity import is_scored
from longspan.harness.tokens import TRUNCATION_KEY
from longspan.leaderboards.rows import Row, content_hash, finite

MEMORY_KEY = "longspan:memory"
AGENT_KEY = "longspan:agent"
LETTERS = frozenset({CORRECT, INCORRECT, PARTIAL, NOANSWER})
WORDS = frozenset({"yes", "true", "no", "false"})
MAX_TOKENS = 1 << 40
MAX_HOPS = 1000
"""What exceeds these is no length and no number of hops."""


def sample_row(sample: EvalSample) -> Row:
    """Returns the values of a sample, by the columns of a row."""
    metadata, store = sample.metadata or {}, sample.store or {}
    score = first_score(sample)
    details = (score.metadata or {}) if score else {}
    value, validity = _value(sample)
    question = metadata.get("question")
    usage = list((sample.model_usage or {}).values())
    truncation = details.get("truncation") or store.get(TRUNCATION_KEY)
    memory = details.get("memory") or store.get(MEMORY_KEY)
    return {
        "sample": str(sample.id),
        "epoch": sample.epoch,
        "value": value,
        "compat": finite(details.get("compat")),
        "validity": validity,
        "task_type": metadata.get("task_type"),
        "kind": metadata.get("kind"),
        "hops": _hops(metadata),
        "document_group": metadata.get("document_group"),
        "input_length": _input_length(metadata, truncation, memory),
        "depth": _depth(metadata),
        "truncation": truncation,
        "memory": memory,
        "content": content_hash(str(question) if question else _texts(sample), _gold(sample)),
        "question": question or (_texts(sample) or [""])[-1],
        "answer": (score.answer if score else None) or "",
        "completion": sample.output.completion if sample.output.choices else "",
        "target": " | ".join(_targets(sample)),
        "input_tokens": sum(one.input_tokens for one in usage) + _replayed(store, "input_tokens"),
        "output_tokens": sum(one.output_tokens for one in usage)
        + _replayed(store, "output_tokens"),
        "calls": (sample.turn_count or 0) + _replayed(store, "calls"),
        "seconds": sample.working_time or 0.0,
        "error": one_line(sample.error.message, 300) if sample.error else "",
    }


def _replayed(store: Mapping[str, Any], what: str) -> int:
    """Returns what a resumed agent's earlier processes spent, which Inspect does not count."""
    record = store.get(AGENT_KEY)
    number = finite(record.get(f"replayed_{what}")) if isinstance(record, Mapping) else None
    return max(0, int(number or 0))


def _hops(metadata: Mapping[str, Any]) -> float | None:
    number = finite(metadata.get("hops"))
    return number if number is not None and 0 <= number <= MAX_HOPS else None


def _texts(sample: EvalSample) -> list[str]:
    """Returns the input, message by message; the last is what is asked."""
    if isinstance(sample.input, str):
        return [sample.input]
    return [message.text for message in sample.input]


def _targets(sample: EvalSample) -> list[str]:
    return [sample.target] if isinstance(sample.target, str) else list(sample.target)


def _gold(sample: EvalSample) -> list[str]:
    """Returns the gold answer; of a multiple choice its text, since letters may be shuffled."""
    places = {chr(ord("A") + place): one for place, one in enumerate(sample.choices or [])}
    return [places.get(target, target) for target in _targets(sample)]


def _input_length(metadata: Mapping[str, Any], truncation: Any, memory: Any) -> float | None:
    """Returns the tokens of the context before any cut, as the solver or the task counted them."""
    places = (
        (truncation, "tokens_before"),
        (memory, "document_tokens"),
        (metadata, "input_tokens"),
        (metadata, "num_tokens"),
    )
    found = (finite(place.get(name)) for place, name in places if isinstance(place, Mapping))
    return next((number for number in found if number and 0 < number <= MAX_TOKENS), None)


def _depth(metadata: Mapping[str, Any]) -> float | None:
    """Returns where the evidence stands: a fraction in [0, 1] of what is before it.

    The needle's depth (NIAH, RULER), the mean over several needles or over the evidence of a
    passport, or the place of the message that MRCR asks for.
    """
    passport = metadata.get("passport")
    given = [metadata.get("depth")]
    if given == [None]:
        several = metadata.get("depths") or (
            passport.get("depths") if isinstance(passport, Mapping) else None
        )
        given = list(several) if isinstance(several, list | tuple) else []
    if not given and finite(metadata.get("total_messages")):
        index = finite(metadata.get("desired_msg_index"))
        given = [None if index is None else index / float(metadata["total_messages"])]
    depths = [finite(one) for one in given]
    known = [one for one in depths if one is not None and 0 <= one <= 1]
    return sum(known) / len(known) if known and len(known) == len(depths) else None


def _value(sample: EvalSample) -> tuple[float | None, str]:
    """Returns a sample's score, None where it has none, and its validity."""
    score = first_score(sample)
    if score is None:
        return None, "engine_failed" if sample.error else "scorer_failed"
    validity = str((score.metadata or {}).get("validity") or "unknown")
    if not is_scored(validity):
        return None, validity
    value = _share(score.value)
    return (None, "scorer_failed") if value is None else (value, validity)


def _share(value: Value) -> float | None:
    """Returns a score as a number; None where it is none.

    Inspect's own conversion gives 0 for words and collections that it does not know, which would
    count as wrong answers.
    """
    if isinstance(value, str):
        known = value in LETTERS or value.lower() in WORDS or finite(value) is not None
        return finite(value_to_float()(value)) if known else None
    return finite(value) if isinstance(value, int | float) else None


def first_score(sample: EvalSample) -> Score | None:
    """Returns the sample's first score; boards show one score per task."""
    if sample.error or not sample.scores:
        return None
    return next(iter(sample.scores.values()))
