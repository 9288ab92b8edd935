"""Answers that are a list, a number, a percentage or a short text (CorpusQA).

CorpusQA's gold answers are strings that hold JSON: a list of strings (perhaps empty), or a plain
value. Lists are compared as multisets: the order of a table's rows is not asked for.
"""

from __future__ import annotations

import json
import math
from collections import Counter

from longspan.harness.scoring.metrics import normalise, parse_number

_NOTHING = frozenset({"none", "no", "empty", "empty list", "nothing", "n/a", "not any"})
_ROUNDING = 0.005 + 1e-9
"""Answers have two decimals."""


def structured_match(answer: str, gold: str) -> float:
    """Returns 1.0 if the answer holds the same items or the same value as the gold, else 0.0.

    Numbers are equal within rounding to two decimals, "12.5%" equals "12.5"; texts after
    normalisation.

    Raises:
        ValueError: the gold answer is blank.
    """
    if not gold.strip():
        raise ValueError("gold answer is blank")
    items = _json_list(gold)
    if items is not None:
        given = _items(answer)
        return float(Counter(map(_key, given)) == Counter(map(_key, items)))
    single = _json_list(answer)
    if single is not None and len(single) == 1:
        answer = single[0]
    return float(_same(answer, gold))


def _json_list(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    return [item if isinstance(item, str) else json.dumps(item) for item in value]


def _items(answer: str) -> list[str]:
    """Returns the items of an answer that should be a list: JSON, or separated by marks."""
    items = _json_list(answer)
    if items is None and answer.lstrip().startswith("["):
        items = _json_list(answer.replace("'", '"'))
    if items is not None:
        return items
    text = answer.strip().strip("[]")
    if not text.strip() or text.strip().lower() in _NOTHING:
        return []
    for mark in ("\n", ";", ", ", ","):
        if mark in text:
            return [item.strip().strip("\"'") for item in text.split(mark) if item.strip()]
    return [text.strip().strip("\"'")]


def _key(item: str) -> str:
    number = parse_number(item)
    words = normalise(item)
    if number is not None and len(words.split()) == 1:
        return f"{number.value:.2f}"
    return words


def _same(answer: str, gold: str) -> bool:
    wanted = parse_number(gold)
    if wanted is None or len(normalise(gold).split()) > 1:
        return bool(normalise(answer)) and normalise(answer) == normalise(gold)
    given = parse_number(answer)
    return given is not None and math.isclose(
        given.value, wanted.value, rel_tol=1e-9, abs_tol=_ROUNDING
    )
