"""From a kind and a corpus to a draft: answer, proof and evidence, and later the wording.

One function per shape. A shape returns a `Draft`, or the reason why this draw gave none: reasons
are counted in the manifest, so that low yields can be explained. The wording comes after the
context, since options of a choice are taken from the context where possible.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.passport import (
    CompareProof,
    EvidenceSpan,
    PathProof,
    Proof,
    ProofStep,
    TableProof,
)
from longspan.harness.templates import render
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.graph import Edge, find_mentions, normalise_entity
from longspan.synth_templates.kind import Kind
from longspan.synth_templates.relations import Lexicon, numeric_value, object_class
from longspan.synth_templates.tables import compute, format_number

INNER = "{{ inner }}"


@dataclass(frozen=True)
class Draft:
    """A question before it is worded.

    Attributes:
        kind: Its kind.
        answer: The gold answer (for a choice: the text of the right option).
        proof: How the answer follows.
        evidence: Spans that support the proof's steps, in order.
        variables: What the wording may use.
        option_pool: Wrong options to choose from.
    """

    kind: Kind
    answer: str
    proof: Proof
    evidence: tuple[EvidenceSpan, ...]
    variables: dict[str, Any]
    option_pool: tuple[str, ...] = ()

    @property
    def hops(self) -> int | None:
        """Number of steps of a path, None for other shapes."""
        return len(self.proof.steps) if isinstance(self.proof, PathProof) else None

    @property
    def documents(self) -> tuple[str, ...]:
        """Ids of the evidence documents, in order of the proof."""
        return tuple(dict.fromkeys(span.document for span in self.evidence))


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a draw gave no sample.

    Attributes:
        reason: What is counted.
        is_final: Whether no other draw of this kind from this corpus can do better.
    """

    reason: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Worded:
    """A question as it is asked: text, target and the options it lists."""

    question: str
    target: str
    options: tuple[str, ...] = ()


