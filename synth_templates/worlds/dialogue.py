"""Long dialogues of a user and an assistant over many dated sessions, drawn from a seed.

The user mentions things about himself and others, changes some of them later, adds to lists, and
asks for the same kind of text several times; between that there is small talk. Every value is a
name that stands for nothing else in the dialogue.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from pydantic import BaseModel, ConfigDict

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.triples.dates import format_date
from longspan.synth_templates.worlds.fiction_names import NameKind, Names
from longspan.synth_templates.worlds.prose import capitalised, fill, read_prose
from longspan.synth_templates.worlds.sessions import ASSISTANT, USER

SELF = "me"
"""The holder that is the user."""
FIRST_DAY = datetime.date(2031, 1, 5)
_GAP_DAYS = (1, 9)
_SLOTS_PER_SESSION, _LISTS_PER_SESSION, _REQUESTS_PER_SESSION = 0.5, 0.16, 0.14
_LEAST = {"slots": 6, "lists": 3, "requests": 3}
_MENTIONS, _ITEMS, _REPEATS = (1, 5), (3, 5), (2, 4)
_AGAIN_SHARE, _BACK_SHARE = 0.25, 0.12
_SMALL_TALK, _ANSWER_SENTENCES = (1, 3), (2, 4)
_SHORT_SHARE = 0.15
"""Sessions of one exchange of small talk, where nothing is mentioned."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Slot(_Frozen):
    names: NameKind
    word: str


class _List(_Frozen):
    noun: str
    did: str
    names: NameKind


class _Request(_Frozen):
    form: str
    ask: str


class _Form(_Frozen):
    separator: str
    parts: tuple[int, int]
    lines: tuple[str, ...]


class _Topic(_Frozen):
    asks: tuple[str, ...]
    answers: tuple[str, ...]


class DialogueProse(_Frozen):
    """What people say."""

    holders: tuple[str, ...]
    slots: dict[str, _Slot]
    """Relations with one value at a time."""
    lists: dict[str, _List]
    """Relations of the user with ever more values."""
    begin: tuple[str, ...]
    change: tuple[str, ...]
    again: tuple[str, ...]
    item: tuple[str, ...]
    acknowledgements: tuple[str, ...]
    repeat_requests: tuple[_Request, ...]
    forms: dict[str, _Form]
    topics: tuple[_Topic, ...]
    words: dict[str, tuple[str, ...]]


@cache
def dialogue_prose() -> DialogueProse:
    """Returns the packaged templates."""
    return DialogueProse.model_validate(read_prose("dialogue"))


def possessive(holder: str) -> str:
    """Returns whose something is: "my", "my sister's"."""
    return "my" if holder == SELF else f"{holder}'s"


@dataclass
class _Session:
    """A session being planned."""

    statements: list[tuple[str, Triple]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)


def draw_dialogue(
    rng: random.Random, names: Names, num_sessions: int, prefix: str
) -> list[Document]:
    """Returns the sessions of a dialogue in order; their ids begin with the prefix."""
    user = names.draw("person")
    sessions = [_Session() for _ in range(num_sessions)]
    busy = [session for session in sessions if rng.random() >= _SHORT_SHARE] or sessions
    _plan_slots(rng, names, busy)
    _plan_lists(rng, names, busy)
    _plan_requests(rng, busy)
    documents: list[Document] = []
    day = FIRST_DAY
    for number, session in enumerate(sessions):
        day += datetime.timedelta(days=rng.randint(*_GAP_DAYS))
        documents.append(
            Document(
                id=f"{prefix}-s{number:05d}",
                title=f"Session {number + 1} of {user}, {format_date(day)}",
                text=_write(session, rng),
                triples=tuple(triple for _, triple in session.statements),
            )
        )
    return documents


def _plan_slots(rng: random.Random, names: Names, sessions: list[_Session]) -> None:
    """Spreads what changes over the sessions: a first value, updates, reminders, some returns."""
    prose = dialogue_prose()
    keys = [(holder, slot) for holder in prose.holders for slot in prose.slots]
    wanted = max(_LEAST["slots"], round(_SLOTS_PER_SESSION * len(sessions)))
    for key in rng.sample(keys, min(wanted, len(keys))):
        holder, slot = key
        my = possessive(holder)
        values: list[str] = []
        for session in _chosen(rng, sessions, rng.randint(*_MENTIONS)):
            value, templates = _next_value(rng, names, prose.slots[slot].names, values)
            values.append(value)
            given = {"my": my, "My": capitalised(my), "slot": slot, "v": value}
            sentence = fill(rng.choice(templates), given, {}, rng)
            triple = Triple(subject=holder, relation=slot, object=value)
            session.statements.append((sentence, triple))


