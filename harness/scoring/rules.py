"""The scoring rules by name: what each takes as the answer, compares it with, and needs to know.

A rule has two forms. *Strict* (the default) extracts the final answer, bounds its length and
compares it soundly. *Compat* repeats the authors' released code with its defects, for comparison
with published numbers. `docs/scorers.md` is generated from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from longspan.harness.scoring import compat
from longspan.harness.scoring.compat import JUDGE_REPLY, MRCR_PREFIX, REFERENCE_RULE, Metadata
from longspan.harness.scoring.docmath import compat_docmath, docmath
from longspan.harness.scoring.judge_prompts import form_of
from longspan.harness.scoring.letters import letter
from longspan.harness.scoring.lists import structured_match
from longspan.harness.scoring.metrics import (
    cover_exact_match,
    exact_match,
    found_share,
    token_f1,
)
from longspan.harness.scoring.numbers import numeric
from longspan.harness.scoring.similarity import MAX_RATIO_WORK, sequence_ratio

MAX_ANSWER_CHARS = 10_000
"""Longest final answer, beyond the gold answers' own length, that is read in words."""

StrictRule = Callable[..., float]
"""(answer, gold answers, metadata, **options) -> fraction; ValueError where the gold is bad."""
AnswerForm = Literal["final", "final_list", "final_or_whole", "whole"]


@dataclass(frozen=True)
class Rule:
    """One scoring rule."""

    measures: str
    """What it measures, in a line."""
    strict: StrictRule
    """The sane form."""
    compat: compat.CompatRule | None
    """The authors' form; None where no released code exists."""
    authors: str = ""
    """Whose code `compat` repeats."""
    changes: str = ""
    """What strict changes."""
    answer: AnswerForm = "final"
    """What strict compares: the final answer after the phrase (which may be a list over lines), the
    whole output, or the former and else the latter."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Metadata without which a sample cannot be scored -> what it is."""
    uses: Mapping[str, str] = field(default_factory=dict)
    """Metadata that it takes into account where it is there -> what it is."""
    options: tuple[str, ...] = ()
    """Keyword options of the strict form."""
    enumeration: str = "0"
    """What an answer that lists every candidate earns, strict; a text where it is not 0."""
    echo: str = "0"
    """What repeating the question earns, strict; a text where it is not 0."""
    is_slow: bool = False
    """Whether it may take more than milliseconds: such rules run off the event loop."""
    judge: Literal["no", "may", "should"] = "no"
    """Whether a run's judge is asked where the rule does not find the gold answer; `should`: the
    benchmark's own code asks a judge, so without one figures are not comparable."""
    only_judge: Callable[[Metadata], bool] = lambda metadata: False  # noqa: E731
    """Whether a sample's gold answer is nothing that the rule could find."""


def _best(measure: Callable[..., float]) -> StrictRule:
    """Returns the rule that compares with every gold answer and takes the best."""

    def strict(answer: str, targets: Sequence[str], metadata: Metadata, **options: Any) -> float:
        answer = _bounded(answer, targets)
        return max(float(measure(answer, gold, **options)) for gold in targets)

    return strict


def _bounded(answer: str, targets: Sequence[str]) -> str:
    """Returns the answer, or nothing for one that is far longer than any gold answer.

    Such an answer is a list of guesses, worth 0 to every rule that reads it in words; it must not
    cost seconds.
    """
    limit = MAX_ANSWER_CHARS + 2 * max(map(len, targets))
    return answer if len(answer) <= limit else ""


def _ruler(answer: str, targets: Sequence[str], metadata: Metadata, **options: Any) -> float:
    rule = metadata.get(REFERENCE_RULE) or "all"
    if rule not in ("all", "part"):
        raise ValueError(f"{REFERENCE_RULE} must be all or part: got {rule!r}")
    # The numbers of a list may stand without spaces: "1234567,2345678", "12/34"; "1,000" is one.
    answer = _bounded(answer, ["".join(targets)])
    apart = re.sub(r"[,;/]", " ", answer)
    if rule == "part":
        return max(
            cover_exact_match(one, gold, **options) for one in (answer, apart) for gold in targets
        )
    return max(found_share(one, targets, **options) for one in (answer, apart))


def _ratio(answer: str, targets: Sequence[str], metadata: Metadata) -> float:
    work = MAX_RATIO_WORK // len(targets)
    return max(sequence_ratio(answer, gold, work) for gold in targets)


def _mrcr(answer: str, targets: Sequence[str], metadata: Metadata) -> float:
    prefix, gold = str(metadata[MRCR_PREFIX]).strip(), targets[0].strip()
    if not gold.startswith(prefix):
        raise ValueError(f"gold answer does not start with its prefix {prefix!r}")
    if not answer.startswith(prefix):
        return 0.0
    return sequence_ratio(answer.removeprefix(prefix), gold.removeprefix(prefix))


def _longmemeval(answer: str, targets: Sequence[str], metadata: Metadata, **options: Any) -> float:
    kind = metadata.get("question_type")
    if kind is not None:
        form_of(
            str(kind), is_abstention(metadata)
        )  # unknown: a defect of the record, whatever is said
    return _best(cover_exact_match)(answer, targets, metadata, **options)


