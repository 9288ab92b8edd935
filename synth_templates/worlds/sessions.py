"""Sessions of a dialogue as documents: what was said, mentioned and asked for, and when.

A session is a document whose text is turns ("User: ...", "Assistant: ...") and whose title is its
number, user and date ("Session 3 of Ada Velm, 12 March 2031"). The sessions of a corpus are those
of one user and stand in the order of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.triples.graph import find_mentions, split_sentences

USER, ASSISTANT = "User", "Assistant"
_TURN = re.compile(rf"^({USER}|{ASSISTANT}): ", re.MULTILINE)
_TITLE = re.compile(r"^Session \d+ of (?P<user>[^,\n]+), (?P<date>\d{1,2} [A-Z][a-z]+ \d{4})$")

Key = tuple[str, str]
"""Subject and relation: what a mention is about."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said: characters [start, end) of the session's text, without the role."""

    role: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mention:
    """A statement of the user.

    Attributes:
        document: The session.
        stated: The statement.
        start: First character of its sentence in the session's text.
        end: One past the last one.
    """

    document: str
    stated: Triple
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What the assistant answered to a request: characters [start, end) of the session's text."""

    document: str
    start: int
    end: int


class Sessions:
    """The sessions of a corpus, in order."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = tuple(document for document in documents if is_session(document))
        self.place = {document.id: i for i, document in enumerate(self.documents)}

    @cached_property
    def user(self) -> str:
        """The name of the user, "" where there are no sessions."""
        match = _TITLE.match(self.documents[0].title) if self.documents else None
        return match["user"] if match else ""

    @cached_property
    def histories(self) -> dict[Key, tuple[Mention, ...]]:
        """What the user said about each thing, in order of time."""
        found: dict[Key, list[Mention]] = {}
        for document in self.documents:
            for triple in document.triples:
                span = find_statement(document, triple)
                if span is not None:
                    mention = Mention(document.id, triple, *span)
                    found.setdefault((triple.subject, triple.relation), []).append(mention)
        return {key: tuple(mentions) for key, mentions in found.items()}

    @cached_property
    def requests(self) -> dict[str, tuple[Reply, ...]]:
        """The replies to each request that the user made twice or more, in order of time.

        Requests that also stand within a longer message are left out.
        """
        found: dict[str, list[Reply]] = {}
        for document in self.documents:
            turns = list(turns_of(document))
            for asked, told in zip(turns, turns[1:], strict=False):
                if (asked.role, told.role) == (USER, ASSISTANT):
                    request = document.text[asked.start : asked.end]
                    found.setdefault(request, []).append(Reply(document.id, told.start, told.end))
        text = "\n".join(document.text for document in self.documents)
        return {
            request: tuple(replies)
            for request, replies in found.items()
            if len(replies) > 1 and text.count(request) == len(replies)
        }

    def is_first_mention(self, name: str, document: str) -> bool:
        """Returns whether a session is the first one that holds a name."""
        earlier = self.documents[: self.place[document]]
        return not any(find_mentions(name, session.text) for session in earlier)

    def in_order(self, documents: Sequence[str]) -> bool:
        """Returns whether documents are sessions in the order of time, none twice."""
        places = [self.place.get(name, -1) for name in documents]
        return places[:1] != [-1] and all(a < b for a, b in zip(places, places[1:], strict=False))


def is_session(document: Document) -> bool:
    """Returns whether a document is a session of a dialogue."""
    return document.text.startswith(f"{USER}: ") and _TITLE.match(document.title) is not None


def date_of(document: Document) -> str:
    """Returns the date in a session's title, as it stands there; "" where there is none."""
    match = _TITLE.match(document.title)
    return match["date"] if match else ""


def turns_of(document: Document) -> Iterator[Turn]:
    """Yields the turns of a session."""
    starts = list(_TURN.finditer(document.text))
    ends = [match.start() - 1 for match in starts[1:]] + [len(document.text)]
    for match, end in zip(starts, ends, strict=True):
        yield Turn(match[1], match.end(), end)


def find_statement(document: Document, triple: Triple) -> tuple[int, int] | None:
    """Returns the user's first sentence that names the object of a statement, None without one."""
    for turn in turns_of(document):
        if turn.role != USER:
            continue
        text = document.text[turn.start : turn.end]
        for start, end in split_sentences(text):
            if find_mentions(triple.object, text[start:end]):
                return turn.start + start, turn.start + end
    return None
