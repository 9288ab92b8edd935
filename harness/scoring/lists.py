"""Answers that are a list, a number, a percentage or a short text (CorpusQA).

CorpusQA's gold answers are strings that hold JSON: a list of strings (perhaps empty), or a plain
value. Lists are compared as multisets: the order of a table's rows is not asked for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from longspan.harness.scoring.metrics import exact_match
from longspan.harness.scoring.normal import normalise
from longspan.harness.scoring.numbers import (
    MAX_EXTRA_WORDS,
    parse_answer_number,
    parse_number,
    same_number,
)

_NOTHING = re.compile(
    r"(?:there (?:are|is|were|was) )?(?:none|nothing|no|empty|not any|无|没有)\b.*|empty list|n/a|",
    re.IGNORECASE,
)
_ROUNDING = 0.005 + 1e-9
"""Answers have two decimals."""
_MARKS = ("\n", ";", ", ", ",")
"""What may separate items: the first that occurs."""
_LAST = re.compile(r",?\s+(?:and|&|和)\s+|^(?:and|&)\s+", re.IGNORECASE)
_WIDE = str.maketrans("；，、", ";,,")  # noqa: RUF001


def structured_match(answer: str, gold: str) -> float:
    """Returns 1.0 if the answer holds the same items or the same value as the gold, else 0.0.

    Numbers are equal within rounding to two decimals, "12.5%" equals "12.5"; texts after
    normalisation. A list may be JSON, lines, or prose ("A, B and C"); for an empty one "none" and
    "There are none" count.

    Raises:
        ValueError: the gold answer is blank.
    """
    if not gold.strip():
        raise ValueError("gold answer is blank")
    items = _json_list(gold)
    if items is not None:
        if not items:
            return float(_is_nothing(answer))
        wanted = Counter(map(_key, items))
        return float(any(Counter(map(_key, given)) == wanted for given in _readings(answer)))
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


def _is_nothing(answer: str) -> bool:
    items = _json_list(answer)
    if items is not None:
        return not items
    text = answer.strip().strip("[].").strip()
    few_words = len(text.split()) <= MAX_EXTRA_WORDS and not any(map(str.isdigit, text))
    return few_words and _NOTHING.fullmatch(text) is not None


def _readings(answer: str) -> Iterator[list[str]]:
    """Yields what an answer may mean as a list: JSON, separated by marks, the last after "and"."""
    items = _json_list(answer)
    if items is None and answer.lstrip().startswith("["):
        items = _json_list(answer.replace("'", '"'))
    if items is not None:
        yield items
        return
    text = answer.translate(_WIDE).strip().strip("[]")
    for mark in _MARKS:
        if mark in text:
            items = _cleaned(text.split(mark))
            break
    else:
        items = _cleaned([text])
    yield items
    if items:
        yield [*items[:-1], *_cleaned(_LAST.split(items[-1]))]


def _cleaned(items: list[str]) -> list[str]:
    return [item.strip().strip("\"'") for item in items if item.strip()]


def _key(item: str) -> str:
    number = parse_number(item)
    words = normalise(item)
    if number is not None and len(words.split()) == 1:
        return f"{number.value:.2f}"
    return words or item.strip()


def _same(answer: str, gold: str) -> bool:
    wanted = parse_number(gold)
    num_words = len(normalise(gold.replace("元", "")).split())
    if wanted is None or "/" in gold or num_words > 1 + (wanted.scale != 1):
        return bool(exact_match(answer, gold))
    given = parse_answer_number(answer)
    if given is None:
        return False
    # A percentage is not a fraction here: two decimals of a fraction are half a percent.
    given, wanted = replace(given, is_percent=False), replace(wanted, is_percent=False)
    return same_number(given, wanted, _rounds_to)


def _rounds_to(given: float, wanted: float) -> bool:
    return abs(given - wanted) <= max(_ROUNDING, 1e-9 * abs(wanted))
