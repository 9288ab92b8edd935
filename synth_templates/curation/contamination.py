"""Which questions stand in a benchmark, and what is decided about each match.

A question is compared with the benchmark's questions as the field does (13 words in a row; GPT-3,
arXiv 2005.14165, appendix C) and, since most questions are shorter, by their sets of word 3-grams:
Jaccard similarity, or the share of the shorter one that stands in the other. Templates make
questions alike that ask about different things, so names and answers decide what is near:

    the same words, or 13 in a row                      dropped
    similarity >= 0.8, names not different              dropped
    similarity >= 0.5, names not different, same answer dropped
    the same names and the same answer                  dropped: it may be a paraphrase
    similarity >= 0.5, else                             kept, and reported

Names are different when each side has one that the other lacks. Paraphrases with other names, and
translations, are not found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longspan.harness.taskset import SampleRow, answers_of
from longspan.synth_templates.curation.benchmark_questions import Benchmark, BenchmarkQuestion
from longspan.synth_templates.curation.ngrams import names, ngrams, words
from longspan.synth_templates.questions import core_question

RUN_WORDS = 13
"""Words in a row that are no coincidence."""
MIN_RUN_GRAMS = RUN_WORDS - 2
"""3-grams in such a run."""
STRONG, WEAK = 0.8, 0.5
"""Similarities from which wordings are the same, and are alike."""
MIN_CONTAINED = 5
"""3-grams of a question at least, for its share in another one to count."""
MAX_MATCHES = 3
"""Matches that are reported of one question: the dropped and most similar ones."""


@dataclass(frozen=True, slots=True)
class Match:
    """A question of ours beside one of a benchmark.

    Attributes:
        sample: Id of the sample; "" for a draft that became none.
        question: Our question.
        answers: Our gold answers.
        benchmark: Name of the benchmark.
        benchmark_id: Id of the benchmark's question.
        benchmark_question: The benchmark's question.
        benchmark_answers: The benchmark's gold answers.
        similarity: Of the 3-grams, in [0, 1].
        same_answer: Whether a gold answer is the same.
        dropped: What was decided.
        reason: Why.
    """

    sample: str
    question: str
    answers: tuple[str, ...]
    benchmark: str
    benchmark_id: str
    benchmark_question: str
    benchmark_answers: tuple[str, ...]
    similarity: float
    same_answer: bool
    dropped: bool
    reason: str

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Match:
        """Returns the match that `dataclasses.asdict` took apart."""
        lists = {name: tuple(record[name]) for name in ("answers", "benchmark_answers")}
        return cls(**{**record, **lists})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question of a benchmark, taken apart."""

    source: BenchmarkQuestion
    words: tuple[str, ...]
    num_grams: int
    names: frozenset[str]
    answers: frozenset[tuple[str, ...]]


@dataclass
class BenchmarkIndex:
    """The questions of benchmarks by their 3-grams and answers."""

    benchmarks: Sequence[Benchmark]
    _asked: list[_Asked] = field(default_factory=list)
    _by_gram: dict[str, list[int]] = field(default_factory=dict)
    _by_answer: dict[tuple[str, ...], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for benchmark in self.benchmarks:
            for source in benchmark.questions:
                self._add(source)

    def matches(self, question: str, answers: Iterable[str], sample: str = "") -> list[Match]:
        """Returns the benchmark questions that a question resembles, the dropped ones first.

        Args:
            question: Without the options of a choice.
            answers: Its gold answers, in words rather than as a letter.
            sample: Id for the report.
        """
        answers = tuple(answers)
        own = words(question)
        grams = dict.fromkeys(ngrams(own))
        own_names, own_answers = names(question), _answer_keys(answers)
        shared: Counter[int] = Counter()
        for gram in grams:
            shared.update(self._by_gram.get(gram, ()))
        same_answer = {n for key in own_answers for n in self._by_answer.get(key, ())}
        found: list[Match] = []
        for number in sorted(shared.keys() | same_answer):
            other = self._asked[number]
            similarity = _similarity(shared[number], len(grams), other.num_grams)
            is_far = similarity < WEAK and shared[number] < MIN_RUN_GRAMS
            if is_far and number not in same_answer:
                continue
            verdict = _decide(own, own_names, other, similarity, number in same_answer)
            if verdict is not None:
                source = other.source
                same = number in same_answer
                source, score = other.source, round(similarity, 3)
                theirs = (source.benchmark, source.id, source.question, source.answers)
                found.append(Match(sample, question, answers, *theirs, score, same, *verdict))
        found.sort(key=lambda match: (not match.dropped, -match.similarity))
        return found[:MAX_MATCHES]

    def facts(self) -> list[dict[str, Any]]:
        """Returns what a manifest says about the benchmarks."""
        return [benchmark.facts() for benchmark in self.benchmarks]

    def _add(self, source: BenchmarkQuestion) -> None:
        number, tokens = len(self._asked), words(source.question)
        grams = dict.fromkeys(ngrams(tokens))
        answers = _answer_keys(source.answers)
        self._asked.append(_Asked(source, tokens, len(grams), names(source.question), answers))
        for gram in grams:
            self._by_gram.setdefault(gram, []).append(number)
        for key in answers:
            self._by_answer.setdefault(key, []).append(number)


def match_row(index: BenchmarkIndex, row: SampleRow) -> list[Match]:
    """Returns the matches of a sample; a choice is compared without its options."""
    options = row.passport.options if row.passport is not None else ()
    question = core_question(row.question, options) or row.question
    return index.matches(question, answers_of(row), row.id)


def contamination_facts(index: BenchmarkIndex, matches: Sequence[Match]) -> dict[str, Any]:
    """Returns what the manifest says: with what it was compared, how many matches there were."""
    return {
        "against": index.facts(),
        "matches_dropped": sum(match.dropped for match in matches),
        "matches_kept": sum(not match.dropped for match in matches),
    }


def _decide(
    own: tuple[str, ...],
    own_names: frozenset[str],
    other: _Asked,
    similarity: float,
    same_answer: bool,
) -> tuple[bool, str] | None:
    """Returns whether a match is dropped and why, None where there is nothing to report."""
    if own == other.words:
        return True, "the same question"
    if set(ngrams(own, RUN_WORDS)) & set(ngrams(other.words, RUN_WORDS)) and (
        min(len(own), len(other.words)) >= RUN_WORDS
    ):
        return True, f"{RUN_WORDS} words in a row are the same"
    different = bool(own_names - other.names) and bool(other.names - own_names)
    if similarity >= STRONG and not different:
        return True, "the same wording and names"
    if similarity >= WEAK and not different and same_answer:
        return True, "a similar wording, the same answer"
    if same_answer and own_names and own_names == other.names:
        return True, "the same names and the same answer, other wording"
    if similarity >= WEAK:
        return False, f"a similar wording, {'other names' if different else 'another answer'}"
    return None


def _similarity(shared: int, first: int, second: int) -> float:
    """Returns the larger of Jaccard similarity and, for long enough texts, containment."""
    smaller = min(first, second)
    if not shared or not smaller:
        return 0.0
    contained = shared / smaller if smaller >= MIN_CONTAINED else 0.0
    return max(shared / (first + second - shared), contained)


def _answer_keys(answers: Iterable[str]) -> frozenset[tuple[str, ...]]:
    keys = (tuple(w for w in words(answer) if w not in ("a", "an", "the")) for answer in answers)
    return frozenset(key for key in keys if key)
