"""What a shape gives: a draft of a question with its answer, proof and evidence."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from longspan.harness.passport import (
    Cost,
    EvidenceSpan,
    Obfuscation,
    Proof,
    ProofStep,
    num_hops,
)
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.models.proposals import Accepted
from longspan.synth_templates.triples.graph import Edge
from longspan.synth_templates.triples.paths import Hop
from longspan.synth_templates.triples.relations import object_class

MIN_SECRET_CHARS = 4


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
        names_answer: Whether the question may hold its answer ("Who is older, A or B?").
        is_common: Whether the answer stands in other documents for other reasons, as identifiers
            of source code do.
        obfuscations: Entities that the wording describes instead of naming them.
        description_evidence: Spans that support those descriptions, in order.
        cost: What it cost to make.
    """

    kind: KindBase
    answer: str
    proof: Proof
    evidence: tuple[EvidenceSpan, ...]
    variables: dict[str, Any]
    option_pool: tuple[str, ...] = ()
    names_answer: bool = False
    is_common: bool = False
    obfuscations: tuple[Obfuscation, ...] = ()
    description_evidence: tuple[EvidenceSpan, ...] = ()
    cost: Cost = Cost()

    @property
    def secret(self) -> str | None:
        """The answer where no other document should hold its text: no number, no candidate."""
        is_secret = not (self.names_answer or self.is_common)
        is_secret = is_secret and len(self.answer) >= MIN_SECRET_CHARS
        return self.answer if is_secret and object_class(self.answer) != "number" else None

    @property
    def hops(self) -> int | None:
        """Statements that the answer needs; None where they are not steps."""
        return num_hops(self.proof, self.obfuscations)

    @property
    def documents(self) -> tuple[str, ...]:
        """Ids of the evidence documents, in order of the proof."""
        return tuple(dict.fromkeys(span.document for span in self.all_evidence))

    @property
    def all_evidence(self) -> tuple[EvidenceSpan, ...]:
        """The spans of the proof and of the descriptions."""
        return (*self.evidence, *self.description_evidence)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a draw gave no sample.

    Attributes:
        reason: What is counted.
        is_final: Whether no other draw of this kind from this corpus can do better.
    """

    reason: str
    is_final: bool = False


def draw_proposal(kind: KindBase, corpus: Corpus, rng: random.Random) -> Accepted | Rejected:
    """Returns one of the questions that models made of a kind and confirmed, if there are any."""
    accepted = corpus.proposals.get(kind.name, ())
    return rng.choice(accepted) if accepted else Rejected("no confirmed proposal", is_final=True)


def quote(corpus: Corpus, document: str, start: int, end: int) -> EvidenceSpan:
    """Returns the evidence span of a passage of the corpus."""
    text = corpus.by_id[document].text[start:end]
    return EvidenceSpan(document=document, start=start, end=end, quote=text)


def edge_span(edge: Edge, corpus: Corpus) -> EvidenceSpan:
    """Returns the passage that supports an edge."""
    return quote(corpus, edge.document, edge.start, edge.end)


def proof_step(hop: Hop) -> ProofStep:
    """Returns a hop as its document states it."""
    return ProofStep(
        subject=hop.edge.stated.subject,
        relation=hop.edge.stated.relation,
        object=hop.edge.stated.object,
        document=hop.edge.document,
        inverse=hop.inverse,
    )