def _next_value(
    rng: random.Random, names: Names, kind: NameKind, values: list[str]
) -> tuple[str, tuple[str, ...]]:
    """Returns the next value of a history and the templates that state it."""
    prose = dialogue_prose()
    if not values:
        return names.draw(kind), prose.begin
    chance = rng.random()
    if chance < _AGAIN_SHARE:
        return values[-1], prose.again
    earlier = [value for value in values if value != values[-1]]
    if earlier and chance < _AGAIN_SHARE + _BACK_SHARE:
        return rng.choice(earlier), prose.change
    return names.draw(kind), prose.change


def _plan_lists(rng: random.Random, names: Names, sessions: list[_Session]) -> None:
    prose = dialogue_prose()
    wanted = max(_LEAST["lists"], round(_LISTS_PER_SESSION * len(sessions)))
    for relation in rng.sample(list(prose.lists), min(wanted, len(prose.lists))):
        form = prose.lists[relation]
        for session in _chosen(rng, sessions, rng.randint(*_ITEMS)):
            value = names.draw(form.names)
            given = {"did": form.did, "noun": form.noun, "v": value}
            sentence = fill(rng.choice(prose.item), given, {}, rng)
            triple = Triple(subject=SELF, relation=relation, object=value)
            session.statements.append((sentence, triple))


def _plan_requests(rng: random.Random, sessions: list[_Session]) -> None:
    """Asks for the same text several times, and answers each time otherwise."""
    prose = dialogue_prose()
    pairs = [
        (i, topic) for i in range(len(prose.repeat_requests)) for topic in prose.words["topic"]
    ]
    wanted = max(_LEAST["requests"], round(_REQUESTS_PER_SESSION * len(sessions)))
    for i, topic in rng.sample(pairs, min(wanted, len(pairs))):
        request = prose.repeat_requests[i]
        ask = fill(request.ask, {"topic": topic}, {}, rng)
        told: set[str] = set()
        for session in _chosen(rng, sessions, rng.randint(*_REPEATS)):
            text = _compose(prose.forms[request.form], topic, rng)
            while text in told:
                text = _compose(prose.forms[request.form], topic, rng)
            told.add(text)
            session.requests.append((ask, text))


def _compose(form: _Form, topic: str, rng: random.Random) -> str:
    """Returns a text about a topic."""
    given = {"topic": topic, "Topic": capitalised(topic)}
    lines = rng.sample(form.lines, rng.randint(*form.parts))
    words = dialogue_prose().words
    text = form.separator.join(capitalised(fill(line, given, words, rng)) for line in lines)
    return text.rstrip(",") + ("" if text.endswith(".") else ".")


def _chosen(rng: random.Random, sessions: list[_Session], count: int) -> Iterator[_Session]:
    """Yields different sessions in order."""
    places = sorted(rng.sample(range(len(sessions)), min(count, len(sessions))))
    return (sessions[place] for place in places)


def _write(session: _Session, rng: random.Random) -> str:
    """Returns a session: statements and requests among small talk, in random order."""
    prose = dialogue_prose()
    exchanges: list[tuple[str, str]] = list(session.requests)
    statements = [sentence for sentence, _ in session.statements]
    has_content = bool(statements or exchanges)
    for _ in range(rng.randint(*_SMALL_TALK) if has_content else 1):
        asked, told = _small_talk(rng)
        if statements and rng.random() < 0.5:
            asked = f"{statements.pop(0)} {asked}"
            told = f"{rng.choice(prose.acknowledgements)} {told}"
        exchanges.append((asked, told))
    exchanges += [(sentence, rng.choice(prose.acknowledgements)) for sentence in statements]
    rng.shuffle(exchanges)
    return "\n".join(f"{USER}: {asked}\n{ASSISTANT}: {told}" for asked, told in exchanges)


def _small_talk(rng: random.Random) -> tuple[str, str]:
    prose = dialogue_prose()
    topic = rng.choice(prose.topics)
    answers = rng.sample(topic.answers, rng.randint(*_ANSWER_SENTENCES))
    return fill(rng.choice(topic.asks), {}, prose.words, rng), " ".join(answers)
