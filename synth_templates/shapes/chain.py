"""Re-executing chains of statements: what every proof of triples is made of."""

from __future__ import annotations

from collections.abc import Sequence

from longspan.harness.datasets.documents import Triple
from longspan.harness.passport import EvidenceSpan, ProofStep
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.code_source import CODE_FORMATS
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.graph import Edge, find_mentions, normalise_entity


def check_chains(
    chains: Sequence[Sequence[ProofStep]], row: SampleRow, corpus: Corpus
) -> list[str]:
    """Returns what is wrong with chains whose steps are supported by the evidence, in order.

    Each step must be stated by its document and supported by its span, the steps of a chain must
    follow from one another without a cycle, no two steps share a document, and the question must
    name where each chain begins.
    """
    steps = [step for chain in chains for step in chain]
    evidence = row.passport.evidence if row.passport else ()
    if len(steps) != len(evidence):
        return [f"{len(steps)} steps but {len(evidence)} evidence spans"]
    problems = [p for s, e in zip(steps, evidence, strict=True) for p in check_step(s, e, corpus)]
    if len({step.document for step in steps}) < len(steps):
        problems.append("two steps share a document")
    for chain in chains:
        problems += _check_links(chain)
        if not find_mentions(chain[0].source, row.question):
            problems.append(f"question does not name {chain[0].source!r}")
    return problems


def check_step(step: ProofStep, span: EvidenceSpan, corpus: Corpus) -> list[str]:
    """Returns what is wrong with one step and the passage that supports it."""
    document = corpus.by_id.get(step.document)
    where = f"({step.subject}, {step.relation}, {step.object})"
    if document is None or span.document != step.document:
        return [f"evidence for {where} is in another document"]
    if document.format in CODE_FORMATS:
        ends = normalise_entity(step.subject), step.relation, normalise_entity(step.object)
        edge = Edge(*ends, stated(step), step.document, span.start, span.end)
        if not corpus.graph.has_edge(edge):
            return [f"the source in document {step.document} does not say {where} there"]
        return []
    if stated(step) not in document.triples:
        return [f"document {step.document} does not state {where}"]
    is_page = normalise_entity(document.title) == normalise_entity(step.subject)
    if not find_mentions(step.object, span.quote) or not (
        is_page or find_mentions(step.subject, span.quote)
    ):
        return [f"evidence does not hold subject and object of {where}"]
    return []


def reached(steps: Sequence[ProofStep], corpus: Corpus) -> set[str]:
    """Returns the keys of all that the relations of a chain lead to from its start."""
    relations = [(corpus.lexicon.canonical(stated(step)), step.inverse) for step in steps]
    return corpus.graph.follow(normalise_entity(steps[0].source), relations)


def stated(step: ProofStep) -> Triple:
    """Returns the statement of a step."""
    return Triple(subject=step.subject, relation=step.relation, object=step.object)


def _check_links(chain: Sequence[ProofStep]) -> list[str]:
    problems = [
        f"path breaks between {step.target!r} and {following.source!r}"
        for step, following in zip(chain, chain[1:], strict=False)
        if normalise_entity(step.target) != normalise_entity(following.source)
    ]
    nodes = [normalise_entity(name) for name in (chain[0].source, *(s.target for s in chain))]
    if len(set(nodes)) < len(nodes):
        problems.append("path has a cycle")
    return problems
