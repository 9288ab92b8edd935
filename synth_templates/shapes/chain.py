"""Re-executing chains of statements: what every proof of triples is made of."""

from __future__ import annotations

from collections.abc import Sequence

from longspan.harness.passport import EvidenceSpan, Obfuscation, ProofStep
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.code.source import CODE_FORMATS
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.triples.graph import Edge, find_mentions, is_page_of
from longspan.synth_templates.triples.obfuscate import period, render_description, satisfying
from longspan.synth_templates.triples.relations import numeric_value


def check_chains(
    chains: Sequence[Sequence[ProofStep]], row: SampleRow, corpus: Corpus
) -> list[str]:
    """Returns what is wrong with chains whose steps are supported by the evidence, in order.

    Each step must be stated by its document and supported by its span, the steps of a chain must
    follow from one another without a cycle, no two steps share a document, and the question must
    name where each chain begins.
    """
    steps = [step for chain in chains for step in chain]
    passport = row.passport
    obfuscations = passport.obfuscations if passport else ()
    evidence = passport.evidence if passport else ()
    said = [constraint.statement for o in obfuscations for constraint in o.constraints]
    if len(steps) + len(said) != len(evidence):
        return [f"{len(steps) + len(said)} steps but {len(evidence)} evidence spans"]
    supported = zip([*steps, *said], evidence, strict=True)
    problems = [problem for step, span in supported for problem in check_step(step, span, corpus)]
    problems += [problem for o in obfuscations for problem in _check_obfuscation(o, row, corpus)]
    hidden = {corpus.key(o.entity) for o in obfuscations}
    if len({step.document for step in steps}) < len(steps):
        problems.append("two steps share a document")
    problems += [
        f"{step.subject!r} has more than one {step.relation}"
        for step in steps
        if not step.inverse and not _is_functional(step, corpus)
    ]
    for chain in chains:
        problems += _check_links(chain, corpus)
        is_named = bool(find_mentions(chain[0].source, row.question))
        if not is_named and corpus.key(chain[0].source) not in hidden:
            problems.append(f"question does not name {chain[0].source!r}")
    return problems


def check_step(step: ProofStep, span: EvidenceSpan, corpus: Corpus) -> list[str]:
    """Returns what is wrong with one step and the passage that supports it."""
    document = corpus.by_id.get(step.document)
    where = f"({step.subject}, {step.relation}, {step.object})"
    if document is None or span.document != step.document:
        return [f"evidence for {where} is in another document"]
    if document.format in CODE_FORMATS:
        ends = corpus.key(step.subject), step.relation, corpus.key(step.object)
        edge = Edge(*ends, step.triple, step.document, span.start, span.end)
        if not corpus.graph.has_edge(edge):
            return [f"the source in document {step.document} does not say {where} there"]
        return []
    if step.triple not in document.triples:
        return [f"document {step.document} does not state {where}"]
    is_page = is_page_of(document, step.subject)
    if not find_mentions(step.object, span.quote) or not (
        is_page or find_mentions(step.subject, span.quote)
    ):
        return [f"evidence does not hold subject and object of {where}"]
    return []


def reached(steps: Sequence[ProofStep], corpus: Corpus) -> set[str]:
    """Returns the keys of all that the relations of a chain lead to from its start."""
    relations = [(corpus.lexicon.canonical(step.triple), step.inverse) for step in steps]
    return corpus.graph.follow(corpus.key(steps[0].source), relations)


def _is_functional(step: ProofStep, corpus: Corpus) -> bool:
    relation = corpus.lexicon.canonical(step.triple)
    return corpus.graph.is_functional(corpus.key(step.subject), relation)


def _check_obfuscation(o: Obfuscation, row: SampleRow, corpus: Corpus) -> list[str]:
    """Returns what is wrong with a description: wording, subject, uniqueness."""
    if any(corpus.lexicon.canonical(c.statement.triple)[:1] == "~" for c in o.constraints):
        return [f"description {o.text!r} uses a relation that is not in the lexicon"]
    problems = []
    if o.text != render_description(o.constraints, corpus) or o.text not in row.question:
        problems.append(f"question does not hold the description {o.text!r}")
    key = corpus.key(o.entity)
    if {corpus.key(c.statement.subject) for c in o.constraints} != {key}:
        problems.append(f"description {o.text!r} is not about {o.entity!r}")
    if satisfying(o.constraints, corpus) != {key}:
        problems.append(f"description {o.text!r} does not identify {o.entity!r}")
    for constraint in o.constraints:
        year = numeric_value(constraint.statement.object)
        years = constraint.years
        if years and (year is None or not years[0] <= year <= years[1]):
            problems.append(f"{constraint.statement.object!r} is not {period(years)}")
    return problems


def _check_links(chain: Sequence[ProofStep], corpus: Corpus) -> list[str]:
    problems = [
        f"path breaks between {step.target!r} and {following.source!r}"
        for step, following in zip(chain, chain[1:], strict=False)
        if corpus.key(step.target) != corpus.key(following.source)
    ]
    nodes = [corpus.key(name) for name in (chain[0].source, *(s.target for s in chain))]
    if len(set(nodes)) < len(nodes):
        problems.append("path has a cycle")
    return problems
