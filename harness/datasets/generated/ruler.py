"""RULER (Hsieh et al. 2024, arXiv 2404.06654): its 13 tasks, generated at any length.

Variants, counts, repetitions and room for the answer are RULER's; wording, words and noise are our
own, and no solved example is shown, so scores are not comparable with published ones to the point.
A length is in tokens of the counter that is given, and covers prompt, answer and chat template.

A sample is a function of seed, task and index: at every length it asks for the same needles, chains
and common words, so that lengths are compared in pairs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from pydantic import Field

from longspan.harness.datasets.generated.assignments import draft_assignments
from longspan.harness.datasets.generated.fitting import Draft, DrawOptions, Room, fit, to_record
from longspan.harness.datasets.generated.haystack import Prose
from longspan.harness.datasets.generated.needles import VARIANTS, draft_needles
from longspan.harness.datasets.generated.passages import draft_question, read_hotpotqa, read_squad
from longspan.harness.datasets.generated.word_counts import draft_common_words, draft_frequent_words
from longspan.harness.datasets.records import Record
from longspan.harness.errors import DataError
from longspan.harness.files import Problem
from longspan.harness.prompts import DEFAULT_INSTRUCTIONS
from longspan.harness.tokens import TokenCounter

TaskName = Literal[
    "niah_single_1", "niah_single_2", "niah_single_3",
    "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
    "niah_multivalue", "niah_multiquery",
    "vt", "cwe", "fwe", "qa_1", "qa_2",
]  # fmt: skip
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)

LIST_INSTRUCTIONS = (
    'End your response with: "Therefore, the answer is (value, value, ...)". '
    "Put all values on this one line, separated by commas."
)
"""Format instructions of tasks with several answers, all of which are wanted."""

Corpus = Sequence[str] | Sequence[Mapping[str, Any]]
"""Essays, rows of SQuAD or rows of HotpotQA, as the task has it."""


class RulerOptions(DrawOptions):
    """Which samples of a task to generate."""

    length_tokens: int = Field(default=4096, ge=256)
    """Tokens of prompt, answer and chat template together; a sample comes close and stays below."""
    num_samples: int = Field(default=20, ge=1)
    """Samples; RULER has 500 at each length. Fewer are the first of more."""


@dataclass(frozen=True)
class RulerTask:
    """What is the same for all samples of a task."""

    answer_tokens: int
    """Room for the answer: RULER's, but for `vt`, whose five names take more than RULER's 30 tokens
    with the sentence that our instructions ask for."""
    instructions: str
    """Format instructions; they are part of the length."""
    material: Literal["essays", "squad", "hotpotqa"] | None = None
    """What the corpus must be; None: the task needs none."""
    references: Literal["all", "part"] = "all"
    """`all`: the score is the fraction of targets found; `part`: one target suffices."""


def _needle_task(name: str) -> RulerTask:
    variant = VARIANTS[name]
    return RulerTask(
        answer_tokens=128,
        instructions=DEFAULT_INSTRUCTIONS if variant.num_answers == 1 else LIST_INSTRUCTIONS,
        material="essays" if variant.haystack == "essay" else None,
    )


TASKS: dict[str, RulerTask] = {
    **{name: _needle_task(name) for name in VARIANTS},
    "vt": RulerTask(50, LIST_INSTRUCTIONS),
    "cwe": RulerTask(120, LIST_INSTRUCTIONS),
    "fwe": RulerTask(50, LIST_INSTRUCTIONS),
    "qa_1": RulerTask(32, DEFAULT_INSTRUCTIONS, "squad", "part"),
    "qa_2": RulerTask(32, DEFAULT_INSTRUCTIONS, "hotpotqa", "part"),
}


def ruler_records(
    name: TaskName, options: RulerOptions, counter: TokenCounter, corpus: Corpus = ()
) -> tuple[list[Record], list[Problem]]:
    """Returns the samples of a task at a length, and the questions that were left out.

    Those are the questions whose own passages do not fit; the next ones take their place.

    Args:
        name: One of the 13 tasks.
        options: Length and number.
        counter: Whose tokens the length is in.
        corpus: Texts for essay haystacks, which are repeated as needed, or rows of SQuAD or
            HotpotQA; nothing for other tasks.

    Raises:
        DataError: the corpus is not what the task needs, or is too small, or the length is.
    """
    task = TASKS[name]
    room = Room(
        options.length_tokens,
        task.answer_tokens if options.answer_tokens is None else options.answer_tokens,
        options.overhead_tokens,
    )
    records: list[Record] = []
    left_out: list[Problem] = []
    guess = None
    for index, draft in enumerate(_drafts(name, options, room, corpus)):
        fitted = fit(draft, task.instructions, room, counter, guess)
        if fitted is None:
            if task.references == "all":  # every sample of such a task is as large as this one
                raise room.too_small(name, counter)
            place = f"{name} question {index + 1}"
            left_out.append(Problem(place, f"its passages exceed {room.length_tokens} tokens"))
            continue
        guess = fitted.num_units
        facts = {
            "index": index,
            "length_tokens": room.length_tokens,
            "answer_tokens": room.answer_tokens,
            "tokenizer": counter.name,
            "reference_rule": task.references,
        }
        records.append(to_record(draft, fitted, name, task.instructions, facts))
        if len(records) == options.num_samples:
            break
    if len(records) < options.num_samples:
        raise DataError(
            f"too few questions for {name}: {len(records)} fit into "
            f"{options.length_tokens} tokens, {len(left_out)} do not, num_samples is "
            f"{options.num_samples}; lower num_samples or give more rows"
        )
    return records, left_out


def _drafts(name: TaskName, options: RulerOptions, room: Room, corpus: Corpus) -> Iterator[Draft]:
    """Returns what yields the samples before they have a length.

    Questions come in the order of the rows, as in RULER; all else is drawn without end.
    """
    material = TASKS[name].material

    def rng(index: int) -> random.Random:
        return random.Random(f"{options.seed}/{name}/{index}")

    if material in ("squad", "hotpotqa"):
        read, hops = (read_squad, 1) if material == "squad" else (read_hotpotqa, 2)
        questions, pool = read(_rows(name, corpus))
        return (
            draft_question(question, pool, hops, rng(index))
            for index, question in enumerate(questions)
        )
    prose = Prose(_texts(name, corpus)) if material == "essays" else None
    draft = _generator(name, room, prose)
    return (draft(rng(index)) for index in range(options.num_samples))


def _generator(name: TaskName, room: Room, prose: Prose | None) -> Callable[[random.Random], Draft]:
    if name == "vt":
        return draft_assignments
    if name == "cwe":
        return lambda rng: draft_common_words(room.length_tokens, rng)
    if name == "fwe":
        return lambda rng: draft_frequent_words(room.prompt_tokens, rng)
    return lambda rng: draft_needles(VARIANTS[name], prose, rng)


def _texts(task: str, corpus: Corpus) -> Sequence[str]:
    if not corpus or not all(isinstance(text, str) and text.strip() for text in corpus):
        raise DataError(f"{task} hides its needles in essays: got {_describe(corpus)}; give texts")
    return cast(Sequence[str], corpus)


def _rows(task: str, corpus: Corpus) -> Sequence[Mapping[str, Any]]:
    if not corpus or not all(isinstance(row, Mapping) for row in corpus):
        name = "SQuAD" if TASKS[task].material == "squad" else "HotpotQA"
        raise DataError(f"{task} needs rows of {name}: got {_describe(corpus)}; give its rows")
    return cast(Sequence[Mapping[str, Any]], corpus)


def _describe(corpus: Corpus) -> str:
    if not corpus:
        return "no corpus"
    kinds = sorted({type(item).__name__ for item in corpus})
    return f"{len(corpus)} items of type {' and '.join(kinds)}"
