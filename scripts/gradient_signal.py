"""Says which kinds of question a policy learns from: how far their gradients stand out of noise.

    python scripts/gradient_signal.py TASKSET -T target_tokens=1024 -T split=train --model nano \
        --solver longspan/memory_agent -S chunk_tokens=64 --groups 40 --max-output-tokens 48

Takes groups of rollouts of each kind with one policy, and each group's policy gradient as a step
would have it (loss of Eq. 4, advantages over the deviation of its advantage group). For a kind
whose groups' gradients have mean G and covariance S, it prints the gradient noise scale tr(S)/|G|^2
(arXiv 1812.06162, Eq. 2.9): a batch of so many groups has as much signal as noise. |G|^2 is
estimated without bias from pairs of groups; its error is what it would be without signal, over all
signs of the groups' gradients. The second table has the cosines between the kinds' mean gradients:
where they are positive, rollouts of one kind also teach the other.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from inspect_ai.dataset import Sample
from torch import Tensor

from longspan.harness.resolve import parse_arguments
from longspan.harness.rollout import Rollout
from longspan.trainers.batch import RolloutBatch, build_batch
from longspan.trainers.local.learner import Learner
from longspan.trainers.local.policy import Policy, load_trainable
from longspan.trainers.local.stage import StageRun, registered, stage_environment, stage_samples
from longspan.trainers.objective import Objective
from longspan.trainers.stages import TrainStage

GROUPS_AT_ONCE = 64
"""Groups whose rollouts are taken together, as of a large step."""


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

    def __init__(self, objective: Objective, advantages: Tensor) -> None:
        super().__init__(objective.settings)
        self._given = advantages

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """Returns the given ones, in the batch's order."""
        return self._given


def main() -> None:
    """Prints both tables, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("taskset", help="folder of a task set")
    parser.add_argument("-T", action="append", default=[], dest="task_args", metavar="KEY=VALUE")
    parser.add_argument("--model", required=True, help="checkpoint: packaged name, folder or id")
    parser.add_argument("--solver", help="in place of the task's own")
    parser.add_argument("-S", action="append", default=[], dest="solver_args", metavar="KEY=VALUE")
    parser.add_argument("--groups", type=int, default=40, help="of each kind")
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--max-output-tokens", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the figures (JSON)")
    options = parser.parse_args()
    rollouts, kinds, learner = take_rollouts(options)
    gradients = group_gradients(rollouts, kinds, learner)
    rewards: dict[str, list[float]] = defaultdict(list)
    for one in rollouts:
        rewards[kinds[one.sample_id]].append(one.reward or 0.0)
    signals = {
        kind: signal_of(torch.stack(found), sum(rewards[kind]) / len(rewards[kind]))
        for kind, found in sorted(gradients.items())
    }
    cosines = cosines_of(gradients, signals)
    print("\n".join([*signal_table(signals), "", *cosine_table(cosines)]))
    if options.out is not None:
        figures = {"kinds": {k: asdict(one) for k, one in signals.items()}, "cosines": cosines}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def take_rollouts(options: argparse.Namespace) -> tuple[list[Rollout], dict[str, str], Learner]:
    """Returns rollouts, the kind of each of their samples, and a learner over the policy."""
    task_args = {"path": options.taskset, **parse_arguments(options.task_args)}
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
    run = StageRun(stage, Path(), options.model, stage.tasks, seed=options.seed)
    trainable = load_trainable(run.start, run.model, run.stage_seed)
    policy = Policy(trainable, run.model.max_batch_rows)
    rollouts: list[Rollout] = []
    with registered(policy.engine, stage.name) as name:
        environment = stage_environment(run, name)
        chosen = first_of_kinds(stage_samples(environment.tasks, run), options.groups)
        for start in range(0, len(chosen), GROUPS_AT_ONCE):
            part: dict[str, list[Sample]] = defaultdict(list)
            for task, sample in chosen[start : start + GROUPS_AT_ONCE]:
                part[task].append(sample)
            rollouts += environment.rollouts(part, options.group_size, start)
        policy.engine.release()
    kinds = {str(sample.id): kind_of(sample) for _, sample in chosen}
    learner = Learner(trainable.model, stage.optimizer, options.temperature, trainable.compute)
    return rollouts, kinds, learner


def first_of_kinds(
    samples: Mapping[str, tuple[str, Sample]], count: int
) -> list[tuple[str, Sample]]:
    """Returns up to `count` samples of each kind, with the names of their tasks."""
    found: dict[str, list[tuple[str, Sample]]] = defaultdict(list)
    for task, sample in samples.values():
        found[kind_of(sample)].append((task, sample))
    return [one for kind in sorted(found) for one in found[kind][:count]]


def kind_of(sample: Sample) -> str:
    """Returns what a sample is counted as."""
    metadata = sample.metadata or {}
    return str(metadata.get("kind") or metadata.get("task_type") or "all")


def group_gradients(
    rollouts: Sequence[Rollout], kinds: Mapping[str, str], learner: Learner
) -> dict[str, list[Tensor]]:
    """Returns each group's gradient by kind, [P] float32; the mean of all is a step's (Eq. 4).

    Args:
        rollouts: of all kinds; deviations are taken over all of an advantage group's.
        kinds: of samples, by their ids.
        learner: over the policy that made the rollouts.
    """
    objective = Objective(TrainStage.model_fields["objective"].default)
    whole = build_batch(rollouts)
    advantages = objective.advantages(whole)
    size = sum(parameter.numel() for parameter in learner.parameters.values())
    found: dict[str, list[Tensor]] = defaultdict(list)
    for group in torch.unique(whole.groups):
        members = (whole.groups == group).nonzero()[:, 0]
        gradient = torch.zeros(size)
        if advantages[members].any():
            part = build_batch([whole.rollouts[i] for i in members.tolist()])
            learner.gradient(part, GivenAdvantages(objective, advantages[members]), step=0)
            parts = [parameter.grad for parameter in learner.parameters.values()]
            gradient = torch.cat([one.flatten().float().cpu() for one in parts if one is not None])
        found[kinds[whole.rollouts[int(members[0])].sample_id]].append(gradient)
    return dict(found)


def signal_of(gradients: Tensor, reward: float) -> Signal:
    """Returns what gradients of one kind's groups, [N, P], are like; N is 2 or more."""
    count = len(gradients)
    products = gradients.double() @ gradients.double().T
    squares = products.diagonal()
    pairs = products - torch.diag(squares)
    signal = float(pairs.sum()) / (count * (count - 1))
    error = math.sqrt(2 * float(pairs.square().sum())) / (count * (count - 1))
    noise = float(squares.mean()) - signal
    return Signal(count, int((squares > 0).sum()), reward, signal, error, noise)


def cosines_of(
    gradients: Mapping[str, Sequence[Tensor]], signals: Mapping[str, Signal]
) -> dict[str, dict[str, float]]:
    """Returns the cosines between mean gradients, of kinds whose signal is told, without bias."""
    means = {
        k: torch.stack(list(gradients[k])).mean(0) for k, one in signals.items() if one.is_told
    }
    return {
        one: {
            other: float(a @ b) / math.sqrt(signals[one].signal * signals[other].signal)
            for other, b in means.items()
            if other != one
        }
        for one, a in means.items()
    }


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
    lines = [f"| cosine | {' | '.join(cosines)} |", "|---|" + "---:|" * len(cosines)]
    for one, row in cosines.items():
        cells = (f"{row[other]:+.2f}" if other != one else "1" for other in cosines)
        lines.append(f"| {one} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
