"""What the authors' released code gives a completion: bug-compatible, for published numbers only.

Every function takes the raw completion, the gold answers and the record's metadata and returns what
the released code would have put into its average: a value, or None where that code leaves the item
out of the average. Nothing here is repaired; the repaired rule is the scorer's strict one
(`scoring.metrics`). Sources: QwenLong-L1 evaluation (Qwen-Doc, commit 12489b0), LongBench
(2e00731), CorpusQA (f5b5764), LongMemEval (9e0b455), RULER, the data set card of openai/mrcr.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longspan.harness.scoring.similarity import sequence_ratio

Metadata = Mapping[str, Any]
CompatRule = Callable[[str, Sequence[str], Metadata], "Compat"]

LEFT_OUT = "the released code leaves an empty output out of its average"
ASK_JUDGE = "the released code asks a judge; give its reply as judge_reply"
MRCR_PREFIX = "random_string_to_prepend"
JUDGE_REPLY = "judge_reply"
REFERENCE_RULE = "reference_rule"

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SPECIAL_TOKENS = ("<｜Assistant｜>", "<｜end▁of▁sentence｜>")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Compat:
    """What the released code makes of a completion."""

    value: float | None
    """In [0, 1]; None where the item does not enter the average."""
    answer: str | None
    """The answer that it compared."""
    note: str | None = None
    """Why there is no value."""
    shown: str | None = None
    """What a judge is shown where that is not the answer."""

    @property
    def asked(self) -> str | None:
        """What the released code shows a judge: "None" where it found no answer."""
        if self.note == LEFT_OUT:
            return None
        return self.shown if self.shown is not None else str(self.answer)


def qwenlong_cover(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """QwenLong-L1's `judge_sub_em`: the first gold stands in the answer *or the reverse*.

    Substrings of characters after lower-casing and without ASCII punctuation and articles, so an
    answer that normalises to nothing matches every gold.
    """
    if completion == "":
        return Compat(None, None, LEFT_OUT)
    answer = qwenlong_answer(completion)
    if not answer:
        return Compat(0.0, answer)
    given, gold = squad_normal(answer), squad_normal(targets[0])
    return Compat(float(gold in given or given in gold), answer)


def qwenlong_answer(completion: str) -> str | None:
    """Returns the answer as QwenLong-L1 takes it: after the last "the answer is", None without one.

    After the last `</think>` where something follows it, else in the whole response. Case counts,
    asterisks are removed, and nothing ends at a line.
    """
    _, phrase, answer = visible_response(completion).replace("*", "").rpartition("the answer is")
    if not phrase:
        return None
    answer = answer.strip()
    for token in _SPECIAL_TOKENS:
        answer = answer.replace(token, "")
    return answer.strip().strip(".").strip()


def visible_response(completion: str) -> str:
    """Returns the response after the last `</think>`; the whole one if nothing follows it."""
    response = completion.strip()
    _, thought, rest = response.rpartition("</think>")
    return rest.strip() if thought and rest.strip() else response


def exact_match(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """SQuAD's and HotpotQA's exact match: the whole output is a gold answer after normalisation."""
    given = squad_normal(completion)
    return Compat(float(any(given == squad_normal(gold) for gold in targets)), completion)


def longbench_f1(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """LongBench's `qa_f1_score`: token F1 of the whole output, thinking included; the best gold."""
    given = squad_normal(completion).split()
    return Compat(max(_overlap(given, squad_normal(gold).split()) for gold in targets), completion)


def longbench_v2(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """LongBench-V2: the first "The correct answer is (X)", else "The correct answer is X".

    Case counts; "The correct answer is Austria" is A.
    """
    if completion == "":
        return Compat(None, None, LEFT_OUT)
    text = completion.replace("*", "")
    found = re.search(r"The correct answer is \(([A-D])\)", text) or re.search(
        r"The correct answer is ([A-D])", text
    )
    answer = found[1] if found else None
    return Compat(float(answer == targets[0]), answer)


def mrcr(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """MRCR: 0 unless the output starts with the prefix, else the ratio of what follows it.

    `SequenceMatcher(None, response, answer)` with difflib's treatment of frequent characters.
    """
    prefix = str(metadata[MRCR_PREFIX])
    if not completion.startswith(prefix):
        return Compat(0.0, completion)
    given, gold = completion.removeprefix(prefix), targets[0].removeprefix(prefix)
    return Compat(_ratio(given, gold), completion)


def plain_ratio(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """`SequenceMatcher(None, output, gold).ratio()` of the whole output."""
    return Compat(_ratio(completion, targets[0]), completion)


def ruler(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """RULER: the share of references that are substrings of the output, in any case.

    With `reference_rule` "part" (question answering), whether any of them is. The released code
    knows no third rule.
    """
    text = re.sub(r"[\x00-\x1f]", "\n", completion.strip()).strip().lower()
    found = [reference.lower() in text for reference in targets]
    if metadata.get(REFERENCE_RULE) == "part":
        return Compat(float(any(found)), completion)
    return Compat(sum(found) / len(found), completion)


def corpusqa(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """CorpusQA: a judge compares what follows the first "The answer is: " in its line.

    Correct where the judge's reply holds `[[YES]]` and not `[[NO]]`.
    """
    found = re.search(r"The answer is: (.*)", completion)
    answer = (found[1] if found else completion).strip()
    reply = metadata.get(JUDGE_REPLY)
    if not isinstance(reply, str):
        return Compat(None, answer, ASK_JUDGE)
    return Compat(float(corpusqa_verdict(reply)), answer)


def longmemeval(completion: str, targets: Sequence[str], metadata: Metadata) -> Compat:
    """LongMemEval: a judge's reply holds "yes" in any case."""
    reply = metadata.get(JUDGE_REPLY)
    if not isinstance(reply, str):
        return Compat(None, completion, ASK_JUDGE)
    return Compat(float(longmemeval_verdict(reply)), completion)


def judged_value(scorer: str, rule_compat: float | None, reply: str) -> float:
    """Returns what a benchmark's own code would make of a judge's reply (to our prompt).

    QwenLong-L1 takes the better of its rule and the verdict; CorpusQA and LongMemEval have only
    the verdict.
    """
    if scorer == "corpusqa":
        return float(corpusqa_verdict(reply))
    if scorer == "longmemeval":
        return float(longmemeval_verdict(reply))
    return max(rule_compat or 0.0, float(qwenlong_verdict(reply)))


def qwenlong_verdict(reply: str) -> bool:
    """Returns whether YES occurs anywhere, as QwenLong-L1 reads a reply ("[[NO]] ... YES" too)."""
    return "YES" in reply


def corpusqa_verdict(reply: str) -> bool:
    """Returns whether [[YES]] occurs and [[NO]] does not, as CorpusQA reads a reply."""
    return "[[YES]]" in reply and "[[NO]]" not in reply


def longmemeval_verdict(reply: str) -> bool:
    """Returns whether "yes" occurs in any case, as LongMemEval reads a reply ("eyes" too)."""
    return "yes" in reply.lower()


def squad_normal(text: str) -> str:
    """Returns the text lower-cased, without ASCII punctuation and articles, spaces collapsed."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _overlap(given: list[str], gold: list[str]) -> float:
    num_same = sum((Counter(given) & Counter(gold)).values())
    if not num_same:
        return 0.0
    precision, recall = num_same / len(given), num_same / len(gold)
    return 2 * precision * recall / (precision + recall)


def _ratio(given: str, gold: str) -> float:
    """The ratio of difflib; 1 for two empty texts, as there."""
    return sequence_ratio(given, gold) if gold else float(not given)
