"""The questions of benchmarks that a task set must not repeat: registered tasks, files, task sets.

Of a registered task the samples are read as an evaluation would read them, so its data must be on
this machine or on the hub.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longspan.harness.datasets.documents import resolve_documents
from longspan.harness.datasets.rows import read_json_lines
from longspan.harness.errors import DataError
from longspan.harness.files import JSON_LINES_SUFFIXES
from longspan.harness.resolve import registered_task
from longspan.harness.taskset import TaskSet, answers_of

QUESTION_KEYS = ("question", "input", "prompt", "query")
ANSWER_KEYS = ("answers", "answer", "target", "label")
CONTEXT_KEYS = ("context", "text", "passage")
"""Keys of a JSON line, the first of which that is there counts."""
_HASH_CHARS = 16


@dataclass(frozen=True, slots=True)
class BenchmarkQuestion:
    """One question of a benchmark."""

    benchmark: str
    id: str
    question: str
    answers: tuple[str, ...]
    context: str
    """Text that the benchmark shows, "" where it has none."""


@dataclass(frozen=True)
class Benchmark:
    """The questions of one benchmark."""

    name: str
    questions: tuple[BenchmarkQuestion, ...]
    num_left_out: int = 0
    """Rows without a question."""

    @property
    def hash(self) -> str:
        """Digest of the questions and answers."""
        content = [(one.id, one.question, one.answers) for one in self.questions]
        text = json.dumps(content, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARS]

    def facts(self) -> dict[str, Any]:
        """Returns what a manifest says about it."""
        return {
            "name": self.name,
            "hash": self.hash,
            "num_questions": len(self.questions),
            "num_left_out": self.num_left_out,
        }


def read_benchmarks(names: Sequence[str]) -> list[Benchmark]:
    """Returns the benchmarks of names: registered tasks, JSON lines files, folders of task sets.

    Raises:
        DataError: a name is empty, or a file is missing or holds no question.
        SpecError: an unknown task.
    """
    return [_read(name) for name in dict.fromkeys(names)]


def _read(name: str) -> Benchmark:
    if not name.strip():
        raise DataError(
            f"a benchmark to compare with has the name {name!r}; name a registered task, a file of "
            "JSON lines or the folder of a task set"
        )
    path = Path(name).expanduser()
    num_left_out = 0
    if path.is_dir():
        questions = list(_of_taskset(path))
    elif name.endswith(JSON_LINES_SUFFIXES):
        rows, problems = read_json_lines(path)
        questions = [q for number, row in rows if (q := _of_row(path.name, number, row))]
        num_left_out = len(problems) + len(rows) - len(questions)
    else:
        questions = list(_of_task(name))
    if not questions:
        keys = ", ".join(QUESTION_KEYS)
        raise DataError(f"no questions in {name}; give JSON lines with one of the keys {keys}")
    return Benchmark(questions[0].benchmark, tuple(questions), num_left_out)


def _of_taskset(path: Path) -> Iterator[BenchmarkQuestion]:
    taskset = TaskSet.open(path)
    for row in taskset.rows():
        yield BenchmarkQuestion(taskset.name, row.id, row.question, answers_of(row), "")


def _of_row(file: str, number: int, row: dict[str, Any]) -> BenchmarkQuestion | None:
    question = next((row[key] for key in QUESTION_KEYS if row.get(key)), None)
    if not isinstance(question, str) or not question.strip():
        return None
    answers = next((row[key] for key in ANSWER_KEYS if row.get(key) is not None), ())
    context = next((row[key] for key in CONTEXT_KEYS if isinstance(row.get(key), str)), "")
    name = row.get("id", row.get("_id", f"row {number}"))
    return BenchmarkQuestion(file, str(name), question.strip(), _texts(answers), context)


def _of_task(name: str) -> Iterator[BenchmarkQuestion]:
    task = registered_task(name)
    for sample in task.dataset:
        metadata = sample.metadata or {}
        question = str(metadata.get("question") or sample_text(sample.input))
        context = ""
        if metadata.get("context"):
            context = "\n".join(document.text for document in resolve_documents(metadata))
        answers = _texts(sample.target)
        yield BenchmarkQuestion(task.name, str(sample.id), question, answers, context)


def sample_text(given: Any) -> str:
    """Returns the text of a sample's input, which may be a chat."""
    return given if isinstance(given, str) else "\n".join(message.text for message in given)


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) for one in values if isinstance(one, str | int | float) and str(one))
