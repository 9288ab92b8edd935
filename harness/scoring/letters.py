"""The option letter that an answer to a multiple-choice question names."""

from __future__ import annotations

import re
import unicodedata

from longspan.harness.scoring.normal import plain

_BARE_LETTER = re.compile(r"(?:option|choice|answer)?\s*\(?\s*([a-z])\s*\)?\s*[.:]?", re.IGNORECASE)
_NAMED_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:option|choice)\s+)?[(\[]([A-Za-z])[)\]]\s*[:.,-]?\s*(\S.*)?", re.DOTALL
)
_LETTER_THEN_TEXT = re.compile(r"(?:\(([A-Za-z])\)|([A-Z])[).:])\s+\S.*", re.DOTALL)
_LETTER_SAID = re.compile(
    r"(?:the\s+)?(?:(?:option|choice|answer)\s+([A-Za-z])\b\s*(?:[,:.-]|is\b|because\b|since\b)"
    r"|([A-Z])(?:\s[-\u2013\u2014]\s|,?\s(?:because|since|as)\b|\sis\s(?:the\s)?(?:correct|right)))"
    r"(.*)",
    re.DOTALL | re.IGNORECASE,
)
_MARKED = re.compile(
    r"\(([A-Za-z])\)|\b([A-Z])[).:](?=\s)|\b([A-Z])\b(?=\s*(?:,|;|/|&|or\b|and\b))"
)
_LAST = re.compile(r"(?:\bor|\band|[,;/])\s*([A-Z])[ .]*$")
_MAX_CHARS = 2000


def letter(answer: str, gold: str) -> float:
    """Returns 1.0 if the answer names exactly the gold option, else 0.0.

    Accepted: "B", "(B)", "B.", "option B", "(B) Paris", "B. Paris", "B - Paris", "B because
    ...". An answer that marks another option too ("A, B, C, D", "(A) or (B)") scores 0.0.

    Raises:
        ValueError: the gold answer is no option letter.
    """
    wanted = parse_letter(gold)
    if wanted is None:
        raise ValueError(f"gold answer is not one option letter: {gold!r}")
    return float(parse_letter(answer) == wanted)


def parse_letter(answer: str) -> str | None:
    """Returns the one option letter that an answer names (upper case), None for none or several."""
    text = unicodedata.normalize("NFKC", answer.strip()[:_MAX_CHARS]).replace("*", "")
    answer = plain(text).strip()
    bare = _BARE_LETTER.fullmatch(answer)
    if bare:
        return bare.group(1).upper()
    said = _LETTER_SAID.fullmatch(answer)
    if said and (said[1] or said[2].isupper()):
        return (
            None
            if _MARKED.search(said[3]) or _LAST.search(said[3])
            else (said[1] or said[2]).upper()
        )
    named = _NAMED_LETTER.fullmatch(answer)
    if named:
        # Capitals within the option's text ("J. R. R. Tolkien") are no options.
        others = {one.upper() for one in re.findall(r"\(([A-Za-z])\)", named[2] or "")}
        others |= set(_LAST.findall(named[2] or ""))
        return named[1].upper() if others <= {named[1].upper()} else None
    if not _LETTER_THEN_TEXT.fullmatch(answer):
        return None
    marked = {next(filter(None, groups)).upper() for groups in _MARKED.findall(answer)}
    return marked.pop() if len(marked) == 1 else None
