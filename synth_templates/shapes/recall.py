"""Recall: what a user said about one thing over a dialogue, with every change of it.

"Who is my dentist now?", "Who was it before X?", "How often did it change?", "Which was the second
restaurant I told you I had tried?" All mentions of the thing are evidence, so that a context never
leaves out an update.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from longspan.harness.passport import ProofStep, Recall, RecallProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.draft import Draft, Rejected, quote
from longspan.synth_templates.shapes.mentions import (
    as_step,
    check_mentions,
    draw_first_mention,
)
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.worlds.dialogue import dialogue_prose, possessive
from longspan.synth_templates.worlds.sessions import Key, Mention, date_of

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_CHANGING: tuple[Recall, ...] = ("latest", "first", "previous", "before", "after", "at")


class RecallKind(KindBase):
    """A question about the history of one thing.

    Its wording may use `user`, `what` ("my sister's dentist"), `word` ("Who"), for lists `noun`
    ("restaurant") and `did` ("tried"), and what the operation needs: `ordinal` ("second"), `value`,
    `marker` (something else that was mentioned).
    """

    shape: Literal["recall"]
    about: Literal["slot", "list"] = "slot"
    """Whether the thing has one value at a time or ever more of them."""
    operation: Recall
    """What is asked."""


def draw(kind: RecallKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random history, or why there is none."""
    histories = _histories(kind, corpus)
    if not histories:
        return Rejected("no history that is long enough", is_final=True)
    key, mentions = histories[rng.randrange(len(histories))]
    proof = _proof(kind.operation, mentions, corpus, rng)
    if isinstance(proof, Rejected):
        return proof
    answer = _answer(proof, corpus)
    if answer is None:
        return Rejected("history does not determine an answer")
    marker = () if proof.marker is None else (_support(proof.marker, corpus),)
    return Draft(
        kind,
        answer,
        proof,
        tuple(
            quote(corpus, mention.document, mention.start, mention.end)
            for mention in (*mentions, *marker)
        ),
        {"user": corpus.sessions.user, **_variables(key, proof)},
        option_pool=_values_like(key, corpus) if kind.num_options else (),
        names_answer=kind.operation in ("num_changes", "num_values"),
    )


