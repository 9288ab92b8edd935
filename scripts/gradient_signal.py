"""Says which kinds of question a policy learns from: how far their gradients stand out of noise.

    python scripts/gradient_signal.py TASKSET -T target_tokens=1024 --model nano \
        --solver longspan/memory_agent -S chunk_tokens=64 --groups 40 --max-output-tokens 48

Takes groups of rollouts of each kind with one policy, and each group's policy gradient as a step
would have it (loss of Eq. 4, advantages over the deviation of its advantage group). For a kind
whose groups' gradients have mean G and covariance S, it prints the gradient noise scale tr(S)/|G|^2
(arXiv 1812.06162, Eq. 2.9): a batch of so many groups has as much signal as noise. |G|^2 is
estimated without bias from pairs of groups about different documents; its error is what it would be
without signal, over all signs of the documents' gradients. The second table has the cosines between
the kinds' mean gradients: where they are positive, rollouts of one kind also teach the other.

All gradients are held at once, 4 bytes for each parameter and group: it is for small models.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path

import torch
from inspect_ai.dataset import Sample
from pydantic import ValidationError
from torch import Tensor

from longspan.harness.resolve import parse_arguments
from longspan.harness.rollout import Rollout
from longspan.harness.validation import describe_validation
from longspan.trainers.batch import RolloutBatch, build_batch
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.policy import Policy, load_trainable
from longspan.trainers.local.stage import StageRun, registered, stage_environment, stage_samples
from longspan.trainers.objective import Objective
from longspan.trainers.settings import ObjectiveSettings, SamplingSettings
from longspan.trainers.stages import TrainStage

GROUPS_AT_ONCE = 64
"""Groups whose rollouts are taken together, as of a large step."""

MIN_GROUPS = 4
"""With fewer, no signal could be above two errors, however clear: these contain it."""


@dataclass(frozen=True)
class Gradients:
    """Gradients of groups of rollouts.

    Attributes:
        vectors: one of each group, [N, P].
        documents: the N documents that the groups' questions are about.
        rewards: of the rollouts that have one.
    """

    vectors: Tensor
    documents: Sequence[str]
    rewards: Sequence[float]


@dataclass(frozen=True)
class Signal:
    """What the gradients of a kind's groups are like.

    Attributes:
        num_groups: groups of rollouts.
        num_live: of them, groups whose rewards differ; the others' gradient is zero.
        reward: mean over the rollouts.
        signal: |G|^2, without bias; it can be negative where there is none.
        error: standard deviation that it would have without signal.
        noise: tr(S), the groups' variance over all parameters.
    """

    num_groups: int
    num_live: int
    reward: float
    signal: float
    error: float
    noise: float

    @property
    def is_told(self) -> bool:
        """Whether the signal is above zero by two errors."""
        return self.signal > 2 * self.error


class GivenAdvantages(Objective):
    """An objective whose advantages were taken over more groups than the batch has."""

    def __init__(self, advantages: Tensor) -> None:
        """Takes the advantages, in the batch's order."""
        super().__init__(ObjectiveSettings())
        self._given = advantages

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """Returns the given ones."""
        return self._given


