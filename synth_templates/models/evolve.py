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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longspan.harness.datasets.documents import Document, render_document
from longspan.harness.passport import Cost
from longspan.harness.scoring.judge_prompts import neutralise
from longspan.harness.taskset import Split
from longspan.synth_templates.models.calls import Journal, open_caller
from longspan.synth_templates.models.clusters import cluster_documents
from longspan.synth_templates.models.model_plan import EvolvePlan
from longspan.synth_templates.models.proposals import Accepted, Proposal, why_unfit
from longspan.synth_templates.models.structured import ask_for, fill_prompt, problem_kind, quoted
from longspan.synth_templates.models.trial import Roles, Trial
from longspan.synth_templates.shapes.evolve import EvolveKind

MAX_HISTORY = 12
"""Confirmed questions that a proposer is shown, the last ones."""


@dataclass
class EvolutionReport:
    """What evolution gave and lost."""

    proposed: Counter[str] = field(default_factory=Counter)
    """Kind -> proposals asked for."""
    accepted: Counter[str] = field(default_factory=Counter)
    """Kind -> questions confirmed."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> proposals."""
    problems: Counter[str] = field(default_factory=Counter)
    """Kind of problem -> replies of the proposer that did not fit."""
    cost: Cost = Cost()

    def facts(self) -> dict[str, Any]:
        """Returns what the manifest says."""
        return {
            "proposed": dict(sorted(self.proposed.items())),
            "accepted": dict(sorted(self.accepted.items())),
            "rejected": dict(sorted(self.rejected.items())),
            "unfit_replies": dict(sorted(self.problems.items())),
            "cost": self.cost.model_dump(),
        }


@dataclass
class _Cluster:
    """Documents that questions are made from, and the questions confirmed so far."""

    name: str
    documents: tuple[Document, ...]
    history: list[Accepted] = field(default_factory=list)


def evolve(
    documents: Mapping[Split, Sequence[Document]],
    wanted: Mapping[Split, Mapping[str, int]],
    kinds: Sequence[EvolveKind],
    plan: EvolvePlan,
    journal: Journal,
    seed: int,
) -> tuple[dict[Split, dict[str, list[Accepted]]], EvolutionReport]:
    """Returns confirmed questions by split and kind, and what became of all proposals.

    Args:
        documents: Documents of each split.
        wanted: Split -> kind -> number of questions.
        kinds: The kinds.
        plan: Models and limits.
        journal: Replies that were paid for.
        seed: Decides clusters and the order of options.

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
    report = EvolutionReport()

    async def run() -> dict[Split, dict[str, list[Accepted]]]:
        return {
            split: await _evolve_split(
                _Making(roles, plan, report, f"{seed}/{split}"), part, wanted[split], kinds
            )
            for split, part in documents.items()
        }

    return asyncio.run(run()), report


@dataclass
class _Making:
    """What all proposals of a split share."""

    roles: Roles
    plan: EvolvePlan
    report: EvolutionReport
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
                [accepted.proof.question for accepted in cluster.history],
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
    """Returns confirmed questions by kind: in waves, each cluster at most one proposal a wave."""
    found: dict[str, list[Accepted]] = {kind.name: [] for kind in kinds}
    if not any(wanted.values()):
        return found
    clusters = _clusters(making, documents)
    if not clusters:
        return found
    for wave in range(making.plan.rounds):
        owed = {kind.name: wanted[kind.name] - len(found[kind.name]) for kind in kinds}
        queue = _in_turn([kind for kind in kinds for _ in range(max(0, owed[kind.name]))])
        # Another cluster is first in every wave, so that all have their turn.
        turned = clusters[wave % len(clusters) :] + clusters[: wave % len(clusters)]
        jobs = list(zip(turned, queue, strict=False))
        if not jobs:
            break
        results = await asyncio.gather(
            *(making.propose(cluster, kind, wave) for cluster, kind in jobs)
        )
        for (cluster, kind), accepted in zip(jobs, results, strict=True):
            if accepted is not None:
                cluster.history.append(accepted)
                found[kind.name].append(accepted)
    return found


def _clusters(making: _Making, documents: Sequence[Document]) -> list[_Cluster]:
    plan = making.plan
    short = [document for document in documents if len(document.text) <= plan.max_document_chars]
    rng = random.Random(f"clusters/{making.label}")
    made = cluster_documents(short, plan.cluster_documents, rng)
    chosen = itertools.islice(made, plan.max_clusters)
    return [_Cluster(str(number), members) for number, members in enumerate(chosen)]


def _in_turn(kinds: Iterable[EvolveKind]) -> list[EvolveKind]:
    """Returns the kinds so that each comes as early as its number allows."""
    seen: Counter[str] = Counter()
    placed = []
    for kind in kinds:
        placed.append((seen[kind.name], kind))
        seen[kind.name] += 1
    return [kind for _, kind in sorted(placed, key=lambda pair: pair[0])]


def _prompt(kind: EvolveKind, cluster: _Cluster) -> str:
    documents = "\n\n".join(
        f"Document {number}:\n{quoted('document', render_document(document))}"
        for number, document in enumerate(cluster.documents, start=1)
    )
    history = [accepted.proof.question for accepted in cluster.history[-MAX_HISTORY:]]
    values = {
        "instruction": kind.instruction,
        "documents": documents,
        "history": "\n".join(f"- {neutralise(question)}" for question in history),
        "num_wrong": kind.num_options - 1 if kind.num_options else 0,
        "max_answer_words": kind.max_answer_words,
    }
    return fill_prompt(kind.prompt, values)
