"""Finding document, core question and format instructions in an input that declares none of them.

Tasks of ours declare the parts. A task of another package sends one text; where that is too long to
be asked as it is, its parts are found by rule where the form is a known one (tags or labels around
the document), else by one call that shows the model the beginning and the end of the input, else
the last paragraph is the question. The log says which (`query_by`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from longspan.agents.chunks import split_chunks
from longspan.agents.query import Query
from longspan.harness.tokens import TokenCounter

FoundBy = Literal["rule", "model", "last_paragraph"]
EDGE_SHARE = 1 / 8
"""Share of the window that each end of the input takes in the call that asks for the question."""
MAX_EDGE_TOKENS = 2048

MAX_FRAME_CHARS = 10_000
"""What stands around a document is looked for in so many characters at each end: a document cannot
make the search slow, nor is its own text taken for the frame."""

_OPENING = re.compile(
    r"<(text|document|documents|context|article|passage|passages|book)>(?=\s)", re.IGNORECASE
)
_DOCUMENT_LABEL = re.compile(
    r"^[#* ]*(?:context|document|documents|article|passage|passages|text|story|book)[* ]*:[* ]*",
    re.IGNORECASE | re.MULTILINE,
)
_QUESTION_LABEL = re.compile(
    r"^[#* ]*(?:question|query|task|problem)[* ]*:[* ]*", re.IGNORECASE | re.MULTILINE
)
_FORMAT = re.compile(
    r"^(?:answer format|format|output format|instructions?|respond|reply|end your response|answer"
    r" (?:in|with|only)|please (?:answer|respond|provide|end)|only (?:answer|give|return|output)|do"
    r" not|your (?:answer|response)|give your answer|provide (?:your|the) (?:final )?answer"
    r"|write your)\b|the answer is \(",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parts:
    """Where an input's document is, and what is asked about it."""

    question: str
    instructions: str
    start: int
    """First character of the document in the input."""
    end: int
    found_by: FoundBy

    def query(self, text: str, plain: Query) -> Query:
        """Returns the query with these parts."""
        return replace(
            plain,
            question=self.question,
            instructions=self.instructions,
            context=text[self.start : self.end],
            document_starts=(0,),
            is_plain=False,
            declared_by=self.found_by,
        )


def parts_by_rule(text: str) -> Parts | None:
    """Returns the parts of an input in a known form, None for any other."""
    tail_start = max(0, len(text) - MAX_FRAME_CHARS)
    opening = _OPENING.search(text, 0, MAX_FRAME_CHARS)
    if opening:
        closing = f"</{opening.group(1)}>"
        end = text.rfind(closing, max(opening.end(), tail_start))
        if end >= 0:
            asked = text[end + len(closing) :].strip() or text[: opening.start()].strip()
            return _asked(_without_label(asked), opening.end(), end)
    document = _DOCUMENT_LABEL.search(text, 0, MAX_FRAME_CHARS)
    if document is None:
        return None
    labels = [*_QUESTION_LABEL.finditer(text, max(document.end(), tail_start))]
    if labels:
        return _asked(text[labels[-1].end() :], document.end(), labels[-1].start())
    before = _QUESTION_LABEL.search(text, 0, document.start())
    if before is None:
        return None
    return _asked(text[before.end() : document.start()], document.end(), len(text))


def edges(text: str, window: int | None, counter: TokenCounter) -> tuple[str, str]:
    """Returns the beginning and the end of an input, for the call that asks for its question."""
    most = MAX_EDGE_TOKENS if window is None else min(MAX_EDGE_TOKENS, int(window * EDGE_SHARE))
    size = 4 * max(1, most)
    head, tail = text[:size], text[-size:]
    while head and counter.count(head) > most:
        head = head[: len(head) * 3 // 4]
    while tail and counter.count(tail) > most:
        tail = tail[len(tail) - len(tail) * 3 // 4 :]
    return head, tail


def edges_prompt(head: str, tail: str) -> str:
    """Returns the prompt that asks where question and format instructions are."""
    return (
        "A long input holds a document and a question about it. You see its beginning and its "
        "end.\n\n"
        f"<beginning>\n{head}\n</beginning>\n\n<end>\n{tail}\n</end>\n\n"
        "Copy the question word for word between <question> and </question>, and what is said "
        "about the form of the answer between <instructions> and </instructions>."
    )


def parts_by_model(text: str, completion: str) -> Parts | None:
    """Returns the parts that a model named, None where it named no question.

    What it names and what stands at an end of the input is cut off the document; what does not
    stand there is asked all the same, about the whole input.
    """
    said = completion.rpartition("</think>")[2]
    question, instructions = _between(said, "question"), _between(said, "instructions")
    if not question:
        return None
    start, end = 0, len(text)
    for part in filter(None, (question, instructions)):
        at = text.rfind(part)
        if at >= len(text) // 2:
            end = min(end, at)
        elif 0 <= at < len(text) // 2 and at + len(part) - start <= len(text) // 4:
            start = max(start, at + len(part))
    return Parts(question, instructions, start, max(start, end), "model")


def last_paragraph(text: str, max_tokens: int, counter: TokenCounter) -> Parts:
    """Returns the last paragraph as the question, at most so many tokens of its end."""
    stripped = text.rstrip()
    cut = stripped.rfind("\n\n")
    start = cut + 2 if cut >= 0 else 0
    question = stripped[start:]
    if counter.count(question) > max_tokens:
        last = split_chunks(question, max_tokens, counter)[-1]
        question, start = question[last.start : last.end], start + last.start
    return Parts(question, "", 0, start, "last_paragraph")


def _asked(asked: str, start: int, end: int) -> Parts | None:
    """Returns the parts with format instructions split off the end of what is asked."""
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n|\n(?=[A-Z])", asked.strip()) if p.strip()]
    if not paragraphs:
        return None
    first = len(paragraphs)
    while first > 1 and _FORMAT.search(paragraphs[first - 1]):
        first -= 1
    question, instructions = "\n\n".join(paragraphs[:first]), "\n\n".join(paragraphs[first:])
    return Parts(question, instructions, start, end, "rule")


def _between(text: str, tag: str) -> str:
    after = text.partition(f"<{tag}>")[2]
    inside, closing, _ = after.partition(f"</{tag}>")
    return inside.strip() if closing else ""


def _without_label(asked: str) -> str:
    label = _QUESTION_LABEL.match(asked)
    return asked[label.end() :] if label else asked
