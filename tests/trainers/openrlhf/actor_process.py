"""OpenRLHF's training process with the patch, over the saved batches of another engine's run.

    python actor_process.py BATCHES OUT

The same classes, options and DeepSpeed engine as in a run, without Ray and vLLM: batches come from
disk, and every one of them is measured, weighed and learned from in turn. OUT gets what each step
was and the bytes that the process holds, by `torch.save`.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch

from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.local.checkpoint import find_checkpoint, load_tokenizer
from longspan.trainers.local.learner import NonFiniteError
from longspan.trainers.local.saved_batch import SavedBatch, read_batch
from longspan.trainers.objective import Objective
from longspan.trainers.openrlhf import cpu
from longspan.trainers.openrlhf.arguments import Places, command_line, openrlhf_options
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.openrlhf.run_file import RUN_VARIABLE, RunFile, write_run

WINDOW = 256


class ArgumentsRead(Exception):
    """OpenRLHF's command has read its options."""


def main(batches: Path, out: Path) -> None:
    """Takes a step of every saved batch, in their order."""
    saved = [read_batch(path) for path in batch_folders(batches)]
    run = run_file(saved[0], out.parent)
    write_run(out.parent / "run.json", run)
    os.environ.update({**cpu.ENVIRONMENT, RUN_VARIABLE: str(out.parent / "run.json")})
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cpu.stand_in()
    strategy = strategy_of(run, out.parent)

    from longspan.trainers.openrlhf.experience_maker import ExperienceMaker
    from longspan.trainers.openrlhf.policy_actor import PolicyActor

    actor = PolicyActor(1, 0, "127.0.0.1", 0)
    actor.init_model_from_pretrained(strategy, str(run.start), len(saved))

    class Maker(ExperienceMaker):  # type: ignore[misc]
        """Asks the training process of this process."""

        def __init__(self) -> None:
            self._run = run
            self.objective = Objective(run.stage.objective)
            self.tokenizer = load_tokenizer(run.start)

        def _measure(self, parts: Any) -> list[TokenStatistics]:
            padded = [part.padded(self.tokenizer.pad_token_id) for part in parts]
            return [
                TokenStatistics(*actor.forward(ids, sampled, attention))
                for ids, attention, sampled in padded
            ]

    maker, found = Maker(), []
    for number, batch in enumerate(saved):
        actor.begin_step(number)
        step = maker.weigh(batch.rollouts)
        for experience in maker.make_experience_batch(step):
            actor.append(experience)
        status = actor.fit() if step.parts else {}
        decision = step.step_weights.decision
        found.append(
            {
                "advantages": step.advantages,
                "weights": step.step_weights.weights,
                "masked": step.step_weights.masked,
                "decision": None if decision is None else (decision.masking, decision.reason),
                "entropy": step.entropy,
                "loss": status.get("longspan/loss", 0.0),
                "gradient_norm": status.get("longspan/gradient_norm", 0.0),
            }
        )
    results = {"steps": found, "bytes": held(actor.engine)}
    experiences = maker.make_experience_batch(maker.weigh(saved[-1].rollouts))
    torch.save({**results, "refuses": refuses_infinite(actor, experiences, len(saved))}, out)


def refuses_infinite(actor: Any, experiences: list[Any], number: int) -> bool:
    """Returns whether an infinite gradient ends a step and leaves all weights as they were."""
    weights = list(actor.engine.module.parameters())
    before = [one.detach().clone() for one in weights]
    weights[0].register_hook(lambda gradient: gradient * float("inf"))
    actor.begin_step(number)
    for experience in experiences:
        actor.append(experience)
    try:
        actor.fit()
    except NonFiniteError:
        return all(map(torch.equal, before, weights))
    return False


def held(engine: Any) -> dict[str, int]:
    """Returns the bytes of DeepSpeed's tensors: of weights, and of moments with master weights."""
    optimizer = engine.optimizer
    states = [one for state in optimizer.optimizer.state.values() for one in state.values()]
    moments = [one for one in states if isinstance(one, torch.Tensor) and one.numel() > 1]
    tensors = {
        "weights": list(engine.module.parameters()),
        "moments": [*optimizer.single_partition_of_fp32_groups, *moments],
    }
    return {name: sum(one.nbytes for one in these) for name, these in tensors.items()}


def batch_folders(batches: Path) -> list[Path]:
    """Returns the folders of a stage's saved batches by step."""
    return sorted(batches.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))


def run_file(saved: SavedBatch, folder: Path) -> RunFile:
    """Returns the run of a stage whose rollouts are there."""
    record = saved.record
    return RunFile(
        stage=record.stage,
        folder=folder,
        working_directory=Path.cwd(),
        model=record.model,
        start=find_checkpoint(record.start),
        window=WINDOW,
        sources=(),
        kept=None,
        pools={},
        versions={},
        seed=record.seed,
        model_roles={},
        cluster=load_cluster("cpu"),
    )


def strategy_of(run: RunFile, folder: Path) -> Any:
    """Returns OpenRLHF's strategy, made of the options that a run's command would have.

    Its parser stands in the main part of its command, which therefore runs up to where it has them.
    """
    import openrlhf.utils
    import ray

    make, is_initialized = openrlhf.utils.get_strategy, ray.is_initialized
    read: list[Any] = []

    def note(arguments: Any) -> None:
        read.append(arguments)
        raise ArgumentsRead

    places = Places(run.start, folder / "states", folder / "checkpoint")
    options = openrlhf_options(run.stage_run(), run.cluster, places, run.window)
    openrlhf.utils.get_strategy, ray.is_initialized = note, lambda: True
    sys.argv = ["train_ppo_ray", *command_line(options)]
    try:
        runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)
    except ArgumentsRead:
        pass
    finally:
        openrlhf.utils.get_strategy, ray.is_initialized = make, is_initialized
    return make(read[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
