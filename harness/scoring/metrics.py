"""How right a text is: pure functions from an answer and a gold answer to a fraction in [0, 1].

They take an answer that was already extracted (`scoring.answers`) and never fail on one; a gold
answer that cannot be compared is a defect of the data and raises ValueError. Several gold answers
are alternatives: the best one counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from longspan.harness.scoring.normal import normal_forms, num_words
from longspan.harness.scoring.numbers import MAX_EXTRA_WORDS

_OPPOSITE = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_BEFORE_A_VERDICT = re.compile(
    r"(?:(?:it|this|that|the|statement|claim|is|was|would|be|so|therefore|thus|answer|most|likely|"
    r"probably|clearly|definitely)\b\s*)+",
    re.IGNORECASE,
)
_AFTER_A_VERDICT = (
    r"\s*(?:$|[.,;:!()\"'\u2013\u2014\u201d\u2019-]|(?:because|since|as|it|they|he|she|this|that|these|those|both|"
    r"neither|the)\b)"
)
_NEGATED = re.compile(
    r" (?:not|never|isnt|wasnt|arent|neither|nor|no longer|rather than|instead of|anything but"
    r"|other than|except)(?: (?:in|at|by|of|to|a|an|the|actually|really))? $"
    r"| (?:\u4e0d \u662f|\u975e) $"
)
"""What before a text says that it is not the answer (words of a normal form)."""
_CONCLUSION = r"\b(?:so|therefore|thus|hence)\s+{}[\s.!]*$"


def cover_exact_match(answer: str, gold: str, max_extra_words: int = MAX_EXTRA_WORDS) -> float:
    """Returns 1.0 if the gold answer stands in the answer as whole words, else 0.0 (cover EM).

    Paper, section 5.1: "ground truth is contained within the model output", after normalisation.
    The released code also accepts the reverse and matches inside words ("no" in "unknown"); this is
    the strict, one-direction form. An answer with more than `max_extra_words` words beyond the gold
    answer's scores 0.0: otherwise listing every candidate would win. "not Paris" does not cover
    Paris, and a gold yes, no, true or false must be the answer's verdict, not any of its words.

    Raises:
        ValueError: the gold answer is blank.
    """
    golds, answers = _forms(gold), normal_forms(answer)
    if golds is None:
        return _same_characters(answer, gold)
    if num_words(answers[0]) > num_words(golds[0]) + max_extra_words:
        return 0.0
    if golds[0] in _OPPOSITE:
        return float(answers[0] == golds[0] or is_verdict(answer, golds[0]))
    return float(any(map(_covers, answers, golds)))


def exact_match(answer: str, gold: str) -> float:
    """Returns 1.0 if answer and gold answer are the same after normalisation, else 0.0.

    Raises:
        ValueError: the gold answer is blank.
    """
    golds = _forms(gold)
    if golds is None:
        return _same_characters(answer, gold)
    return float(any(one == other for one, other in zip(normal_forms(answer), golds, strict=True)))


def token_f1(answer: str, gold: str) -> float:
    """Returns the F1 of the words that answer and gold answer share (SQuAD, HotpotQA).

    precision = shared / words of the answer, recall = shared / words of the gold; both count
    repetitions. A yes-or-no gold wants exactly itself (HotpotQA).

    Raises:
        ValueError: the gold answer is blank.
    """
    golds = _forms(gold)
    exact = exact_match(answer, gold)
    if exact or golds is None or golds[0] in _OPPOSITE:
        return exact
    return max(map(_overlap, normal_forms(answer)[:2], golds[:2]))


def found_share(answer: str, golds: Sequence[str], max_extra_words: int = MAX_EXTRA_WORDS) -> float:
    """Returns the share of the references that stand in the answer as whole words (RULER).

    All of them are asked for. An answer with more than `max_extra_words` words beyond theirs scores
    0.0: otherwise repeating the text would win.

    Raises:
        ValueError: there is no reference, or one is blank.
    """
    wanted = [normal_forms(gold) for gold in golds]
    if not wanted or not all(forms[0] for forms in wanted):
        raise ValueError("a reference is blank")
    given = normal_forms(answer)
    if num_words(given[0]) > sum(num_words(forms[0]) for forms in wanted) + max_extra_words:
        return 0.0
    return sum(any(map(_covers, given, forms)) for forms in wanted) / len(wanted)


def _forms(gold: str) -> tuple[str, str, str, str] | None:
    """Returns the forms of a gold answer, None where it has only marks ("%")."""
    if not gold.strip():
        raise ValueError("gold answer is blank")
    forms = normal_forms(gold)
    return forms if forms[0] else None


def _same_characters(answer: str, gold: str) -> float:
    return float(gold.strip().casefold() == answer.strip().casefold())


def _covers(answer: str, gold: str) -> bool:
    """Returns whether words stand in an answer, at least once without a "not" before them."""
    padded, wanted = f" {answer} ", f" {gold} "
    start = padded.find(wanted)
    while start >= 0:
        if not _NEGATED.search(padded[max(0, start - 40) : start] + " "):
            return True
        start = padded.find(wanted, start + 1)
    return False


def is_verdict(answer: str, gold: str) -> bool:
    """Returns whether an answer says yes, no, true or false, and not its opposite as well.

    The verdict stands first ("No, it was"), perhaps after "it is", or ends it ("..., so no").
    """
    text = answer.strip()
    before = _BEFORE_A_VERDICT.match(text)
    said = text[before.end() :] if before else text
    first = re.match(rf"\W*{gold}\b(?!\.\s*\d){_AFTER_A_VERDICT}", said, re.IGNORECASE)
    opposite = _OPPOSITE[gold]
    if first is None:
        return re.search(_CONCLUSION.format(gold), text, re.IGNORECASE) is not None
    other = rf"(?:\bor\b|\band\b|\bbut\b|[/,;.])\s*{opposite}\b{_AFTER_A_VERDICT}"
    both = re.search(other, said[len(gold) :], re.IGNORECASE)
    return both is None and not re.search(_CONCLUSION.format(opposite), text, re.IGNORECASE)


def _overlap(answer: str, gold: str) -> float:
    given, wanted = answer.split(), gold.split()
    num_shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * num_shared / (len(given) + len(wanted))