def draw(kind: Kind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns a draft of a kind drawn from a corpus, or why this draw gave none."""
    return _SHAPES[kind.shape](kind, corpus, rng)


def word(draft: Draft, context: Sequence[Document], rng: random.Random) -> Worded | Rejected:
    """Returns the question of a draft over its context, or why it cannot be asked."""
    kind, variables, target = draft.kind, draft.variables, draft.answer
    options: tuple[str, ...] = ()
    if kind.shape == "choice":
        chosen = _choose_options(draft, context, rng)
        if isinstance(chosen, Rejected):
            return chosen
        options = chosen
        listed = ", ".join(f"{o} ({x})" for o, x in zip(options, ascii_uppercase, strict=False))
        variables = {**variables, "options": listed}
        target = ascii_uppercase[options.index(draft.answer)]
    question = render(rng.choice(kind.question), variables)
    asked = question if kind.shape != "choice" else str(variables["path"])
    if kind.shape in ("path", "choice") and find_mentions(draft.answer, asked):
        return Rejected("answer in question")
    return Worded(question, target, options)


def path_phrase(lexicon: Lexicon, start: str, relations: Sequence[str]) -> str:
    """Returns the noun phrase of a path: "the birthplace of the director of Alien"."""
    phrase = start
    for relation in relations:
        before, _, after = lexicon.forms[relation].phrase.partition(INNER)
        phrase = f"{before}{phrase}{after}"
    return phrase


def _draw_path(kind: Kind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    sampler = corpus.sampler(kind.relations)
    path = sampler.sample(rng, kind.hops, distinct_relations=kind.distinct_relations)
    if path is None:
        return Rejected("no unique path", is_final=not sampler.has_paths(kind.hops))
    last = corpus.lexicon.forms[path[-1].relation]
    phrase = path_phrase(corpus.lexicon, path[0].stated.subject, [e.relation for e in path])
    evidence = tuple(_span(edge, corpus) for edge in path)
    is_sentence = kind.shape == "sentence"
    return Draft(
        kind,
        evidence[-1].quote.rstrip(".") if is_sentence else path[-1].stated.object,
        PathProof(
            steps=tuple(_step(edge) for edge in path),
            answer="sentence" if is_sentence else "object",
        ),
        evidence,
        {"path": phrase, "word": last.word, "start": path[0].stated.subject, "hops": kind.hops},
        option_pool=corpus.objects[path[-1].relation] if kind.shape == "choice" else (),
    )


def _draw_compare(kind: Kind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    relation = str(kind.relation)
    edges = corpus.functional_edges(relation)
    if len(edges) < 2:
        return Rejected("nothing to compare", is_final=True)
    first, second = rng.sample(edges, 2)
    values = [numeric_value(edge.stated.object) for edge in (first, second)]
    if None in values or values[0] == values[1] or first.document == second.document:
        return Rejected("values do not differ")
    larger = first if float(values[0] or 0) > float(values[1] or 0) else second
    smaller = second if larger is first else first
    winner = larger if kind.pick == "largest" else smaller
    return Draft(
        kind,
        winner.stated.subject,
        CompareProof(steps=(_step(first), _step(second)), pick=kind.pick),
        (_span(first, corpus), _span(second, corpus)),
        {"first": first.stated.subject, "second": second.stated.subject},
    )


def _draw_table(kind: Kind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    if not corpus.tables or kind.operation is None:
        return Rejected("no table", is_final=True)
    table = rng.choice(corpus.tables)
    threshold = None
    if kind.operation == "count_above":
        values = [value for _, value in table.rows]
        threshold = float(rng.randint(max(1, int(min(values)) - 1), max(1, int(max(values)))))
    result = compute(table.rows, kind.operation, threshold)
    text = corpus.by_id[table.document].text
    span = EvidenceSpan(
        document=table.document,
        start=table.start,
        end=table.end,
        quote=text[table.start : table.end],
    )
    variables = {"subject": table.subject, "column": table.column}
    if threshold is not None:
        variables["threshold"] = format_number(threshold)
    proof = TableProof(
        document=table.document,
        subject=table.subject,
        column=table.column,
        rows=table.rows,
        operation=kind.operation,
        threshold=threshold,
    )
    return Draft(kind, format_number(result), proof, (span,), variables)


_SHAPES: dict[str, Callable[[Kind, Corpus, random.Random], Draft | Rejected]] = {
    "path": _draw_path,
    "choice": _draw_path,
    "sentence": _draw_path,
    "compare": _draw_compare,
    "table": _draw_table,
}


def _choose_options(
    draft: Draft, context: Sequence[Document], rng: random.Random
) -> tuple[str, ...] | Rejected:
    """Returns the options in the order of their letters: the answer and others of its relation.

    Others that stand in the context come first. An option that shares all its words with another
    one is left out, and for kinds that ask for it, an option that the evidence mentions: it may be
    true without being claimed.
    """
    answer, wanted = draft.answer, draft.kind.num_options - 1
    evidence = [document for document in context if document.id in draft.documents]
    pool = [o for o in draft.option_pool if object_class(o) == object_class(answer)]
    if draft.kind.unmentioned_options:
        pool = [o for o in pool if not any(_mentions(o, document) for document in evidence)]
    rng.shuffle(pool)
    if len(pool) > wanted:
        text = render_context(context)
        near = [o for o in pool if find_mentions(o, text)]
        pool = list(dict.fromkeys([*near, *pool]))
    chosen = [answer]
    for option in pool:
        if len(chosen) <= wanted and not any(_overlaps(option, other) for other in chosen):
            chosen.append(option)
    if len(chosen) <= wanted:
        return Rejected("too few options")
    rng.shuffle(chosen)
    return tuple(chosen)


def _mentions(name: str, document: Document) -> bool:
    return bool(find_mentions(name, document.text)) or bool(find_mentions(name, document.title))


def _overlaps(first: str, second: str) -> bool:
    a, b = set(normalise_entity(first).split()), set(normalise_entity(second).split())
    return a <= b or b <= a


def _step(edge: Edge) -> ProofStep:
    return ProofStep(
        subject=edge.stated.subject,
        relation=edge.stated.relation,
        object=edge.stated.object,
        document=edge.document,
    )


def _span(edge: Edge, corpus: Corpus) -> EvidenceSpan:
    quote = corpus.by_id[edge.document].text[edge.start : edge.end]
    return EvidenceSpan(document=edge.document, start=edge.start, end=edge.end, quote=quote)
