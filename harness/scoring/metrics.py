"""How right an answer is: pure functions from an answer and a gold answer to a fraction in [0, 1].

They take an answer that was already extracted (`scoring.answers`) and never fail on one; a gold
answer that cannot be compared is a defect of the data and raises ValueError. Several gold answers
are alternatives: the best one counts.
"""

from __future__ import annotations

import bisect
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_EXTRA_WORDS = 12
"""How many words an answer may have beyond the gold answer's before it is a list of guesses."""

MAX_RATIO_WORK = 10_000_000
"""Character comparisons that one sequence ratio may cost: a few seconds."""

_DECIMAL_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_KEPT_POINT = "\ue000"  # a private character, which is no punctuation
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_OPPOSITES = ({"yes", "no"}, {"true", "false"})
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


def cover_exact_match(answer: str, gold: str, max_extra_words: int = MAX_EXTRA_WORDS) -> float:
    """Returns 1.0 if the gold answer stands in the answer as whole words, else 0.0 (cover EM).

    Paper, section 5.1: "ground truth is contained within the model output", after normalisation.
    The released code also accepts the reverse and matches inside words ("no" in "unknown"); this is
    the strict, one-direction form. An answer with more than `max_extra_words` words beyond the gold
    answer's scores 0.0, and so does "yes or no": otherwise listing every candidate would win.
    Scripts without spaces between words are compared by character.

    Raises:
        ValueError: the gold answer is blank.
    """
    if not gold.strip():
        raise ValueError("gold answer is blank")
    wanted, given = normalise(gold), normalise(answer)
    if not wanted:  # only articles or punctuation ("The", "%"): compare what there is
        return float(gold.strip().casefold() == answer.strip().casefold())
    words = given.split()
    if len(words) > len(wanted.split()) + max_extra_words:
        return 0.0
    if _CJK.search(wanted):
        return float(wanted in given and len(given) <= len(wanted) + 2 * max_extra_words)
    if any(wanted in pair and pair <= set(words) for pair in _OPPOSITES):
        return 0.0
    return float(f" {wanted} " in f" {given} ")


def normalise(text: str) -> str:
    """Returns the text lower-cased, without punctuation and articles, white space collapsed.

    The rule of SQuAD and of the released code, with punctuation of all scripts and compatibility
    forms unified; a decimal point stays (the released code makes 1.5 and 15 equal).
    """
    lowered = _DECIMAL_POINT.sub(_KEPT_POINT, unicodedata.normalize("NFKC", text).lower())
    if lowered.isascii():
        kept = lowered.translate(_ASCII_PUNCTUATION)
    else:
        kept = "".join(c for c in lowered if not unicodedata.category(c).startswith(("P", "S")))
    return " ".join(_ARTICLES.sub(" ", kept).split())


def exact_match(answer: str, gold: str) -> float:
    """Returns 1.0 if answer and gold answer are the same after normalisation, else 0.0.

    Raises:
        ValueError: the gold answer is blank.
    """
    if not gold.strip():
        raise ValueError("gold answer is blank")
    wanted, given = normalise(gold), normalise(answer)
    if not wanted:
        return float(gold.strip().casefold() == answer.strip().casefold())
    return float(given == wanted)


def token_f1(answer: str, gold: str) -> float:
    """Returns the F1 of the words that answer and gold answer share (SQuAD, HotpotQA).

    precision = shared / words of the answer, recall = shared / words of the gold; both count
    repetitions. A yes-or-no gold wants exactly itself (HotpotQA).

    Raises:
        ValueError: the gold answer is blank.
    """
    exact = exact_match(answer, gold)
    wanted, given = normalise(gold).split(), normalise(answer).split()
    if exact or not wanted or (len(wanted) == 1 and any(set(wanted) <= p for p in _OPPOSITES)):
        return exact
    num_shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * num_shared / (len(given) + len(wanted))


