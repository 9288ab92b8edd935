"""Numbers as answers write them: signs, separators, currencies, percent, powers of ten, units.

Nothing is evaluated. A text holds one number or none: several different ones are a list of guesses.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from longspan.harness.scoring.normal import plain, spell_cjk

MAX_EXTRA_WORDS = 12
"""How many words an answer may have beyond the gold answer's before it is a list of guesses."""

SCALES = {
    **dict.fromkeys(("k", "thousand", "thousands", "千"), 1e3),
    **dict.fromkeys(("万", "萬"), 1e4),
    **dict.fromkeys(("m", "mn", "million", "millions", "百万"), 1e6),
    **dict.fromkeys(("亿", "億"), 1e8),
    **dict.fromkeys(("b", "bn", "billion", "billions", "十亿"), 1e9),
    **dict.fromkeys(("t", "tn", "trillion", "trillions", "万亿"), 1e12),
}
"""Word or sign after a number -> what it multiplies by."""

_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_MAX_NUMBER_CHARS = 2000
_ABSOLUTE_TOLERANCE = 1e-9
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_POWER = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_TIMES_TEN = re.compile(
    r"(?<=\d)\s?[×x*·]\s?10\s?(?:\^|\*\*)\s?[{(]?([-+\u2212\u2013]?\d{1,4})[})]?"
)
_SIGN_WORD = re.compile(r"\b(?:minus|negative)\s+(?=[$€£¥]?\s?[\d.])", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:in|for|during|since|by|year|FY)\s+(?:19|20)\d\d\b(?!\s?%)", re.IGNORECASE)
_FRACTION = re.compile(
    r"\s*(?P<sign>[-+\u2212\u2013])?\s?(?P<top>[1-9]\d{0,5})\s?[/\u2044]\s?(?P<bottom>[1-9]\d{0,5})\s*"
)
_UNITS = (
    "bps|bn|mn|tn|kg|km|cm|mm|pp|st|nd|rd|th|[kKmMbBgxtT]"
    r"|\s(?:百 万|十 亿|万 亿|[千万萬亿億])"
    r"|\s?(?:thousand|million|billion|trillion)s?\b"
)
_NUMBER = re.compile(
    r"(?<!\w)(?<![\d^][.,^])(?<!\^)(?P<sign>[-+\u2212\u2013])?\s?[$€£¥]?\s?"
    r"(?P<digits>\d{1,3}(?:[,\u00a0\u202f' ]\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    rf"(?P<exponent>[eE][-+]?\d{{1,4}})?(?P<unit>{_UNITS})?"
    r"(?!\w|[.,]\d)\s?\)?\s?(?P<percent>%|percent\b|per cent\b)?",
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    value: float
    is_percent: bool = False
    scale: float = 1.0
    """What a word after it multiplies by: 1e6 in "20.5 million"."""

    @property
    def scaled(self) -> float:
        """The number with its unit: 20,500,000 for "20.5 million"."""
        return self.value * self.scale


def numeric(answer: str, gold: str, tolerance: float = 1e-6) -> float:
    """Returns 1.0 if the answer's one number equals the gold number within a relative tolerance.

    Units and up to 12 words around the number do not matter; several different numbers score 0.0.
    If only one of the two is written as a percentage, 12% equals both 12 and 0.12; if only one has
    a scale, 20.5 million equals both 20.5 and 20,500,000.

    Raises:
        ValueError: the gold answer is not one number.
    """
    wanted = parse_number(gold)
    if wanted is None:
        raise ValueError(f"gold answer is not one number: {gold!r}")
    given = parse_answer_number(answer)

    def close(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=_ABSOLUTE_TOLERANCE)

    return float(given is not None and same_number(given, wanted, close))


def same_number(given: Number, wanted: Number, close: Callable[[float, float], bool]) -> bool:
    """Returns whether two numbers are one, read with or without a unit that only one declares.

    Args:
        given: The answer's number.
        wanted: The gold number.
        close: Whether two values are the same (given, wanted).
    """
    if given.scale != 1 and wanted.scale != 1:
        pairs = {(given.scaled, wanted.scaled)}
    else:
        pairs = {(a, b) for a in (given.value, given.scaled) for b in (wanted.value, wanted.scaled)}
    if given.is_percent != wanted.is_percent:
        percents = [(a / 100, b) if given.is_percent else (a, b / 100) for a, b in pairs]
        pairs.update(percents)
    return any(close(a, b) for a, b in pairs)


def parse_answer_number(answer: str) -> Number | None:
    """Returns the one number of an answer, None also where more than a dozen words surround it."""
    if len(answer.split(maxsplit=MAX_EXTRA_WORDS + 1)) > MAX_EXTRA_WORDS + 1:
        return None
    return parse_number(answer)


def parse_number(text: str) -> Number | None:
    r"""Returns the one number in a text, None where there is none, several, or one too large.

    Understood are thousands separators (1,234), sign ("minus 5", en dash), currency, exponent
    (1.5e3, 1.5×10^3, 10³), percent (12%, 12\%), scale (million, bn, 万), a fraction that is all of
    the text (3/4), and a year that says when ("42 in 2019" is 42).
    """
    text = plain(text[:_MAX_NUMBER_CHARS])
    if text.strip(" .").lower() in _WORDS:
        return Number(float(_WORDS.index(text.strip(" .").lower())))
    fraction = _FRACTION.fullmatch(text)
    if fraction and int(fraction["top"]) % int(fraction["bottom"]):  # 2/1 may be two guesses
        value = int(fraction["top"]) / int(fraction["bottom"])
        return Number(-value if fraction["sign"] in ("-", "\u2212", "\u2013") else value)
    text = _POWER.sub(lambda found: "^" + found[0].translate(_POWERS), text)
    text = _TIMES_TEN.sub(lambda found: "e" + _ascii_minus(found[1]), text)
    text = spell_cjk(_SIGN_WORD.sub("-", unicodedata.normalize("NFKC", text)))
    numbers = _numbers(text)
    if len(numbers) > 1 and "=" in text:  # "120.5 - 100 = 20.5" says 20.5
        numbers = _numbers(text.rpartition("=")[2])
    if len(numbers) > 1:
        numbers = _numbers(_YEAR.sub(" ", text))
    number = numbers.pop() if len(numbers) == 1 else None
    return number if number is not None and math.isfinite(number.scaled) else None


def _numbers(text: str) -> set[Number]:
    numbers = set()
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"[^\d.]", "", match["digits"])
        value = float(digits + (match["exponent"] or ""))
        if match["sign"] and _ascii_minus(match["sign"]) == "-":
            value = -value
        unit = (match["unit"] or "").strip().replace(" ", "").lower()
        numbers.add(Number(value, bool(match["percent"]), SCALES.get(unit, 1.0)))
    return numbers


def _ascii_minus(text: str) -> str:
    return text.replace("\u2212", "-").replace("\u2013", "-")
