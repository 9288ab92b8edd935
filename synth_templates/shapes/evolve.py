"""Questions that models made and confirmed (`longspan.synth_templates.models.evolve`)."""

from __future__ import annotations

import random
from collections import Counter
from typing import Literal

from pydantic import Field, ValidationError

from longspan.harness.passport import TranscriptProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.models.proposals import Proposal, agrees, transcript_hash
from longspan.synth_templates.models.quotes import find_quote
from longspan.synth_templates.shapes.draft import Draft, Rejected, draw_proposal


class EvolveKind(KindBase):
    """A question that a model proposes; its wording may use `question` (and `options`)."""

    shape: Literal["evolve"]
    instruction: str = Field(min_length=20)
    """What the proposer is told of the kind of question that is wanted."""
    max_answer_words: int = Field(default=12, ge=1)
    """Longest answer."""
    prompt: str = Field(default="propose", pattern=r"^[a-z_]+$")
    """Packaged prompt template (`prompts/*.jinja`) around the instruction."""


def draw(kind: EvolveKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns one of the confirmed questions of a kind, or why there is none."""
    chosen = draw_proposal(kind, corpus, rng)
    if isinstance(chosen, Rejected):
        return chosen
    proof = chosen.proof
    assert isinstance(proof, TranscriptProof)
    return Draft(
        kind,
        proof.answer,
        proof,
        chosen.evidence,
        {"question": proof.question},
        option_pool=tuple(option for option in proof.options if option != proof.answer),
        cost=chosen.cost,
    )


def check(proof: TranscriptProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a transcript, and the answer that it confirms."""
    roles = Counter(turn.role for turn in proof.turns)
    if max(roles.values()) > 1:
        return ["a role speaks twice in the transcript"], ""
    if proof.hash != transcript_hash(proof.question, proof.answer, proof.options, proof.turns):
        return ["transcript does not match its hash"], ""
    problems = _check_proposal(proof, row)
    if proof.options and proof.answer not in proof.options:
        return [*problems, "the solver was not shown the answer among the options"], ""
    if proof.question not in row.question:
        problems.append("question is not the one proposed")
    if not agrees(proof, "solver", "verifier", row.scorer):
        problems.append("the solver's answer is not confirmed")
    if "blind" not in roles:
        problems.append("no blind solver was asked")
    elif agrees(proof, "blind", "blind_verifier", row.scorer) is not False:
        problems.append("it was answered without documents, or nobody judged that")
    return problems, proof.answer


def _check_proposal(proof: TranscriptProof, row: SampleRow) -> list[str]:
    text = next((turn.text for turn in proof.turns if turn.role == "proposer"), "")
    try:
        proposal = Proposal.model_validate_json(text)
    except ValidationError:
        return ["transcript holds no proposal"]
    if (proposal.question, proposal.answer) != (proof.question, proof.answer):
        return ["question or answer is not the proposed one"]
    if proof.options and sorted(proof.options) != sorted((proof.answer, *proposal.wrong_options)):
        return ["options are not the proposed ones"]
    spans = row.passport.evidence if row.passport else ()
    places = [
        find_quote(span.quote, quote.quote)
        for span, quote in zip(spans, proposal.quotes, strict=False)
    ]
    whole = [(0, len(span.quote)) for span in spans]
    return [] if places == whole else ["evidence is not what was quoted"]