def found_share(answer: str, golds: Sequence[str], max_extra_words: int = MAX_EXTRA_WORDS) -> float:
    """Returns the share of the references that stand in the answer as whole words (RULER).

    All of them are asked for. An answer with more than `max_extra_words` words beyond theirs scores
    0.0: otherwise repeating the text would win.

    Raises:
        ValueError: there is no reference, or one is blank.
    """
    wanted = [normalise(gold) for gold in golds]
    if not wanted or not all(wanted):
        raise ValueError("a reference is blank")
    given = normalise(answer)
    num_words = sum(len(one.split()) for one in wanted)
    if len(given.split()) > num_words + max_extra_words:
        return 0.0
    return sum(f" {one} " in f" {given} " for one in wanted) / len(wanted)


_BARE_LETTER = re.compile(r"(?:option|choice|answer)?\s*\(?\s*([a-z])\s*\)?\s*[.:]?", re.IGNORECASE)
_NAMED_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:option|choice)\s+)?[(\[]([A-Za-z])[)\]]\s*[:.,-]?\s*(\S.*)?", re.DOTALL
)
_LATEX = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\{([^{}]*)\}")
_LETTER_THEN_TEXT = re.compile(r"(?:\(([A-Za-z])\)|([A-Z])[).:])\s+\S.*", re.DOTALL)
_MARKED = re.compile(
    r"\(([A-Za-z])\)|\b([A-Z])[).:](?=\s)|\b([A-Z])\b(?=\s*(?:,|;|/|&|or\b|and\b))"
)


def letter(answer: str, gold: str) -> float:
    """Returns 1.0 if the answer names exactly the gold option, else 0.0.

    Accepted: "B", "(B)", "B.", "option B", "(B) Paris", "B. Paris". An answer that marks another
    option too ("A, B, C, D", "(A) or (B)") scores 0.0.

    Raises:
        ValueError: the gold answer is no option letter.
    """
    wanted = parse_letter(gold)
    if wanted is None:
        raise ValueError(f"gold answer is not one option letter: {gold!r}")
    return float(parse_letter(answer) == wanted)


def _plain(answer: str) -> str:
    """Returns an answer without emphasis, LaTeX wrappers and wide forms of brackets."""
    text = unicodedata.normalize("NFKC", answer).replace("*", "")
    for _ in range(2):
        text = _LATEX.sub(r"\1", text)
    return re.sub(r"^(?:\$|\\\(|\\\[)+|(?:\$|\\\)|\\\])+$", "", text.strip()).strip()


def parse_letter(answer: str) -> str | None:
    """Returns the one option letter that an answer names (upper case), None for none or several."""
    answer = _plain(answer.strip()[:2000])
    bare = _BARE_LETTER.fullmatch(answer)
    if bare:
        return bare.group(1).upper()
    named = _NAMED_LETTER.fullmatch(answer)
    if named:
        # Capitals within the option's text ("J. R. R. Tolkien") are no options.
        others = {one.upper() for one in re.findall(r"\(([A-Za-z])\)", named[2] or "")}
        others |= set(re.findall(r"(?:\bor|\band|[,;/])\s*([A-Z])$", (named[2] or "").rstrip(" .")))
        return named[1].upper() if others <= {named[1].upper()} else None
    if not _LETTER_THEN_TEXT.fullmatch(answer):
        return None
    marked = {next(filter(None, groups)).upper() for groups in _MARKED.findall(answer)}
    return marked.pop() if len(marked) == 1 else None


_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[-+\u2212])?\s?[$€£¥]?"
    r"(?P<digits>\d{1,3}(?:[,\u00a0\u202f']\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?P<exponent>[eE][-+]?\d{1,4})?(?:bps|bn|mn|tn|kg|km|cm|mm|pp|[kKmMbBgxt])?"
    r"(?!\w|[.,]\d)\s?(?P<percent>%|percent\b)?"
)
_MAX_NUMBER_CHARS = 2000
_ABSOLUTE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    value: float
    is_percent: bool = False


