"""DocMath-Eval's comparison of numbers: the strict rule, and the one of the released code.

The strict rule accepts rounding and a declared unit ("%", "million"), nothing else. The released
one (QwenLong-L1 evaluation, after DocMath-Eval) also accepts any power of ten, the opposite sign of
an equal magnitude, and three scale factors. Nothing is ever evaluated: the released code calls
Python's `eval` on the matched characters, of which only number literals survive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from longspan.harness.scoring.compat import LEFT_OUT, Compat, Metadata, visible_response
from longspan.harness.scoring.metrics import is_verdict
from longspan.harness.scoring.numbers import (
    SCALES,
    parse_answer_number,
    parse_number,
    same_number,
)

ROUNDING = 0.0015
"""Relative difference that passes as rounding (DocMath-Eval)."""
_UNIT = re.compile(r"\b(?:thousand|million|billion|trillion)s?\b")

_PHRASE = re.compile(r"the answer is (=?≈?`?%?\$?°?£?€?¥?-?[0-9.,]+)", re.IGNORECASE)
_SYMBOLS = re.compile("[=≈`%$°£€¥]")
_FLOAT = re.compile(r"\d+\.\d*|\.\d+")
_MAX_DIGITS = 4300
"""Longest integer literal that Python reads; longer ones are unreadable to the released code."""


def docmath(answer: str, gold: str) -> float:
    """Returns 1.0 if the answer is the gold number up to rounding (0.15%), else 0.0.

    A percentage equals the number of percent and the fraction (12.5% is 12.5 and 0.125); "20.5
    million" equals 20.5 and 20,500,000, since questions ask for values "in millions". A gold of
    True or False wants yes/true or no/false.

    Raises:
        ValueError: the gold answer is no number and no truth value.
    """
    if gold.strip().lower() in ("true", "false"):
        words = ("true", "yes") if gold.strip().lower() == "true" else ("false", "no")
        return float(any(is_verdict(answer.strip("() "), word) for word in words))
    wanted = parse_number(gold)
    if wanted is None:
        raise ValueError(f"gold answer is no number and no truth value: {gold!r}")
    given = parse_answer_number(answer)
    if given is None:
        return 0.0
    units = {SCALES[word] for word in _UNIT.findall(answer.lower())}
    if given.scale == 1 and len(units) == 1:
        given = replace(given, scale=units.pop())
    return float(same_number(given, wanted, _close))


def compat_docmath(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """QwenLong-L1's `judge` for DocMath: the first number after "the answer is", compared loosely.

    The gold goes through the same parser, so 1e-05 becomes 1; a gold without digits (True) makes
    the released code fail, which is no value here. Without a number its judge sees the response.
    """
    if completion == "":
        return Compat(None, None, LEFT_OUT)
    response = visible_response(completion)
    answer = _matched(response)
    if not answer:
        shown = response.replace("Therefore, the answer is", "").strip().rstrip(".").strip()
        return Compat(0.0, answer, shown=shown)
    gold = _matched(f"Therefore, the answer is {targets[0]}.")
    if gold is None:
        return Compat(None, answer, "the released code fails on a gold answer without digits")
    try:
        return Compat(float(_equal(_number(answer), _number(gold))), answer)
    except OverflowError:
        return Compat(None, answer, "the released code fails on a number this large")


def _close(value: float, gold: float) -> bool:
    return abs(value - gold) <= ROUNDING * abs(gold)


def _matched(text: str) -> str | None:
    for mark in "*()":
        text = text.replace(mark, "")
    found = _PHRASE.search(text)
    return found[1].replace(",", "").rstrip(".") if found else None


def _number(text: str) -> int | float:
    """Returns what `eval` makes of the matched characters; 0 where it fails.

    A number that starts with a dot loses it ("$.5" is 5), because the released code takes it for a
    one-character unit.
    """
    text = _SYMBOLS.sub("", text.strip().rstrip("."))
    for num_dots in (2, 1):
        if text.startswith("." * num_dots) and re.fullmatch(r"\d*\.*\d+", text[num_dots:]):
            text = text[num_dots:]
            break
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if _FLOAT.fullmatch(digits):
        return sign * float(digits)
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        return 0
    return 0 if digits.startswith("0") else sign * int(digits)


def _equal(given: int | float, gold: int | float) -> bool:
    larger, smaller = max(abs(gold), abs(given)), min(abs(gold), abs(given))
    if larger and smaller:
        magnitude = math.log10(larger / smaller)
        if int(magnitude) == magnitude:
            return True
    for divisor, factor in ((50, 100), (500, 1000), (50000, 100000)):
        if smaller <= larger / divisor and _within(smaller * factor, larger):
            return True
    return _up(larger) == _up(smaller) or _within(given, gold)


def _within(value: float, gold: float) -> bool:
    slack = abs(gold) * ROUNDING
    return gold - slack <= value <= gold + slack


def _up(value: float) -> float:
    """Rounded up to two decimals, as the released code does."""
    return math.ceil(value * 100) / 100
