"""OpenRLHF's vLLM actor, with a stage's tasks in its process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openrlhf.trainer.ray import vllm_engine

from longspan.harness.rollout import Rollout
from longspan.trainers.openrlhf.contract import plain
from longspan.trainers.openrlhf.cpu import WORKER_EXTENSION
from longspan.trainers.openrlhf.run_file import read_run

PREFILL_TOKENS = 4096
"""Of prompts that are prefilled together on a CPU."""


class RolloutActor(plain(vllm_engine.RolloutRayActor)):  # type: ignore[misc]
    """A vLLM engine that returns whole rollouts."""

    async def __init__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[misc]
        """Starts the engine; see OpenRLHF's class for the arguments."""
        run = read_run()
        # Before top-p: as they are at temperature 1, else with the temperature applied.
        at_one = run.stage.sampling.temperature == 1
        kwargs["logprobs_mode"] = "raw_logprobs" if at_one else "processed_logprobs"
        kwargs["trust_remote_code"] = False
        if run.cluster.device == "cpu":
            kwargs["worker_extension_cls"] = WORKER_EXTENSION
            # A prompt that is prefilled in parts makes vLLM turn a call's generator of random
            # numbers back, which those of a CPU cannot.
            kwargs["enable_chunked_prefill"] = False
            kwargs["max_num_batched_tokens"] = max(run.window, PREFILL_TOKENS)
        await super().__init__(*args, **kwargs)

    async def rollouts(self, keys: Sequence[str], step: int) -> list[Rollout]:
        """Returns the rollouts of some samples; see `executor.AgentExecutor.rollouts`."""
        found: list[Rollout] = await self.executor.rollouts(self, keys, step)
        return found
