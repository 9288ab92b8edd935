"""CPU that the memory agent adds to every model call.

    python benchmarks/memory_agent_overhead.py [--samples 64] [--chunks 50]

The model is scripted and instant, so what is measured is Inspect, the agent and counting tokens
(four characters count as one, so counting is nearly free). The bare loop makes as many calls with
prompts of the same size from a solver that does nothing else; sample logs are kept in both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from longspan.agents.chunks import split_chunks
from longspan.agents.memory import memory_agent
from longspan.harness.prompts import user_message
from longspan.harness.tokens import EstimatedTokens

CHUNK_TOKENS = 128
SENTENCE = "The harbour lay quiet and the weather was mild for days. "
STATE = "<memory>\nThe harbour lay quiet.\n</memory>\n<plan>\nread on\n</plan>"


@modelapi(name="instant")
class InstantAPI(ModelAPI):
    """Returns the same state at once."""

    async def count_text_tokens(self, text: str) -> int:
        """Returns an estimate; Inspect's own counter would fetch a tokenizer."""
        return max(1, len(text) // 4)

    async def generate(
        self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns a well-formed state."""
        output = ModelOutput.from_content(self.model_name, STATE)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output


@solver
def bare_loop(num_calls: int, prompt: str) -> Solver:
    """Solver that makes the same calls and nothing else."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        for turn in range(num_calls - 1):
            await model.generate([user_message(f"{turn} {prompt}", state, turn)])
        state.messages = [user_message(prompt, state, num_calls)]
        return await generate(state)

    return solve


def cpu_seconds(task_solver: Solver, text: str, num_samples: int) -> tuple[float, int]:
    """Returns the CPU seconds of a run and the bytes of its log."""
    metadata = {"question": "Who won?", "instructions": "Be brief.", "context": {"text": text}}
    samples = [Sample(id=i, input="Who won?", metadata=metadata) for i in range(num_samples)]
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        (log,) = eval(
            Task(dataset=samples, solver=task_solver),
            get_model("instant/x", memoize=False),
            display="none",
            log_dir=folder,
            log_realtime=False,
            max_samples=num_samples,
            max_connections=num_samples,
            adaptive_connections=False,
        )
        seconds = time.process_time() - started
        if log.status != "success":
            raise RuntimeError(log.error)
        return seconds, sum(file.stat().st_size for file in Path(folder).iterdir())


def measure_overhead(num_samples: int, num_chunks: int) -> None:
    """Prints the CPU per model call of agent and bare loop."""
    text = SENTENCE * (num_chunks * CHUNK_TOKENS * 4 // len(SENTENCE))
    real_chunks = len(split_chunks(text, CHUNK_TOKENS, EstimatedTokens()))
    calls = num_samples * (real_chunks + 1)
    bare = bare_loop(real_chunks + 1, SENTENCE * (CHUNK_TOKENS * 4 // len(SENTENCE) + 5))
    agent = memory_agent(chunk_tokens=CHUNK_TOKENS, memory_tokens=40)
    cpu_seconds(agent, SENTENCE, 1)
    for name, one in (("bare loop", bare), ("memory agent", agent)):
        seconds, size = cpu_seconds(one, text, num_samples)
        print(
            f"{name:13} {num_samples} samples x {real_chunks + 1} calls: "
            f"{1000 * seconds / calls:.2f} ms CPU per call, log {size / 1e6:.2f} MB"
        )


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--chunks", type=int, default=50)
    arguments = parser.parse_args()
    measure_overhead(arguments.samples, arguments.chunks)


if __name__ == "__main__":
    main()
