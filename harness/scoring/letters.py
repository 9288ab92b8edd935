"""The option letter that an answer to a multiple-choice question names."""

from __future__ import annotations

import re
import unicodedata

from longspan.harness.scoring.normal import plain

_MAX_CHARS = 2000
_MAX_WORDS = 60
_NAMED = r"(?:the\s+)?(?:option|choice|answer|letter|选项|答案)\s*[:.]?\s*"
_HEAD = re.compile(
    rf"[^\w(\[{{]{{0,3}}(?P<word>{_NAMED})?(?P<open>[(\[{{]\s*(?:{_NAMED})?)?"
    r"(?P<letter>[A-Za-z])(?![A-Za-z0-9'\u2019\u00c0-\u024f])(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)
_END = re.compile(r"\s*[)\]}]?[\s.,:;!?]*")
_BREAK = re.compile(
    r"\s*(?P<mark>[)\]}.:])|\s*(?:,|\s[-\u2013\u2014]\s|\(|\s(?:because|since|as|is)\b)",
    re.IGNORECASE,
)
"""What stands between a letter and the option's text or a reason."""
_NEXT = re.compile(
    r"[\s).:\]}]*(?:,|;|/|&|\||-|\bor\b|\band\b)?[\s(\[]*([A-Z])(?=[)\]\s.!?]*(?:$|[,;/&|]|or\b|and\b))"
)
"""Another letter right behind the first one, of a list."""
_OTHERS = re.compile(
    r"(?P<before>\w+\s+)?(?:[(\[](?P<bracketed>[A-Za-z])[)\]]"
    r"|\b(?:option|choice)\s+(?P<named>[A-Za-z])\b"
    r"|(?:[,;|/\n]|\b(?:or|and)\b)\s*(?P<listed>[A-Z])[).:]\s"
    r"|\b(?P<said>[A-Z])(?:\s[-\u2013\u2014]\s|\s(?:is|because)\b))"
)
_AFTER_MARK = re.compile(r"\s([A-H])[).:]\s")
_LAST = re.compile(r"(?:\bor|\band|[,;/])\s*([A-Z])[ .]*$")
_NOT = frozenset({"not", "than", "unlike"})
_REASON = re.compile(r"\b(?:because|since|as)\b", re.IGNORECASE)
_WRONG = re.compile(r"\b(?:wrong|incorrect|false|fails?|refuted|ruled\s+out)\b", re.IGNORECASE)
_NOT_WRONG = re.compile(
    r"\b(?:not|none|neither|nor|never)\b|n['\u2019]t\b|\b(?:because|since|as)\b", re.IGNORECASE
)
"""What may turn a refutation round, or begin a second reason of a list: it excuses nothing then."""


def letter(answer: str, gold: str) -> float:
    """Returns 1.0 if the answer names exactly the gold option, else 0.0.

    Accepted: "B", "(B)", "b) Paris", "option B", "(B) Paris", "B - Paris", "B because ...", "B, not
    A". An answer that offers another option too ("A, B, C, D", "(A) or (B)") scores 0.0; a reason
    ("B because A and C are wrong") does not offer those that it refutes.

    Raises:
        ValueError: the gold answer is no option letter.
    """
    wanted = parse_letter(gold)
    if wanted is None:
        raise ValueError(f"gold answer is not one option letter: {gold!r}")
    return float(parse_letter(answer) == wanted)


def parse_letter(answer: str) -> str | None:
    """Returns the one option letter that an answer names (upper case), None for none or several."""
    text = unicodedata.normalize("NFKC", answer.strip()[:_MAX_CHARS])
    text = plain(re.sub("[*`]", "", text).replace("。", ".").replace("、", ",")).strip()
    head = _HEAD.fullmatch(text)
    if head is None:
        return None
    named, rest = head["letter"].upper(), head["rest"]
    if _END.fullmatch(rest):
        return named
    broken = _BREAK.match(rest)
    is_marked = bool(head["word"] or head["open"] or (broken and broken["mark"]))
    if broken is None and not (head["word"] or head["open"]):
        return None
    if not is_marked and (head["letter"].islower() or len(rest.split()) > _MAX_WORDS):
        return None  # "a because": an article; "A, x, y, z, ...": a list
    offered, reason, why = _split_reason(rest)
    others = _offers(offered)
    if not (reason and _WRONG.search(why) and not _NOT_WRONG.search(why)):
        others |= _offers(reason + why)
        offered = rest
    if head["open"] is None:
        others.update(_AFTER_MARK.findall(offered) if is_marked else _LAST.findall(offered))
    return named if others <= {named} else None


def _split_reason(rest: str) -> tuple[str, str, str]:
    """Returns what stands before a reason, the word that begins it, and the reason itself.

    Only a reason may say that other options are wrong; in a list of options it excuses none.
    """
    word = _REASON.search(rest)
    if word is None:
        return rest, "", ""
    return rest[: word.start()], word[0], rest[word.end() :]


def _offers(rest: str) -> set[str]:
    """Returns the other letters that what follows the first one offers."""
    following = _NEXT.match(rest)
    found = {following[1]} if following else set()
    for other in _OTHERS.finditer(rest):
        if (other["before"] or "").strip().lower() not in _NOT:
            said = (other[name] for name in ("bracketed", "named", "listed", "said"))
            found.update(one.upper() for one in said if one)
    return found
