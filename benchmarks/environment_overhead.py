"""CPU time that the environment costs per rollout, measured with a model that answers at once.

    python benchmarks/environment_overhead.py [--samples N] [--group-size N] [--steps N] [--turns N]

One step of the laptop recipe is 16 x 8 single-turn rollouts. Budget: at most 8 ms of CPU each.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.scorer import Score, Scorer, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from longspan.harness.environment import Environment
from longspan.harness.rollout import Call, record_call

DOCUMENT = " ".join(f"word{i}" for i in range(180))
TARGET_MILLISECONDS = 8.0


@modelapi(name="at-once")
class AtOnce(ModelAPI):
    """Says yes at once, and records the call as an engine does: a character is a token."""

    def __init__(self, model_name: str, **settings: Any) -> None:
        super().__init__(model_name, **settings)

    async def count_text_tokens(self, text: str) -> int:
        """Returns a quarter of the characters: Inspect's own count would need the network."""
        return max(1, len(text) // 4)

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns yes."""
        prompt, sampled = tuple(range(len(input[-1].text))), tuple(b"yes")
        output = ModelOutput.from_content(self.model_name, "yes", "stop")
        num_prompt, num_sampled = len(prompt), len(sampled)
        output.usage = ModelUsage(
            input_tokens=num_prompt,
            output_tokens=num_sampled,
            total_tokens=num_prompt + num_sampled,
        )
        call = Call(prompt, sampled, (-0.5,) * num_sampled, "stop", policy_version=0)
        output.metadata = record_call(call) or None
        return output


@scorer(metrics=[mean()])
def exact() -> Scorer:
    """Returns a scorer that compares the whole answer."""

    async def score(state, target):  # noqa: ANN001, ANN202
        value = float(state.output.completion == target.text)
        return Score(value=value, answer=state.output.completion)

    return score


@solver
def reader(num_turns: int) -> Solver:
    """Returns a solver that makes some calls with fresh prompts, as the memory agent does."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for turn in range(num_turns):
            state.messages = [ChatMessageUser(content=f"{DOCUMENT} {turn} {state.input_text}")]
            state = await generate(state)
        return state

    return solve


def measure(num_samples: int, group_size: int, num_steps: int, num_turns: int) -> None:
    """Prints the cost of each step and of each rollout."""
    samples = [
        Sample(id=f"s{i}", input=f"What is {i}?", target="yes", metadata={"task_type": "multi_hop"})
        for i in range(num_samples)
    ]
    task = Task(dataset=samples, solver=reader(num_turns), scorer=exact(), name="read")
    environment = Environment([task], get_model("at-once/model", memoize=False))
    costs = []
    for step in range(num_steps + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        rollouts = environment.rollouts({"read": samples}, group_size, step)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if step:  # the first one pays for imports
            costs.append(1000 * cpu / len(rollouts))
        label = "warm-up" if step == 0 else f"step {step}"
        print(f"{label}: {len(rollouts)} rollouts, {cpu:.3f} s CPU, {wall:.3f} s wall")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best, mean_cost = min(costs), sum(costs) / len(costs)
    print(f"per rollout: {mean_cost:.2f} ms CPU (best {best:.2f}), peak memory {peak:.0f} MiB")
    if num_turns == 1 and best > TARGET_MILLISECONDS:
        raise SystemExit(f"above the budget of {TARGET_MILLISECONDS} ms per rollout")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--turns", type=int, default=1)
    arguments = parser.parse_args()
    measure(arguments.samples, arguments.group_size, arguments.steps, arguments.turns)
