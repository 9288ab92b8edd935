"""From a kind and a corpus to a question: the draft first, the wording after the context.

A shape (`longspan.synth_templates.shapes`) draws the draft, or says why this draw gave none:
reasons are counted in the manifest, so that low yields can be explained. The wording comes after
the context, since options of a choice are taken from the context where possible.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from longspan.harness.datasets.documents import Document
from longspan.harness.templates import render
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.shapes.draft import Draft, Rejected
from longspan.synth_templates.shapes.registry import DRAW, Kind
from longspan.synth_templates.triples.graph import find_mentions, normalise_entity, words_of
from longspan.synth_templates.triples.relations import object_class


@dataclass(frozen=True, slots=True)
class Worded:
    """A question as it is asked: text, target and the options it lists."""

    question: str
    target: str
    options: tuple[str, ...] = ()


def draw(kind: Kind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns a draft of a kind drawn from a corpus, or why this draw gave none."""
    return DRAW[kind.shape](kind, corpus, rng)


def word(
    draft: Draft, corpus: Corpus, context: Sequence[Document], rng: random.Random
) -> Worded | Rejected:
    """Returns the question of a draft over its context, or why it cannot be asked."""
    options: tuple[str, ...] = ()
    target = draft.answer
    if draft.kind.num_options:
        chosen = _choose_options(draft, corpus, context, rng)
        if isinstance(chosen, Rejected):
            return chosen
        options = chosen
        target = ascii_uppercase[options.index(draft.answer)]
    wording = rng.choice(draft.kind.question)
    unlisted = render(wording, {**draft.variables, "options": ""})
    if not draft.names_answer and find_mentions(draft.answer, unlisted):
        return Rejected("answer in question")
    if not options:
        return Worded(unlisted, target)
    question = render(wording, {**draft.variables, "options": list_options(options)})
    return Worded(question, target, options)


def core_question(question: str, options: Sequence[str]) -> str:
    """Returns a choice without its options, "" for a question that has none."""
    return question.replace(list_options(options), "").strip() if options else ""


def list_options(options: Sequence[str]) -> str:
    """Returns the options as a question lists them: "Rome (A), Oslo (B)"."""
    return ", ".join(f"{o} ({x})" for o, x in zip(options, ascii_uppercase, strict=False))


def _choose_options(
    draft: Draft, corpus: Corpus, context: Sequence[Document], rng: random.Random
) -> tuple[str, ...] | Rejected:
    """Returns the options in the order of their letters: the answer and others of its relation.

    Others that stand in the context come first. An option that shares all its words with another
    one is left out, and for kinds that ask for it, an option that the evidence mentions: it may be
    true without being claimed.
    """
    answer, wanted = draft.answer, draft.kind.num_options or 0
    pool = [o for o in draft.option_pool if object_class(o) == object_class(answer)]
    if draft.kind.unmentioned_options:
        evidence = set(draft.documents)
        pool = [o for o in pool if not corpus.words.is_held(o, evidence)]
    rng.shuffle(pool)
    names = {document.id for document in context}
    ordered: Iterable[str] = pool
    if len(pool) > wanted - 1:
        ordered = _first_where(lambda option: corpus.words.is_held(option, names), pool)
    chosen = [answer]
    for option in ordered:
        if len(chosen) == wanted:
            break
        if not any(_overlaps(option, other) for other in chosen):
            chosen.append(option)
    if len(chosen) < wanted:
        return Rejected("too few options")
    rng.shuffle(chosen)
    return tuple(chosen)


def _first_where(test: Callable[[str], bool], names: Iterable[str]) -> Iterator[str]:
    """Returns the names that pass a test, then the others, in order; tests no more than is read."""
    others = []
    for name in names:
        if test(name):
            yield name
        else:
            others.append(name)
    yield from others


def _overlaps(first: str, second: str) -> bool:
    a, b = words_of(normalise_entity(first)), words_of(normalise_entity(second))
    return a <= b or b <= a
