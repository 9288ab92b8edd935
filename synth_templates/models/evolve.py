"""Self-evolution (MASE): proposer, solver and verifier make questions over clusters of documents.

The proposer writes a question, its answer and quotes; the solver answers from the quoted documents
alone; the verifier judges whether both answers are equivalent; a blind solver must fail without
documents (arXiv 2512.12967, section 3). What is confirmed goes into the cluster's history, which
the next proposals are told to be harder than and different from. A model that talks nonsense costs
a proposal, never the run.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longspan.harness.datasets.documents import Document, render_document
from longspan.harness.scoring.judge_prompts import neutralise
from longspan.harness.taskset import Split
from longspan.synth_templates.models.calls import Journal, open_caller
from longspan.synth_templates.models.clusters import cluster_documents
from longspan.synth_templates.models.model_plan import EvolvePlan
from longspan.synth_templates.models.proposals import Accepted, Proposal, why_unfit
from longspan.synth_templates.models.structured import ask_for, fill_prompt, problem_kind, quoted
from longspan.synth_templates.models.trial import Roles, Trial
from longspan.synth_templates.models.waves import (
    MAX_HISTORY,
    Asking,
    ProposalReport,
    Proposals,
    Subject,
    in_waves,
)
from longspan.synth_templates.shapes.evolve import EvolveKind


@dataclass
class _Cluster(Subject):
    """Similar documents."""

    documents: tuple[Document, ...] = ()


def evolve(
    asking: Asking, kinds: Sequence[EvolveKind], plan: EvolvePlan, journal: Journal
) -> Proposals:
    """Returns questions that models made about the documents.

    Args:
        asking: The documents, and how many questions are wanted.
        kinds: The kinds.
        plan: Models and limits.
        journal: Replies that were paid for.

    Raises:
        ModelError: a model cannot be used, or fails at everything.
        SynthesisError: scikit-learn is not installed.
    """
    roles = Roles(
        open_caller(plan.proposer, journal),
        open_caller(plan.solver, journal),
        open_caller(plan.verifier, journal),
        open_caller(plan.blind or plan.solver, journal),
    )
    report = ProposalReport()

    async def run() -> dict[Split, dict[str, list[Accepted]]]:
        return {
            split: await _evolve_split(
                _Making(roles, plan, report, f"{asking.seed}/{split}"),
                corpus.documents,
                asking.wanted[split],
                kinds,
            )
            for split, corpus in asking.corpora.items()
        }

    return asyncio.run(run()), report


@dataclass
class _Making:
    """What all proposals of a split share."""

    roles: Roles
    plan: EvolvePlan
    report: ProposalReport
    label: str

    async def propose(self, cluster: _Cluster, kind: EvolveKind, wave: int) -> Accepted | None:
        """Returns a question of a kind over a cluster, None if it was not confirmed."""
        self.report.proposed[kind.name] += 1
        label = f"{self.label}/{cluster.name}/{wave}"
        roles = self.roles
        asked = await ask_for(
            roles.proposer,
            _prompt(kind, cluster),
            Proposal,
            label=f"evolve/{label}",
            retries=self.plan.proposer.retries,
            check=lambda one: why_unfit(
                one,
                cluster.documents,
                kind.num_options,
                kind.max_answer_words,
                cluster.history,
            ),
        )
        self.report.problems.update(map(problem_kind, asked.problems))
        if asked.value is None:
            self.report.cost += asked.cost
            self.report.rejected[f"proposal: {problem_kind(asked.problems[-1])}"] += 1
            return None
        trial = Trial(roles, kind, asked.value, cluster.documents, label, asked.cost)
        trial.note("proposer", roles.proposer, asked.prompt_hash, asked.value.model_dump_json())
        accepted = await trial.run()
        self.report.cost += trial.cost
        if isinstance(accepted, str):
            self.report.rejected[accepted] += 1
            return None
        self.report.accepted[kind.name] += 1
        return accepted


async def _evolve_split(
    making: _Making,
    documents: Sequence[Document],
    wanted: Mapping[str, int],
    kinds: Sequence[EvolveKind],
) -> dict[str, list[Accepted]]:
    clusters = _clusters(making, documents) if any(wanted.values()) else []
    return await in_waves(clusters, kinds, wanted, making.plan.rounds, making.propose)


def _clusters(making: _Making, documents: Sequence[Document]) -> list[_Cluster]:
    plan = making.plan
    short = [document for document in documents if len(document.text) <= plan.max_document_chars]
    rng = random.Random(f"clusters/{making.label}")
    made = cluster_documents(short, plan.cluster_documents, rng)
    chosen = itertools.islice(made, plan.max_clusters)
    return [_Cluster(str(number), documents=members) for number, members in enumerate(chosen)]


def _prompt(kind: EvolveKind, cluster: _Cluster) -> str:
    documents = "\n\n".join(
        f"Document {number}:\n{quoted('document', render_document(document))}"
        for number, document in enumerate(cluster.documents, start=1)
    )
    values = {
        "instruction": kind.instruction,
        "documents": documents,
        "history": "\n".join(
            f"- {neutralise(question)}" for question in cluster.history[-MAX_HISTORY:]
        ),
        "num_wrong": kind.num_options - 1 if kind.num_options else 0,
        "max_answer_words": kind.max_answer_words,
    }
    return fill_prompt(kind.prompt, values)
