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
from typing import Any

from longspan.harness.scoring.metrics import exact_match
from longspan.harness.scoring.normal import normalise
from longspan.harness.scoring.numbers import (
    MAX_EXTRA_WORDS,
    parse_answer_number,
    parse_number,
    same_number,
)

_NOTHING = re.compile(
    r"(?:there (?:are|is|were|was) )?(?:none|nothing|no|not any)\b[a-z' ]*"
    r"|(?:an |the )?(?:answer |list )?(?:is )?(?:an )?empty(?: list)?|n/a|"
    r"|(?:\u65e0|\u7a7a|\u7a7a\u5217\u8868|\u6ca1\u6709[^\uff0c\u3001,;]*)",
)
"""How an answer says that there is nothing, its first letter in lower case: no names, no list."""
_BUT = re.compile(r"\b(?:but|except|or|and|other than)\b")
_ROUNDING = 0.005 + 1e-9
"""Answers have two decimals."""
_MARKS = ("\n", ";", ", ", ",")
"""What may separate items."""
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
    return [_as_text(item) for item in value]


def _is_nothing(answer: str) -> bool:
    found = _first_list(answer)
    if found is not None and found[0]:
        return False
    text = (answer if found is None else found[1]).strip()
    if found is not None and not text.strip(" .()"):
        return True
    if found is not None:  # "[], since no school qualifies"
        return re.fullmatch(r"[^A-Z\d]*", text) is not None and _is_short(text)
    text = text.strip("[]. ")
    text = text[:1].lower() + text[1:]
    return _is_short(text) and not _BUT.search(text) and _NOTHING.fullmatch(text) is not None


def _is_short(text: str) -> bool:
    return len(text.split()) <= MAX_EXTRA_WORDS


def _first_list(text: str) -> tuple[list[str], str] | None:
    """Returns the JSON list that a text begins with, and what follows it; None without one."""
    text = text.lstrip()
    if not text.startswith("["):
        return None
    for candidate in (text, text.replace("'", '"')):
        try:
            value, end = json.JSONDecoder().raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, list):
            return [_as_text(item) for item in value], text[end:]
    return None


def _as_text(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item)


def _readings(answer: str) -> Iterator[list[str]]:
    """Yields what an answer may mean as a list: JSON, one item, or separated in one way.

    The last item may stand after "and". Readings are few, so that they are no list of guesses.
    """
    found = _first_list(answer)
    if found is not None:
        if _is_short(found[1]) and not set("[]") & set(found[1]):
            yield found[0]
        return
    text = answer.translate(_WIDE).strip().strip("[]")
    yield _cleaned([text])
    yield _cleaned(_LAST.split(text, maxsplit=1))
    yield _cleaned(text.split("\u548c"))
    for mark in _MARKS:
        if mark in text:
            items = _cleaned(text.split(mark))
            yield items
            if items:
                yield [*items[:-1], *_cleaned(_LAST.split(items[-1], maxsplit=1))]


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
