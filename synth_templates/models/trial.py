"""The trial of one proposal: solver, verifier and blind solver, recorded as its transcript."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from inspect_ai.model import ChatMessageUser

from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.passport import Cost, TranscriptProof, TranscriptRole, TranscriptTurn
from longspan.harness.prompts import DEFAULT_INSTRUCTIONS, render_prompt, render_question
from longspan.harness.scoring.judge import ask
from longspan.harness.scoring.judge_prompts import JudgeRequest
from longspan.harness.templates import render
from longspan.synth_templates.models.calls import Caller, cost_of, identity
from longspan.synth_templates.models.proposals import (
    Accepted,
    Proposal,
    agrees,
    given_answer,
    kept_text,
    quoted_spans,
    transcript_hash,
)
from longspan.synth_templates.models.structured import text_hash
from longspan.synth_templates.questions import list_options
from longspan.synth_templates.shapes.evolve import EvolveKind

_UNFINISHED = ("max_tokens", "model_length")


@dataclass(frozen=True)
class Roles:
    """The models by role."""

    proposer: Caller
    solver: Caller
    verifier: Caller
    blind: Caller


@dataclass
class Trial:
    """One proposal before its solvers and verifiers.

    Attributes:
        roles: The models.
        kind: The kind of question.
        proposal: What is tried.
        documents: The documents that it was made from.
        label: What tells its calls from those of others.
        cost: What it has cost so far.
    """

    roles: Roles
    kind: EvolveKind
    proposal: Proposal
    documents: tuple[Document, ...]
    label: str
    cost: Cost
    _turns: list[TranscriptTurn] = field(default_factory=list)

    async def run(self) -> Accepted | str:
        """Returns the confirmed question, or why it was not."""
        evidence = quoted_spans(self.proposal, self.documents)
        named = {span.document for span in evidence}
        shown = [document for document in self.documents if document.id in named]
        options = self._options()
        variables = {"question": self.proposal.question, "options": list_options(options)}
        question = render(self.kind.question[0], variables)
        prompt = render_prompt(render_context(shown), question)
        if not await self._solve("solver", "verifier", self.roles.solver, prompt):
            return "solver: no whole answer"
        verdict = agrees(self._proof(options), "solver", "verifier", self.kind.scorer)
        if not verdict:
            return "verifier: no verdict" if verdict is None else "verifier: solver disagrees"
        prompt = render_question(question, DEFAULT_INSTRUCTIONS)
        if not await self._solve("blind", "blind_verifier", self.roles.blind, prompt):
            return "blind solver: no whole answer"
        verdict = agrees(self._proof(options), "blind", "blind_verifier", self.kind.scorer)
        if verdict is not False:
            return "blind solver: answered without documents" if verdict else "verifier: no verdict"
        return Accepted(evidence=evidence, proof=self._proof(options), cost=self.cost)

    def note(self, role: TranscriptRole, caller: Caller, prompt_hash: str, text: str) -> None:
        """Adds to the transcript what a model said."""
        turn = TranscriptTurn(
            role=role, model=caller.plan.model, prompt_hash=prompt_hash, text=text
        )
        self._turns.append(turn)

    def _options(self) -> tuple[str, ...]:
        if self.kind.num_options is None:
            return ()
        options = [self.proposal.answer, *self.proposal.wrong_options]
        random.Random(f"options/{self.label}").shuffle(options)
        return tuple(options)

    async def _solve(
        self, role: TranscriptRole, judge: TranscriptRole, solver: Caller, prompt: str
    ) -> bool:
        """Records a solver's reply and, to an open question, its verifier's; False without one."""
        message = ChatMessageUser(content=prompt, metadata=identity(f"{role}/{self.label}"))
        output = await solver.reply([message])
        if isinstance(output, str):
            return False
        self.cost += cost_of(output.usage)
        if not output.choices or output.stop_reason in _UNFINISHED:
            return False
        text = kept_text(output.completion)
        self.note(role, solver, text_hash(prompt), text)
        answer = given_answer(text, self.proposal.answer, self.kind.scorer)
        if self.kind.num_options is None and answer is not None:
            verifier = self.roles.verifier
            gold = (self.proposal.answer,)
            request = JudgeRequest("equivalence", self.proposal.question, gold, answer)
            verdict = await ask(verifier.model, request)
            self.cost += Cost(
                model_calls=1,
                prompt_tokens=verdict.tokens_in,
                sampled_tokens=verdict.tokens_out,
            )
            said = kept_text(verdict.reply) if verdict.value is not None else ""
            self.note(judge, verifier, verdict.prompt_hash, said)
        return True

    def _proof(self, options: tuple[str, ...]) -> TranscriptProof:
        question, answer, turns = self.proposal.question, self.proposal.answer, tuple(self._turns)
        return TranscriptProof(
            question=question,
            answer=answer,
            options=options,
            turns=turns,
            hash=transcript_hash(question, answer, options, turns),
        )
