"""Rollouts in the process of a vLLM engine: a stage's tasks with their own solvers and scorers.

OpenRLHF loads this file as its agent (`--train.agent_func_path`). Its own executors make one
completion of one prompt, cut prompts on the left and turn a failed reward into none; here a batch
of samples goes through the same environment as in the embedded engine (`harness.environment`), so
truncation, judges, validity and the reward are the task's. A prompt that does not fit the window is
an error of its rollout and is never cut.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.dataset import Sample
from openrlhf.utils.agent import AgentExecutorBase
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from longspan.harness.errors import ModelError, WindowError, one_line
from longspan.harness.reading import declared_reading
from longspan.harness.rollout import Rollout
from longspan.trainers.local.checkpoint import load_tokenizer, resolve_directory
from longspan.trainers.local.provider import register_policy
from longspan.trainers.local.schedule import GenerationRequest, GenerationResult
from longspan.trainers.local.stage import stage_environment, stage_samples
from longspan.trainers.openrlhf.arguments import knows_logprobs
from longspan.trainers.openrlhf.run_file import read_run


class AgentExecutor(AgentExecutorBase):  # type: ignore[misc]
    """Runs the stage's tasks against the engine of this process."""

    def __init__(self) -> None:
        """Loads the stage's tasks.

        Raises:
            LongspanError: the run file or a task cannot be used.
        """
        file = read_run()
        # Ray's processes begin wherever it was started.
        os.chdir(file.working_directory)
        run = file.stage_run()
        self._sampling = run.stage.sampling
        self._policy = EnginePolicy(
            load_tokenizer(file.start),
            file.window,
            knows_logprobs(self._sampling),
            declared_reading(resolve_directory(file.start)),
        )
        register_policy(run.stage.name, self._policy)
        self._environment = stage_environment(run, run.stage.name)
        self._samples = stage_samples(self._environment.tasks, run)

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Refuses: a single completion outside of its task has no reward.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("rollouts are made by `rollouts`; OpenRLHF asked for one prompt")

    async def rollouts(self, engine: Any, keys: Sequence[str], step: int) -> list[Rollout]:
        """Returns the rollouts of some samples by the engine's weights.

        Args:
            engine: OpenRLHF's rollout actor, in whose event loop this runs.
            keys: of the samples.
            step: number of the training step; also the number of updates of the weights.

        Raises:
            ModelError: the engine died; its rollouts are no fault of the policy.
        """
        batch: dict[str, list[Sample]] = defaultdict(list)
        for key in keys:
            task, sample = self._samples[key]
            batch[task].append(sample)
        self._policy.serve(engine, asyncio.get_running_loop(), step)
        rollouts = await asyncio.to_thread(
            self._environment.rollouts,
            batch,
            self._sampling.group_size,
            step,
            require_reward=False,
        )
        if self._policy.death is not None:
            reason = one_line(str(self._policy.death), 200)
            raise ModelError(
                f"a vLLM engine died in step {step + 1} ({reason}); the last state is kept: see "
                "the log, then run the same command again"
            )
        return rollouts


class EnginePolicy:
    """The engine of this process as a policy that our model provider serves.

    Inspect runs in a thread with a loop of its own; calls cross over to the engine's loop.
    """

    def __init__(
        self,
        tokenizer: Any,
        window: int,
        knows_logprobs: bool,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        """Waits for an engine.

        Args:
            tokenizer: of the policy.
            window: tokens of prompt and response together.
            knows_logprobs: whether the engine's log-probabilities are those at the sampling
                temperature before top-p; otherwise results have nan.
            reading: how the checkpoint says that memory turns are worded (`harness.reading`).
        """
        self.tokenizer, self.window, self.policy_version = tokenizer, window, 0
        self.reading = reading
        self.death: EngineDeadError | None = None
        """What a call said of an engine that died: calls that failed end as failed rollouts."""
        self._knows_logprobs = knows_logprobs
        self._engine: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self, engine: Any, loop: asyncio.AbstractEventLoop, policy_version: int) -> None:
        """Sends the calls that follow to an engine, which runs in `loop`."""
        self._engine, self._loop, self.policy_version = engine, loop, policy_version

    async def submit(self, request: GenerationRequest) -> GenerationResult:
        """Returns the completion of a request.

        Raises:
            WindowError: the prompt leaves no room in the window.
        """
        room = self.window - len(request.prompt_ids)
        if room < 1 or not request.prompt_ids:
            raise WindowError(
                f"a prompt must have 1 to {self.window - 1} tokens: got {len(request.prompt_ids)}; "
                "shorten it, or raise max_window_tokens of the cluster"
            )
        if self._loop is None:
            raise RuntimeError("no engine serves this policy yet")
        call = self._engine.generate(list(request.prompt_ids), self._settings(request, room))
        try:
            output = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))
        except EngineDeadError as error:
            self.death = error
            raise
        return self._result(output.outputs[0])

    def _settings(self, request: GenerationRequest, room: int) -> SamplingParams:
        return SamplingParams(
            max_tokens=min(request.max_new_tokens, room),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed >> 1,  # a signed number of 64 bits
            logprobs=0 if self._knows_logprobs else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _result(self, output: Any) -> GenerationResult:
        ids = tuple(output.token_ids)
        logprobs = [math.nan] * len(ids)
        if output.logprobs is not None:
            found = zip(ids, output.logprobs, strict=True)
            logprobs = [by_token[token].logprob for token, by_token in found]
        is_cut = output.finish_reason == "length"
        return GenerationResult(ids, tuple(logprobs), "max_tokens" if is_cut else "stop")