def is_abstention(metadata: Metadata) -> bool:
    """Returns whether a question of LongMemEval cannot be answered (its id holds `_abs`)."""
    declared = metadata.get("is_abstention")
    return bool(declared) if declared is not None else "_abs" in str(metadata.get("question_id"))


def _has_no_plain_gold(metadata: Metadata) -> bool:
    return metadata.get("question_type") == "single-session-preference" or is_abstention(metadata)


_REPLY = "a judge's reply, which the authors' form reads"

RULES: dict[str, Rule] = {
    "cover_exact_match": Rule(
        measures="the gold answer stands in the final answer",
        strict=_best(cover_exact_match),
        compat=compat.qwenlong_cover,
        authors="QwenLong-L1 (sub_em)",
        changes="one direction, whole words, every gold, at most 12 words more; yes/no as verdict",
        options=("max_extra_words",),
        enumeration="up to 1 within 12 extra words",
        echo="1 where the question holds the gold within 12 words",
        judge="may",
    ),
    "exact_match": Rule(
        measures="the final answer is a gold answer after normalisation",
        strict=_best(exact_match),
        compat=compat.exact_match,
        authors="SQuAD, HotpotQA",
        changes="final answer instead of the whole output; signs, decimals, C++; all scripts",
    ),
    "token_f1": Rule(
        measures="F1 of the words of final answer and gold answer",
        strict=_best(token_f1),
        compat=compat.longbench_f1,
        authors="LongBench (qa_f1_score)",
        changes="final answer instead of the whole output; yes/no golds want themselves",
        enumeration="a fraction: precision falls with every candidate",
        echo="a fraction: shared words count",
    ),
    "letter": Rule(
        measures="the final answer names the gold option and no other",
        strict=_best(letter),
        compat=compat.longbench_v2,
        authors="LongBench-V2",
        changes='any case and mark, last statement; "The correct answer is Austria" is not A',
    ),
    "numeric": Rule(
        measures="the final answer's one number is the gold number",
        strict=_best(numeric),
        compat=None,
        options=("tolerance",),
        echo="1 where the question holds the gold and no other number within 12 words",
    ),
    "docmath": Rule(
        measures="the final answer's one number is the gold number up to 0.15%",
        strict=_best(docmath),
        compat=compat_docmath,
        authors="QwenLong-L1 (docmath), after DocMath-Eval",
        judge="may",
        changes="no powers of ten, opposite signs or hidden scales; last statement, not first",
        echo="1 where the question holds the gold and no other number within 12 words",
    ),
    "sequence_ratio": Rule(
        measures="difflib's ratio of output and gold text",
        strict=_ratio,
        compat=compat.plain_ratio,
        authors="difflib",
        changes="without thinking; only the final answer where the phrase is said",
        answer="final_or_whole",
        enumeration="a fraction: similarity",
        echo="a fraction: similarity",
        is_slow=True,
    ),
    "mrcr": Rule(
        measures="difflib's ratio of output and gold text after the required prefix",
        strict=_mrcr,
        compat=compat.mrcr,
        authors="openai/mrcr (data set card)",
        changes="without thinking and outer white space",
        answer="whole",
        needs={MRCR_PREFIX: "the characters that the output must start with"},
        enumeration="a fraction after the prefix: similarity",
        echo="0: the question does not start with the prefix",
        is_slow=True,
    ),
    "ruler": Rule(
        measures="share of the references in the final answer; any of them for QA tasks",
        strict=_ruler,
        compat=compat.ruler,
        answer="final_list",
        authors="RULER (string_match_all, string_match_part)",
        changes="final answer (lines too) instead of the whole output, whole words, bounded length",
        uses={REFERENCE_RULE: 'how many references are asked for: "all" (the default) or "part"'},
        options=("max_extra_words",),
        enumeration="up to 1 within 12 extra words",
        echo="as far as the question holds references within 12 words",
    ),
    "corpusqa": Rule(
        measures="the final answer holds the gold's items, number or text",
        strict=_best(structured_match),
        compat=compat.corpusqa,
        answer="final_list",
        authors="CorpusQA (judge)",
        changes="a rule first (lists in any order, over lines too), then the judge",
        uses={JUDGE_REPLY: _REPLY},
        judge="should",
        echo="1 where the gold is a number and the question holds no other within 12 words",
    ),
    "longmemeval": Rule(
        measures="the response says the gold answer, as one of five judge rules sees it",
        strict=_longmemeval,
        compat=compat.longmemeval,
        authors="LongMemEval (judge)",
        changes="a rule first; a nonce and a well-formed verdict instead of any yes",
        answer="final_or_whole",
        uses={
            JUDGE_REPLY: _REPLY,
            "question_type": "the kind of question, which names the judge's rule",
            "is_abstention": "whether the question cannot be answered",
            "question_id": "holds _abs where the question cannot be answered",
        },
        only_judge=_has_no_plain_gold,
        options=("max_extra_words",),
        enumeration="up to 1 within 12 extra words",
        echo="1 where the question holds the gold within 12 words",
        judge="should",
    ),
}
"""Name of a scorer -> its rule."""