def check(proof: RecallProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    marker = () if proof.marker is None else (proof.marker,)
    problems = check_mentions([*proof.steps, *marker], row, corpus)
    if problems:
        return problems, ""
    first = proof.steps[0]
    key = (first.subject, first.relation)
    whole = [as_step(mention) for mention in corpus.sessions.histories.get(key, ())]
    if whole != list(proof.steps):
        problems.append(f"the proof does not hold all that was said on {key}")
    if proof.marker is not None and not corpus.sessions.is_first_mention(
        proof.marker.object, proof.marker.document
    ):
        problems.append(f"{proof.marker.object!r} was mentioned earlier")
    try:
        named = _variables(key, proof)
    except (KeyError, IndexError):
        return [*problems, f"nothing is known on {key}"], ""
    wanted = [named[name] for name in ("ordinal", "value", "marker") if named[name]]
    wanted += [named["what"]] if named["what"] else [named["noun"], named["did"]]
    problems += [
        f"question does not name {text!r}"
        for text in wanted
        if not find_mentions(text, row.question)
    ]
    answer = _answer(proof, corpus)
    if answer is None:
        return [*problems, "history does not determine an answer"], ""
    return problems, answer


def _histories(kind: RecallKind, corpus: Corpus) -> list[tuple[Key, tuple[Mention, ...]]]:
    prose = dialogue_prose()
    relations = prose.slots.keys() if kind.about == "slot" else prose.lists.keys()
    return [
        (key, mentions)
        for key, mentions in corpus.sessions.histories.items()
        if key[1] in relations
        and (
            kind.operation not in _CHANGING
            or kind.about == "list"
            or len({mention.stated.object for mention in mentions}) > 1
        )
    ]


def _proof(
    operation: Recall, mentions: Sequence[Mention], corpus: Corpus, rng: random.Random
) -> RecallProof | Rejected:
    steps = tuple(as_step(mention) for mention in mentions)
    values = list(dict.fromkeys(step.object for step in steps))
    position = value = marker = None
    if operation == "nth":
        position = rng.randint(1, min(len(values), len(ORDINALS)))
    if operation in ("before", "after", "date"):
        value = rng.choice(values)
    if operation == "at":
        found = draw_first_mention(corpus, rng, [step.document for step in steps])
        if found is None:
            return Rejected("nothing else was mentioned between")
        marker = as_step(found)
    return RecallProof(
        steps=steps, operation=operation, position=position, value=value, marker=marker
    )


def _answer(proof: RecallProof, corpus: Corpus) -> str | None:
    """Returns what a history says, None where it does not settle the question."""
    values = [step.object for step in proof.steps]
    runs = [v for i, v in enumerate(values) if i == 0 or v != values[i - 1]]
    match proof.operation:
        case "latest":
            return runs[-1]
        case "first":
            return runs[0]
        case "previous":
            return runs[-2] if len(runs) > 1 else None
        case "before" | "after":
            step = 1 if proof.operation == "after" else -1
            places = [i + step for i, run in enumerate(runs) if run == proof.value]
            is_clear = len(places) == 1 and 0 <= places[0] < len(runs)
            return runs[places[0]] if is_clear else None
        case "nth":
            distinct = list(dict.fromkeys(values))
            place = (proof.position or 0) - 1
            return distinct[place] if 0 <= place < len(distinct) else None
        case "num_changes":
            return str(len(runs) - 1)
        case "num_values":
            return str(len(set(values)))
        case "date":
            told = [step.document for step in proof.steps if step.object == proof.value]
            return date_of(corpus.by_id[told[0]]) if told else None
        case "at":
            return _value_at(proof, corpus)


def _value_at(proof: RecallProof, corpus: Corpus) -> str | None:
    """Returns the value that held in the marker's session, in which nothing was said on it."""
    place = corpus.sessions.place
    if proof.marker is None or proof.marker.document not in place:
        return None
    time = place[proof.marker.document]
    known = [(place.get(step.document, -1), step.object) for step in proof.steps]
    before = [value for when, value in known if when < time]
    return before[-1] if before and all(when != time for when, _ in known) else None


def _values_like(key: Key, corpus: Corpus) -> tuple[str, ...]:
    """Returns the values of the thing itself, then those of things with the same kind of names."""
    slots = dialogue_prose().slots
    wanted = slots[key[1]].names if key[1] in slots else None
    histories = corpus.sessions.histories
    values = [mention.stated.object for mention in histories[key]]
    for (_, relation), mentions in histories.items():
        if relation == key[1] or (wanted and relation in slots and slots[relation].names == wanted):
            values += [mention.stated.object for mention in mentions]
    return tuple(dict.fromkeys(values))


def _support(step: ProofStep, corpus: Corpus) -> Mention:
    found = corpus.sessions.histories[step.subject, step.relation]
    return next(m for m in found if as_step(m) == step)


def _variables(key: Key, proof: RecallProof) -> dict[str, str]:
    """Returns what a wording may use.

    Raises:
        KeyError: the prose has no such thing.
        IndexError: there is no word for the position.
    """
    holder, relation = key
    prose = dialogue_prose()
    form = prose.lists.get(relation)
    return {
        "what": "" if form else f"{possessive(holder)} {relation}",
        "word": "Which" if form else prose.slots[relation].word,
        "noun": form.noun if form else "",
        "did": form.did if form else "",
        "ordinal": ORDINALS[proof.position - 1] if proof.position else "",
        "value": proof.value or "",
        "marker": proof.marker.object if proof.marker else "",
    }
