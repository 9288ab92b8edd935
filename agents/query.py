"""What a sample asks and of which text, for every agent alike.

The paper splits a query into a core question, shown at every step, and format instructions, shown
at the last one (arXiv 2512.12967, section 2.3). Here the split is declared by the task in the
sample's metadata. A sample of another harness declares nothing: its whole input is the question,
it has no instructions and no separate context; a chat is one text, "role: content" by message, and
system messages are no part of it. Its parts are looked for where it is too long (`undeclared`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inspect_ai.solver import TaskState

from longspan.agents.messages import as_text, spoken_messages
from longspan.agents.retention import Evidence, find_evidence
from longspan.harness.datasets.documents import ContextText, context_offsets, resolve_documents
from longspan.harness.errors import DataError
from longspan.harness.prompts import render_prompt


@dataclass(frozen=True)
class Query:
    """One sample as an agent sees it."""

    question: str
    instructions: str
    context: str | ContextText
    """The text; joined only where it is read, see `whole`."""
    document_starts: tuple[int, ...]
    """Where documents start in the context (characters, sorted)."""
    evidence: tuple[Evidence, ...]
    """The passport's evidence within the context; empty for samples without a passport."""
    is_plain: bool
    """Whether the sample declares no context: its input is all there is."""
    messages: tuple[Mapping[str, str], ...] = ()
    """The benchmark's own chat ({role, content}), which full context sends as it is."""
    frame: tuple[str, str] | None = None
    """What the benchmark's own prompt says before and after the context."""
    declared_by: str = "task"
    """Who said what is question and what is document: the task, or how it was found."""

    def whole(self) -> str:
        """Returns the text in one piece."""
        return str(self.context)

    def prompt(self, context: str) -> str:
        """Returns the prompt that shows a context, whole or cut."""
        if self.frame is None:
            return render_prompt(context, self.question, self.instructions)
        return f"{self.frame[0]}{context}{self.frame[1]}"


def read_query(state: TaskState) -> Query:
    """Returns the query of a sample, its context resolved from the reference in the metadata.

    Raises:
        DataError: The context's documents or the passport are missing or damaged.
    """
    metadata: Mapping[str, Any] = state.metadata
    whole_input = as_text(spoken_messages(state.messages)) or state.input_text
    if not metadata.get("context"):
        return Query(whole_input, "", "", (), (), is_plain=True)
    question, instructions = metadata.get("question"), metadata.get("instructions")
    if not isinstance(question, str) or not question.strip():
        question, instructions = whole_input, ""
    if not isinstance(instructions, str):
        instructions = ""
    documents = resolve_documents(metadata)
    context = ContextText(documents)
    return Query(
        question,
        instructions,
        context,
        document_starts=tuple(start for start, _ in context_offsets(documents)),
        evidence=find_evidence(metadata.get("passport"), documents, context),
        is_plain=False,
        messages=_messages(metadata.get("messages")),
        frame=_frame(metadata.get("frame")),
    )


def _messages(value: Any) -> tuple[Mapping[str, str], ...]:
    messages = value if isinstance(value, list | tuple) else ()
    if not all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in messages):
        raise DataError(
            'a sample\'s metadata "messages" must be a list of {role, content}; make the task again'
        )
    return tuple(messages)


def _frame(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    return str(value.get("before", "")), str(value.get("after", ""))