def main() -> None:
    """Prints both tables, and writes the figures."""
    defaults = SamplingSettings(batch_size=1, max_output_tokens=1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("taskset", help="folder of a task set; its train split, or -T split=...")
    parser.add_argument("-T", action="append", default=[], dest="task_args", metavar="KEY=VALUE")
    parser.add_argument("--model", required=True, help="checkpoint: packaged name, folder or id")
    parser.add_argument("--solver", help="in place of the task's own")
    parser.add_argument("-S", action="append", default=[], dest="solver_args", metavar="KEY=VALUE")
    parser.add_argument("--groups", type=int, default=40, help="of each kind, 4 or more")
    parser.add_argument("--mix", nargs="+", default=[], metavar="KIND", help="also these together")
    parser.add_argument("--group-size", type=int, default=defaults.group_size)
    parser.add_argument("--temperature", type=float, default=defaults.temperature)
    parser.add_argument("--top-p", type=float, default=defaults.top_p)
    parser.add_argument("--max-output-tokens", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the figures (JSON)")
    options = parser.parse_args()
    if options.groups < MIN_GROUPS:
        raise SystemExit(f"--groups must be {MIN_GROUPS} or more: got {options.groups}")
    if options.out is not None and not options.out.parent.is_dir():
        raise SystemExit(f"--out {options.out}: no such folder; make it first")
    rollouts, samples, learner = take_rollouts(options)
    gradients = group_gradients(rollouts, samples, learner)
    signals = {kind: signal_of(found) for kind, found in gradients.items()}
    cosines = cosines_of(gradients, signals)
    mixes = {"all": joined(gradients.values())}
    if options.mix:
        mixes[", ".join(options.mix)] = joined(gradients[kind] for kind in options.mix)
    rows = signals | {name: signal_of(found) for name, found in mixes.items()}
    lines = signal_table(rows)
    print("\n".join([*lines, "", *cosine_table(cosines)]))
    if options.out is not None:
        figures = {"kinds": {k: asdict(one) for k, one in rows.items()}, "cosines": cosines}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def take_rollouts(
    options: argparse.Namespace,
) -> tuple[list[Rollout], dict[str, Sample], Learner]:
    """Returns rollouts, their samples by id, and a learner over the policy."""
    task_args = {"split": "train", **parse_arguments(options.task_args), "path": options.taskset}
    try:
        stage = TrainStage.model_validate(
            {
                "name": "signal",
                "tasks": [{"task": "longspan/taskset", "args": task_args}],
                "solver": options.solver,
                "solver_args": parse_arguments(options.solver_args),
                "num_steps": 1,
                "sampling": {
                    "batch_size": GROUPS_AT_ONCE,
                    "group_size": options.group_size,
                    "temperature": options.temperature,
                    "top_p": options.top_p,
                    "max_output_tokens": options.max_output_tokens,
                },
                "optimizer": {"learning_rate": 1.0, "max_gradient_norm": 1e9},
            }
        )
    except ValidationError as error:
        raise SystemExit(describe_validation(error)) from error
    run = StageRun(stage, Path(), options.model, stage.tasks, seed=options.seed)
    trainable = load_trainable(run.start, run.model, run.stage_seed)
    policy = Policy(trainable, run.model.max_batch_rows)
    rollouts: list[Rollout] = []
    with registered(policy.engine, stage.name) as name:
        environment = stage_environment(run, name)
        chosen = first_of_kinds(stage_samples(environment.tasks, run).values(), options.groups)
        kinds = sorted({kind_of(sample) for _, sample in chosen})
        if unknown := sorted(set(options.mix) - set(kinds)):
            raise SystemExit(f"--mix: no kind {unknown[0]!r} here; use {', '.join(kinds)}")
        for start in range(0, len(chosen), GROUPS_AT_ONCE):
            part: dict[str, list[Sample]] = defaultdict(list)
            for task, sample in chosen[start : start + GROUPS_AT_ONCE]:
                part[task].append(sample)
            rollouts += environment.rollouts(part, options.group_size, start)
        policy.engine.release()
    learner = Learner(trainable.model, stage.optimizer, options.temperature, trainable.compute)
    return rollouts, {str(sample.id): sample for _, sample in chosen}, learner


def first_of_kinds(samples: Iterable[tuple[str, Sample]], count: int) -> list[tuple[str, Sample]]:
    """Returns up to `count` samples of each kind, of as many documents as there are.

    Args:
        samples: with the names of their tasks.
        count: of each kind.
    """
    found: dict[str, dict[str, list[tuple[str, Sample]]]] = defaultdict(lambda: defaultdict(list))
    for task, sample in samples:
        found[kind_of(sample)][document_of(sample)].append((task, sample))
    chosen = []
    for kind in sorted(found):
        in_turns = chain.from_iterable(zip_longest(*found[kind].values()))
        chosen += [one for one in in_turns if one is not None][:count]
    return chosen


def kind_of(sample: Sample) -> str:
    """Returns what a sample is counted as."""
    metadata = sample.metadata or {}
    return str(metadata.get("kind") or metadata.get("task_type") or "untyped")


def document_of(sample: Sample) -> str:
    """Returns the document that a sample's question is about, or its own id."""
    return str((sample.metadata or {}).get("document_group") or sample.id)


def group_gradients(
    rollouts: Sequence[Rollout], samples: Mapping[str, Sample], learner: Learner
) -> dict[str, Gradients]:
    """Returns the groups' gradients by kind; the mean of all is a step's (Eq. 4).

    Groups without a sampled token of a rollout with a score are no part of a step, nor of these.

    Args:
        rollouts: of all kinds; deviations are taken over all of an advantage group's.
        samples: by their ids.
        learner: over the policy that made the rollouts.
    """
    whole = build_batch(rollouts)
    advantages = Objective(ObjectiveSettings()).advantages(whole)
    counted = whole.token_rollouts[whole.valid[whole.token_rollouts]]
    found: dict[str, list[tuple[Tensor, str, list[float]]]] = defaultdict(list)
    for group in torch.unique(whole.groups[counted]):
        members = (whole.groups == group).nonzero()[:, 0]
        part = build_batch([whole.rollouts[i] for i in members.tolist()])
        learner.gradient(part, GivenAdvantages(advantages[members]), step=0)
        rewards = [one.reward for one in part.rollouts if one.reward is not None]
        sample = samples[part.rollouts[0].sample_id]
        found[kind_of(sample)].append((flat_gradient(learner), document_of(sample), rewards))
    return {
        kind: Gradients(
            torch.stack([vector for vector, _, _ in groups]),
            [document for _, document, _ in groups],
            [reward for _, _, rewards in groups for reward in rewards],
        )
        for kind, groups in sorted(found.items())
    }


def flat_gradient(learner: Learner) -> Tensor:
    """Returns the gradient that a learner's parameters hold, [P] float32."""
    parts = (
        torch.zeros_like(one) if one.grad is None else one.grad
        for one in learner.parameters.values()
    )
    return torch.cat([one.detach().flatten().float().cpu() for one in parts])


def joined(gradients: Iterable[Gradients]) -> Gradients:
    """Returns the gradients of several kinds as those of one."""
    parts = list(gradients)
    return Gradients(
        torch.cat([one.vectors for one in parts]),
        [document for one in parts for document in one.documents],
        [reward for one in parts for reward in one.rewards],
    )


def signal_of(gradients: Gradients) -> Signal:
    """Returns what the gradients of some groups are like."""
    vectors = gradients.vectors
    products, apart = products_of(gradients, gradients)
    num_pairs = max(1, int(apart.sum()))
    signal = float(products.sum()) / num_pairs
    # Signs are a document's: those of questions about one document may well be the same.
    names = sorted(set(gradients.documents))
    places = torch.tensor([names.index(one) for one in gradients.documents])
    of_documents = torch.zeros(len(names), len(names), dtype=torch.float64)
    of_documents.index_put_((places[:, None], places[None, :]), products, accumulate=True)
    error = math.sqrt(2 * float(of_documents.square().sum())) / num_pairs
    squares = vectors.double().square().sum(1)
    return Signal(
        num_groups=len(vectors),
        num_live=int((squares > 0).sum()),
        reward=sum(gradients.rewards) / max(1, len(gradients.rewards)),
        signal=signal,
        error=error,
        noise=float(squares.mean()) - signal,
    )


def products_of(one: Gradients, other: Gradients) -> tuple[Tensor, Tensor]:
    """Returns products of gradients, 0 within one document, and which are not within, [N, M]."""
    apart = torch.tensor([[a != b for b in other.documents] for a in one.documents])
    products = (one.vectors @ other.vectors.T).double()
    return torch.where(apart, products, 0.0), apart


def cosines_of(
    gradients: Mapping[str, Gradients], signals: Mapping[str, Signal]
) -> dict[str, dict[str, float]]:
    """Returns the cosines between mean gradients, of kinds whose signal is told.

    They are ratios of unbiased estimates, and can exceed 1.
    """
    told = [kind for kind, one in signals.items() if one.is_told]
    found: dict[str, dict[str, float]] = {kind: {} for kind in told}
    for one in told:
        for other in told:
            if one != other:
                products, apart = products_of(gradients[one], gradients[other])
                product = float(products.sum()) / max(1, int(apart.sum()))
                found[one][other] = product / math.sqrt(signals[one].signal * signals[other].signal)
    return found


def signal_table(signals: Mapping[str, Signal]) -> list[str]:
    """Returns the lines of the first table (Markdown)."""
    lines = [
        "| kind | groups | rewards differ in | reward | signal | noise | noise scale (groups) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kind, one in signals.items():
        scale = f"{one.noise / one.signal:.0f}" if one.is_told else "not told from zero"
        lines.append(
            f"| {kind} | {one.num_groups} | {one.num_live} | {one.reward:.2f} "
            f"| {one.signal:.2e} ± {one.error:.1e} | {one.noise:.2e} | {scale} |"
        )
    return lines


def cosine_table(cosines: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the lines of the second table (Markdown); a kind with itself is 1."""
    if len(cosines) < 2:
        return ["No two kinds have a signal to be compared."]
    lines = [f"| cosine | {' | '.join(cosines)} |", "|---|" + "---:|" * len(cosines)]
    for one, row in cosines.items():
        cells = (f"{row[other]:+.2f}" if other != one else "1" for other in cosines)
        lines.append(f"| {one} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
