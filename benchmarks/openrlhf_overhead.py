"""What the patch of OpenRLHF costs: rollouts through Inspect, weighing, and statistics of tokens.

    python benchmarks/openrlhf_overhead.py --taskset runs/two/tasksets/short --out overhead.json

Each part is OpenRLHF's own code and ours on the same input, in turns, with an engine that answers
at once; medians of the turns. Needs OpenRLHF's packages (make openrlhf-cpu).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from paired import machine
from transformers import LlamaConfig, LlamaForCausalLM

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.local.checkpoint import CHECKPOINTS, load_tokenizer
from longspan.trainers.objective import Objective
from longspan.trainers.openrlhf import cpu
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.openrlhf.run_file import RUN_VARIABLE, RunFile, write_run
from longspan.trainers.openrlhf.sequences import MicroBatch, TurnSequence
from longspan.trainers.openrlhf.streamed_head import StreamedHead
from longspan.trainers.stages import TaskSource, TrainStage

NANO = CHECKPOINTS / "nano"
GROUP_SIZE = 8
ANSWER = "the answer is A"
REWARD = "def reward_func(queries, prompts, labels):\n    return {'rewards': 1.0}\n"


class Engine:
    """Answers every prompt at once."""

    def __init__(self, tokenizer: Any) -> None:
        ids = [*tokenizer.encode(ANSWER, add_special_tokens=False), tokenizer.eos_token_id]
        logprobs = [{one: SimpleNamespace(logprob=-1.0)} for one in ids]
        output = {"token_ids": ids, "logprobs": logprobs, "finish_reason": "stop", "text": ANSWER}
        self._output = SimpleNamespace(outputs=[SimpleNamespace(**output)])

    async def generate(self, ids: Any, settings: Any, multi_modal_data: Any = None) -> Any:
        """Returns the same completion for any prompt."""
        return self._output


def stage() -> TrainStage:
    """Returns a stage of the recipe's objective."""
    return TrainStage.model_validate(
        {
            "name": "overhead",
            "num_steps": 1,
            "sampling": {"batch_size": 1, "group_size": GROUP_SIZE, "max_output_tokens": 32},
            "objective": {"aepo": {"low": 0.1, "high": 0.3}},
            "optimizer": {"learning_rate": 1e-6, "micro_batch_tokens": 4096},
        }
    )


def seconds(call: Callable[[], object]) -> float:
    """Returns the CPU seconds of all threads that a call takes: other programs may run beside."""
    started = time.process_time()
    call()
    return time.process_time() - started


def rollout_parts(
    taskset: Path, folder: Path, num_samples: int | None
) -> tuple[dict[str, Callable[[], object]], int]:
    """Returns a batch of rollouts by either executor, and how many they are.

    A batch is one call of Inspect, whose own costs more rollouts share; None takes all samples.
    """
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    from longspan.trainers.openrlhf.executor import AgentExecutor

    source = TaskSource(task="longspan/taskset", args={"path": str(taskset), "split": "train"})
    file = RunFile(
        stage=stage(), folder=folder, working_directory=Path.cwd(), model={}, start=NANO,
        window=256, sources=(source,), kept=None, pools={}, versions={}, seed=0, model_roles={},
        cluster=load_cluster("cpu"),
    )  # fmt: skip
    write_run(folder / "run.json", file)
    os.environ[RUN_VARIABLE] = str(folder / "run.json")
    (folder / "reward.py").write_text(REWARD)
    tokenizer = load_tokenizer(NANO)
    engine, ours = Engine(tokenizer), AgentExecutor()
    theirs = SingleTurnAgentExecutor(str(folder / "reward.py"))
    keys = list(ours._samples)[:num_samples]
    prompts = [str(ours._samples[key][1].input) for key in keys]
    settings = SimpleNamespace(max_tokens=32, logprobs=None)

    async def unpatched() -> None:
        await asyncio.gather(
            *(
                theirs.execute(prompt, "", settings, 256, tokenizer, engine)
                for prompt in prompts
                for _ in range(GROUP_SIZE)
            )
        )

    return {
        "openrlhf": lambda: asyncio.run(unpatched()),
        "patched": lambda: asyncio.run(ours.rollouts(engine, keys, 0)),
    }, len(keys) * GROUP_SIZE


def weighing_parts(
    num_groups: int, num_turns: int, prompt_tokens: int
) -> tuple[dict[str, Callable[[], object]], int]:
    """Returns each side's way from rollouts to what is trained on, forwards left out.

    OpenRLHF has it for one turn a rollout only. Also returns how many rollouts they are.
    """
    draw = torch.Generator().manual_seed(0)

    def turn() -> Turn:
        ids = torch.randint(6, 400, (prompt_tokens + 32,), generator=draw).tolist()
        return Turn(tuple(ids[:-32]), tuple(ids[-32:]), (-1.0,) * 32, "stop")

    rollouts = [
        Rollout("k", "t", "t/x", f"s{group}", epoch, tuple(turn() for _ in range(num_turns)),
                float(epoch % 2), "answered", 0, 0.0, 0, 0)
        for group in range(num_groups) for epoch in range(1, GROUP_SIZE + 1)
    ]  # fmt: skip
    parts = {"patched": our_weighing(rollouts)}
    if num_turns == 1:
        parts = {"openrlhf": their_weighing(rollouts), **parts}
    return parts, len(rollouts)


