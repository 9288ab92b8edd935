"""Paths: the answer is what a chain of statements leads to ("the birthplace of the director of X").

Steps may run against their statement where the relation can be asked backwards ("Which person was
born in the capital of Peru?").
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from longspan.harness.passport import EvidenceSpan, Obfuscation, PathProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.chain import check_chains, reached
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.triples.obfuscate import describe
from longspan.synth_templates.triples.paths import Hop
from longspan.synth_templates.triples.relations import Lexicon

MAX_HOPS = 6


class PathKind(KindBase):
    """A question for the end of a path.

    Its wording may use `path` (the noun phrase of the answer), `ask` (the question without its
    mark: "What is ...", "Which person ..."), `word`, `answer_as` ("its full dotted name"), `start`
    and `hops`.
    """

    shape: Literal["path"]
    hops: int = Field(default=1, ge=1, le=MAX_HOPS)
    """Steps of the path."""
    relations: str = "entity"
    """Group of relations that the path may use."""
    last_relations: str | None = None
    """Group of relations of the last step; None: that of the others."""
    distinct_relations: bool = False
    """No relation is used twice: "the location of the location of X" reads badly."""
    inverse: Literal["never", "maybe", "always"] = "never"
    """Whether steps run backwards: none, any, or one at least."""
    answer: Literal["entity", "sentence"] = "entity"
    """The entity that is reached, or the whole sentence that names it."""
    obfuscated: bool = False
    """The start is described instead of named ("the film that was released in the 1970s")."""


def draw(kind: PathKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random path, or why there is none."""
    sampler = corpus.sampler(
        kind.relations, inverse=kind.inverse != "never", last_group=kind.last_relations
    )
    path = sampler.sample(rng, kind.hops, distinct_relations=kind.distinct_relations)
    if path is None:
        return Rejected("no unique path", is_final=not sampler.has_paths(kind.hops))
    if kind.inverse == "always" and not any(hop.inverse for hop in path):
        return Rejected("no step runs backwards")
    described = describe_start(path, corpus, rng) if kind.obfuscated else None
    if kind.obfuscated and described is None:
        return Rejected("no description that identifies the start")
    start = described[0].text if described else path[0].stated_source
    last = path[-1]
    form = corpus.lexicon.form(last.edge.relation)
    before = path_phrase(corpus.lexicon, path[:-1], start)
    evidence = tuple(edge_span(hop.edge, corpus) for hop in path)
    is_sentence = kind.answer == "sentence"
    return Draft(
        kind,
        evidence[-1].quote.rstrip(".") if is_sentence else last.stated_target,
        PathProof(steps=tuple(map(proof_step, path)), answer=kind.answer),
        evidence,
        {
            "path": form.noun_phrase(before, inverse=last.inverse),
            "ask": form.ask(before, inverse=last.inverse),
            "word": form.word,
            "answer_as": form.answer_as,
            "start": start,
            "hops": kind.hops,
        },
        option_pool=_others(path, corpus) if kind.num_options else (),
        names_answer=is_sentence,
        is_common=kind.paradigm == "code",
        obfuscations=(described[0],) if described else (),
        description_evidence=described[1] if described else (),
    )


def describe_start(
    path: Sequence[Hop], corpus: Corpus, rng: random.Random
) -> tuple[Obfuscation, tuple[EvidenceSpan, ...]] | None:
    """Returns a description of where a path begins and its evidence; None where there is none."""
    found = describe(path[0].source, corpus, rng, [hop.target for hop in path])
    if found is None:
        return None
    return found[0], tuple(edge_span(edge, corpus) for edge in found[1])


def path_phrase(lexicon: Lexicon, path: Sequence[Hop], start: str) -> str:
    """Returns the noun phrase of a path's end: "the birthplace of the director of Alien"."""
    phrase = start
    for hop in path:
        phrase = lexicon.form(hop.edge.relation).noun_phrase(phrase, inverse=hop.inverse)
    return phrase


def check(proof: PathProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems = check_chains((proof.steps,), row, corpus)
    steps = proof.steps
    found = reached(proof.steps, corpus)
    if len(found) != 1:
        problems.append(f"answer is not unique: the path leads to {sorted(found)}")
    answer = steps[-1].target
    if proof.answer == "sentence":
        answer = row.passport.evidence[-1].quote.rstrip(".") if row.passport else ""
    elif not (row.passport and row.passport.options) and find_mentions(answer, row.question):
        problems.append("answer stands in the question")
    return problems, answer


def _others(path: Sequence[Hop], corpus: Corpus) -> tuple[str, ...]:
    """Returns what else the last relation leads to in the corpus, but for what the path passes."""
    passed = {hop.source for hop in path}
    ends = corpus.ends(path[-1].edge.relation, inverse=path[-1].inverse)
    return tuple(end for end in ends if corpus.key(end) not in passed)