def numeric(answer: str, gold: str, tolerance: float = 1e-6) -> float:
    """Returns 1.0 if the answer's one number equals the gold number within a relative tolerance.

    Units and up to 12 words around the number do not matter; several different numbers score 0.0.
    If only one of the two is written as a percentage, 12% equals both 12 and 0.12.

    Raises:
        ValueError: the gold answer is not one number.
    """
    wanted = parse_number(gold)
    if wanted is None:
        raise ValueError(f"gold answer is not one number: {gold!r}")
    given = parse_answer_number(answer)
    if given is None:
        return 0.0
    pairs = [(given.value, wanted.value)]
    if given.is_percent and not wanted.is_percent:
        pairs.append((given.value / 100, wanted.value))
    if wanted.is_percent and not given.is_percent:
        pairs.append((given.value, wanted.value / 100))
    return float(
        any(math.isclose(a, b, rel_tol=tolerance, abs_tol=_ABSOLUTE_TOLERANCE) for a, b in pairs)
    )


def parse_answer_number(answer: str) -> Number | None:
    """Returns the one number of an answer, None also where more than a dozen words surround it."""
    if len(answer.split(maxsplit=MAX_EXTRA_WORDS + 1)) > MAX_EXTRA_WORDS + 1:
        return None
    return parse_number(answer)


def parse_number(text: str) -> Number | None:
    """Returns the one number in a text, None where there is none, several, or one too large.

    Thousands separators (1,234), sign, currency, exponent and percent are understood; nothing is
    evaluated.
    """
    numbers = set()
    for match in _NUMBER.finditer(text[:_MAX_NUMBER_CHARS]):
        digits = re.sub(r"[^\d.]", "", match["digits"])
        value = float(digits + (match["exponent"] or ""))
        if match["sign"] in ("-", "\u2212"):
            value = -value
        numbers.add(Number(value, bool(match["percent"])))
    number = numbers.pop() if len(numbers) == 1 else None
    return number if number is not None and math.isfinite(number.value) else None


def sequence_ratio(answer: str, gold: str, max_work: int = MAX_RATIO_WORK) -> float:
    """Returns `difflib.SequenceMatcher(None, answer, gold).ratio()`, the measure of MRCR.

    ratio = 2 M / (len(answer) + len(gold)), M the characters in matching blocks; difflib's
    treatment of frequent characters and the order of the arguments are part of the measure. Its
    worst case is cubic, so the search for blocks stops after `max_work` character comparisons; the
    blocks found until then count, so that a hostile text lowers its own score and nothing else.

    Raises:
        ValueError: the gold answer is empty.
    """
    if not gold:
        raise ValueError("gold answer is empty")
    if answer == gold:
        return 1.0
    matcher = SequenceMatcher(None, answer, gold)
    return 2.0 * _num_matching(matcher, answer, gold, max_work) / (len(answer) + len(gold))


def _num_matching(matcher: SequenceMatcher[str], answer: str, gold: str, max_work: int) -> int:
    """Returns the characters in matching blocks, found as `get_matching_blocks` finds them."""
    positions: dict[str, list[int]] = matcher.b2j  # type: ignore[attr-defined]
    work = [0]
    for character in answer:
        work.append(work[-1] + 1 + len(positions.get(character, ())))
    num_searched = bisect.bisect_right(work, max_work) - 1
    queue = [(0, num_searched, 0, len(gold))]
    num_matching = 0
    while queue:
        alo, ahi, blo, bhi = queue.pop()
        max_work -= work[ahi] - work[alo]
        if max_work < 0:
            break
        i, j, size = matcher.find_longest_match(alo, ahi, blo, bhi)
        if size:
            num_matching += size
            if alo < i and blo < j:
                queue.append((alo, i, blo, j))
            if i + size < ahi and j + size < bhi:
                queue.append((i + size, ahi, j + size, bhi))
    return num_matching
