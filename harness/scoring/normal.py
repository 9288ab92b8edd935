r"""Normal forms of short texts: what must not decide whether two answers are the same.

SQuAD's rule (lower case, no punctuation, no articles) deletes marks, which glues "Paris/Lyon"
together and makes -5 and 5, 1.5 and 15, C and C++ equal. Here a mark between words is a space in
one form and nothing in another; signs, decimal points, ranges and dates stay. Scripts without
spaces between words are spelled in characters. This module compares nothing.
"""

from __future__ import annotations

import functools
import re
import string
import unicodedata

_WRAPPER = re.compile(
    r"\\(?:boxed|fbox|text|textbf|textit|textrm|texttt|mathrm|mathbf|mathit|emph)\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_MAX_NESTING = 4
_LATEX_MARKS = re.compile(r"\\[()\[\]]")
_LATEX_SPACES = re.compile(r"(?<=\d)\\,(?=\d{3})|\\[,;:! ]|\\quad\b")
_LATEX_ESCAPED = re.compile(r"\\([%$&#_{}])")
_TOKENS = re.compile(
    r"<\|[\w▁]{1,40}\|>|<｜[\w▁]{1,40}｜>"  # noqa: RUF001
    r"|</?(?:s|answer|final_answer|eos|bos|pad|end_of_turn|start_of_turn)>",
    re.IGNORECASE,
)
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")

_APOSTROPHES = re.compile("['’ʼ`]")  # noqa: RUF001
_INITIAL = re.compile(r"\b([^\W\d_])\.(?:(?=[^\W\d_]\b)|\s(?=[^\W\d_]\.))")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGN_WORD = re.compile(r"\b(?:minus|negative)\s+(?=[$€£¥]?\d)")
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_BARE_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_KEPT = (
    (re.compile(r"(?<=\d)\.(?=\d)"), "\ue000"),
    (re.compile(r"(?<![\w)])[-\u2212\u2013](?=[$€£¥]?\d)"), "\ue001"),
    (re.compile(r"(?<=\d)[-\u2010-\u2015\u2212](?=\d)"), "\ue002"),
    (re.compile(r"(?<=\d)/(?=\d)"), "\ue003"),
    (re.compile(r"(?<=\d):(?=\d)"), "\ue004"),
    (re.compile(r"(?<=\w)\+(?=\+?(?!\w))|(?<=\w\+)\+(?!\w)"), "\ue005"),
    (re.compile(r"(?<=\w)#(?!\w)"), "\ue006"),
)
"""Decimal point, minus, range or date, fraction or date, time, C++, C#: parts of their word, as
private characters, which are no punctuation."""
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b(?=\s+\S)")
_TO_NOTHING = str.maketrans("", "", string.punctuation)
_TO_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))


def plain(text: str) -> str:
    r"""Returns a text without LaTeX wrappers, special tokens and invisible characters.

    `\boxed{\text{Paris}}`, `\(42\)`, `$x$`, `12.5\%`, `<answer>Paris</answer>`, `Paris<|im_end|>`.
    """
    text = INVISIBLE.sub("", text)
    if "<" in text:
        text = _TOKENS.sub("", text)
    text = text.replace("{,}", ",")
    if "\\" in text:
        for _ in range(_MAX_NESTING):
            text = _FRACTION.sub(r"\1/\2", _WRAPPER.sub(r"\1", text))
        text = _LATEX_SPACES.sub(" ", _LATEX_MARKS.sub("", text))
        text = _LATEX_ESCAPED.sub(r"\1", text.replace("\\times", "×").replace("\\cdot", "×"))
    return _without_dollars(text)


def _without_dollars(text: str) -> str:
    """Returns the mathematics of `$x$` or `$$x$$`, and other texts as they are."""
    inner = text.strip()
    mark = inner[-1:] if inner[-1:] in (".", ",", ";") else ""
    inner = inner.removesuffix(mark) if mark else inner
    if not (inner.startswith("$") and inner.endswith("$")):
        return text
    bare = inner.strip("$")
    return bare + mark if bare and "$" not in bare else text


def spell_cjk(text: str) -> str:
    """Returns a text with spaces around every character of a script that has none between words."""
    return text if text.isascii() else _CJK.sub(r" \g<0> ", text)


def num_words(text: str) -> float:
    """Returns the number of words of a normal form; a Chinese character is half a word."""
    words = text.split()
    if text.isascii():
        return len(words)
    return sum(0.5 if _CJK.fullmatch(word) else 1.0 for word in words)


def normalise(text: str) -> str:
    """Returns the first of a text's normal forms: marks as spaces, articles left out."""
    return _without_articles(_marks(_prepare(text), as_space=True))


@functools.lru_cache(maxsize=512)
def normal_forms(text: str) -> tuple[str, str, str, str]:
    """Returns a text's normal forms: marks as spaces or as nothing, without articles and with.

    Two texts are the same if they agree in any form of the same kind: "Jean-Paul" is "Jean Paul"
    and "JeanPaul", "College A" is not "College". An article is one only before another word.
    """
    prepared = _prepare(text)
    spaced, glued = _marks(prepared, as_space=True), _marks(prepared, as_space=False)
    return _without_articles(spaced), _without_articles(glued), spaced, glued


def _prepare(text: str) -> str:
    text = unicodedata.normalize("NFKC", plain(text)).casefold()
    text = _INITIAL.sub(r"\1", _APOSTROPHES.sub("", text))
    text = text.replace(" & ", " and ").replace("\u2044", "/")
    if any(map(str.isdecimal, text)) or "+" in text or "#" in text:
        text = _SIGN_WORD.sub("-", text)
        text = _COMMA.sub(" ", _BARE_POINT.sub("0.", _THOUSANDS.sub("", text)))
        for mark, kept in _KEPT:
            text = mark.sub(kept, text)
    return spell_cjk(text)


def _marks(text: str, as_space: bool) -> str:
    if text.isascii():
        kept = text.translate(_TO_SPACE if as_space else _TO_NOTHING)
    else:
        mark = " " if as_space else ""
        kept = "".join(mark if unicodedata.category(c)[0] in "PS" else c for c in text)
    return " ".join(kept.split())


def _without_articles(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text).split())