def our_weighing(rollouts: list[Rollout]) -> Callable[[], object]:
    """Returns batch, advantages, AEPO, token weights and padded micro-batches of a step."""
    from longspan.trainers.openrlhf.experience_maker import ExperienceMaker

    class Maker(ExperienceMaker):  # type: ignore[misc]
        def __init__(self) -> None:
            of = stage()
            self._run = SimpleNamespace(stage=of, cluster=SimpleNamespace(num_ranks=1))
            self.objective = Objective(of.objective)

        def _measure(self, parts: Any) -> list[TokenStatistics]:
            sizes = (len(part.places) for part in parts)
            return [TokenStatistics(torch.full((n,), -1.0), torch.full((n,), 0.2)) for n in sizes]

    def weigh() -> None:
        maker = Maker()
        maker.make_experience_batch(maker.weigh(rollouts))

    return weigh


def their_weighing(rollouts: list[Rollout]) -> Callable[[], object]:
    """Returns OpenRLHF's experiences, micro-batches of four, rewards and advantages of a step."""
    from openrlhf.trainer.ppo_utils import experience_maker
    from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator

    experience_maker.ray.put = lambda value: value  # no cluster
    generator = object.__new__(SamplesGenerator)
    responses = [
        {
            "observation_tokens": [*one.turns[0].prompt_ids, *one.turns[0].sampled_ids],
            "action_ranges": [(len(one.turns[0].prompt_ids), len(one.turns[0].prompt_ids) + 32)],
            "reward": one.reward,
            "rollout_log_probs": None,
            "prompt": "",
            "label": "",
        }
        for one in rollouts
    ]

    class Maker(experience_maker.RemoteExperienceMaker):  # type: ignore[misc]
        def _dispatch_forward(self, group: Any, sync_condition: Any, **batch: Any) -> Any:
            return [torch.full(mask.shape, -1.0) for mask in batch["action_mask"]]

        def _flatten_results(self, refs: Any, duplicate_factor: int) -> Any:
            return refs if isinstance(refs, list) else [None] * len(self.batches)

        def make_experience(self, samples_list: Any) -> Any:
            self.batches = samples_list
            return super().make_experience(samples_list)

    def space(**values: Any) -> SimpleNamespace:
        return SimpleNamespace(**values)

    args = space(
        algo=space(
            advantage=space(estimator="group_norm", gamma=1.0),
            kl=space(use_loss=False, estimator="k1"),
        ),
        ds=space(ring_attn_size=1, tensor_parallel_size=1),
        reward=space(clip_range=(-10, 10), overlong_buffer_len=None,
                     stop_properly_penalty_coef=None),
        rollout=space(micro_batch_size=4, n_samples_per_prompt=GROUP_SIZE),
        train=space(dynamic_batch_enable=False, colocate_all=False, colocate_actor_ref=False),
    )  # fmt: skip
    tokenizer, kl = space(pad_token_id=0), space(value=0.0)
    maker = Maker(None, None, None, None, kl, space(args=args), tokenizer)

    def weigh() -> None:
        made = (generator._process_response_into_experience(one, max_len=1 << 20)
                for one in responses)  # fmt: skip
        maker.make_experience_batch(list(made))

    return weigh


def statistics_parts(vocabulary: int) -> tuple[dict[str, Callable[[], object]], int]:
    """Returns log-probabilities and entropies of responses by either forward, and their number."""
    from openrlhf.models import Actor

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=2048,
    )  # fmt: skip
    plain, streamed = LlamaForCausalLM(config).eval(), LlamaForCausalLM(config).eval()
    actor, head = Actor(plain), StreamedHead(streamed, 1.0)
    actor.packing_samples = False
    ids = torch.randint(0, vocabulary, (4, 1024)).tolist()
    part = MicroBatch(tuple(TurnSequence(tuple(o[:896]), tuple(o[896:]), i, 128 * i)
                            for i, o in enumerate(ids)))  # fmt: skip
    sequences, attention, sampled = part.padded(0)

    def theirs(return_entropy: bool) -> None:
        with torch.no_grad():
            actor(sequences, sampled, attention, return_output=True, return_entropy=return_entropy)

    def ours() -> None:
        with torch.no_grad():
            head.statistics(streamed, sequences, attention, sampled)

    return {
        "openrlhf": lambda: theirs(return_entropy=False),  # as it runs with the same options
        "openrlhf, with entropies": lambda: theirs(return_entropy=True),
        "patched": ours,
    }, len(ids)


def compared(parts: dict[str, Callable[[], object]], number: int, turns: int) -> dict[str, Any]:
    """Returns CPU milliseconds per item of each side; the first turn is not counted."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(turns + 1):
        for name, call in parts.items():
            times[name].append(seconds(call))
    per = {name: 1000 * statistics.median(found[1:]) / number for name, found in times.items()}
    return {"items": number, "turns": turns, "cpu_ms_per_item": per}


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--taskset", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("openrlhf_overhead.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    cpu.stand_in()
    found: dict[str, Any] = {"machine": machine("cpu", 1)}
    with tempfile.TemporaryDirectory() as folder:
        for name, num_samples in (("rollout", None), ("rollout_of_16", 16 // GROUP_SIZE)):
            parts, number = rollout_parts(arguments.taskset, Path(folder), num_samples)
            found[name] = compared(parts, number, arguments.turns)
    for name, shape in (("full_context", (16, 1, 4096)), ("memory_agent", (8, 16, 512))):
        parts, number = weighing_parts(*shape)
        found[f"weighing_{name}"] = compared(parts, number, arguments.turns)
    parts, number = statistics_parts(32_000)
    found["statistics"] = compared(parts, number, arguments.turns)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
