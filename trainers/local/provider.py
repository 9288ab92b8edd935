"""Inspect model providers over the embedded engine.

`longspan-local/<checkpoint>` serves a packaged checkpoint ("nano", "nano-ceiling"), a checkpoint
folder or a Hub id; `longspan-rl/<name>` serves an engine that a trainer of this process registered.
Both generate alike, so training and evaluation see the same policy. While calls are recorded
(`harness.rollout`), every output refers to its token ids and log-probabilities.

Options (`-M name=value` of longspan-local): device, dtype, window, max_batch_rows.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from contextvars import Context
from functools import cached_property
from typing import Any, Protocol
from weakref import WeakValueDictionary, finalize

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import store

from longspan.harness.errors import ModelError, WindowError
from longspan.harness.prompts import identity_of
from longspan.harness.references import expand
from longspan.harness.rollout import Call, record_call
from longspan.harness.tokens import HubTokens
from longspan.trainers.local.chat import prompt_ids, split_thinking
from longspan.trainers.local.checkpoint import find_checkpoint, resolve_directory, weights_hash
from longspan.trainers.local.engine import Engine, GenerationRequest, GenerationResult

MAX_CONNECTIONS = 1024
"""The engine gathers calls itself; a low limit would only make its batches small."""
UNSUPPORTED = ("stop_seqs", "top_k", "frequency_penalty", "presence_penalty", "response_schema")

NO_SAMPLE = Context().run(store)
"""The store that code sees outside of any sample."""


class PolicyEngine(Protocol):
    """What samples for a provider: the embedded engine, or one that reaches a server."""

    tokenizer: Any
    window: int
    policy_version: int
    reading: Mapping[str, Any] | None

    async def submit(self, request: GenerationRequest) -> GenerationResult:
        """Returns the completion of a request."""


_policies: dict[str, PolicyEngine] = {}
_engines: WeakValueDictionary[tuple[object, ...], Engine] = WeakValueDictionary()


def register_policy(name: str, engine: PolicyEngine) -> None:
    """Makes an engine available as `longspan-rl/<name>`, in place of one of that name."""
    _policies[name] = engine


def unregister_policy(name: str) -> None:
    """Forgets a registered engine; unknown names are ignored."""
    _policies.pop(name, None)


class EmbeddedModelAPI(ModelAPI):
    """What both providers share: everything but where the engine comes from."""

    expands_references = True
    """Messages may refer to passages of a document (`harness.references`)."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None,
        api_key: str | None,
        config: GenerateConfig | None,
    ) -> None:
        config = config or GenerateConfig()
        if config.max_connections is None and config.adaptive_connections is None:
            # Inspect would otherwise start at 20 calls and grow, as for a remote service.
            config.max_connections = MAX_CONNECTIONS
        super().__init__(model_name, base_url, api_key, [], config)
        self._occurrences: Counter[tuple[int, ...]] = Counter()
        self._repeats: dict[int, Counter[tuple[object, ...]]] = {}
        self._token_counter: HubTokens | None = None

    @property
    def engine(self) -> PolicyEngine:
        """The engine that generates."""
        raise NotImplementedError

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.engine.tokenizer

    @property
    def token_counter(self) -> HubTokens:
        """Counts and cuts text with the model's tokenizer; the same one while that is the same."""
        if self._token_counter is None or self._token_counter.tokenizer is not self.tokenizer:
            self._token_counter = HubTokens(self.tokenizer, self.model_name)
        return self._token_counter

    @property
    def reading(self) -> Mapping[str, Any] | None:
        """How the checkpoint says that its memory turns are worded (`harness.reading`)."""
        return self.engine.reading

    @property
    def window(self) -> int:
        """Tokens of prompt and completion together."""
        return self.engine.window

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Returns the model's completion of a chat.

        Raises:
            ModelError: tools or settings that the engine does not have, or a failed template.
            VocabularyError: the text is largely unknown to the tokenizer.
            WindowError: the prompt does not fit into the window.
        """
        started = time.monotonic()
        _refuse_unsupported(self.model_name, tools, config)
        input = expand(input)
        prompt = self._prompt_ids(input)
        request = GenerationRequest(
            prompt_ids=prompt,
            max_new_tokens=config.max_tokens or self.window,
            temperature=1.0 if config.temperature is None else config.temperature,
            top_p=1.0 if config.top_p is None else config.top_p,
            seed=self._seed(input, prompt, config.seed or 0),
        )
        result = await self.engine.submit(request)
        return self._output(prompt, result, bool(config.logprobs), time.monotonic() - started)

    async def count_text_tokens(self, text: str) -> int:
        """Returns the number of tokens by the model's tokenizer (tiktoken would need a network)."""
        return self.token_counter.count(text)

    async def tokenize(self, text: str) -> list[int]:
        """Returns the token ids of a text, without special tokens added."""
        return self.token_counter.encode(text)

    def max_connections(self) -> int:
        """Returns the number of calls that Inspect may have in flight."""
        return MAX_CONNECTIONS

    def connection_key(self) -> str:
        """Returns the scope of `max_connections`: each model its own."""
        return self.model_name

    def should_retry(self, ex: Exception) -> bool:
        """Returns False: an error of an engine in this process does not go away by itself."""
        return False

    def _prompt_ids(self, messages: list[ChatMessage]) -> tuple[int, ...]:
        """Returns the token ids of a chat, checked against the window."""
        ids = prompt_ids(self.tokenizer, self.model_name, messages)
        if len(ids) > self.window - 1:
            raise WindowError(
                f"the prompt has {len(ids)} tokens but the policy's window is {self.window}; "
                "shorten it, or use a solver that truncates or reads in chunks"
            )
        return ids

    def _seed(self, messages: list[ChatMessage], prompt: tuple[int, ...], base: int) -> int:
        """Returns a seed that says which call this is: of sample, epoch and turn where known.

        Otherwise equal prompts are told apart by their number, in order of arrival. So are calls of
        one turn of one sample, as a solver makes them that votes over several answers.
        """
        known = identity_of(messages)
        identity: tuple[object, ...]
        if known:
            turn = ("rollout", *(known.get(key) for key in ("sample", "epoch", "turn")))
            repeats = self._num_repeats(turn)
            identity = (*turn, repeats) if repeats else turn
        else:
            identity = ("prompt", prompt, self._occurrences[prompt])
            self._occurrences[prompt] += 1
        digest = hashlib.blake2b(repr((base, *identity)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")

    def _num_repeats(self, call: tuple[object, ...]) -> int:
        """Returns how often the running sample has made this call before."""
        sample = store()
        if sample is NO_SAMPLE:
            return 0
        counts = self._repeats.get(id(sample))
        if counts is None:
            counts = self._repeats[id(sample)] = Counter()
            finalize(sample, self._repeats.pop, id(sample), None)
        counts[call] += 1
        return counts[call] - 1

    def _output(
        self, prompt: tuple[int, ...], result: GenerationResult, logprobs: bool, seconds: float
    ) -> ModelOutput:
        """Returns a completion in Inspect's terms."""
        ids = result.token_ids[:-1] if result.stop_reason == "stop" else result.token_ids
        version = self.engine.policy_version
        call = Call(prompt, result.token_ids, result.logprobs, result.stop_reason, version)
        choice = ChatCompletionChoice(
            message=ChatMessageAssistant(
                content=split_thinking(self.token_counter.decode(list(ids))),
                model=self.model_name,
                source="generate",
            ),
            stop_reason=result.stop_reason,
            logprobs=self._logprobs(result) if logprobs else None,
        )
        num_prompt, num_sampled = len(prompt), len(result.token_ids)
        return ModelOutput(
            model=self.model_name,
            choices=[choice],
            usage=ModelUsage(
                input_tokens=num_prompt,
                output_tokens=num_sampled,
                total_tokens=num_prompt + num_sampled,
            ),
            time=seconds,
            metadata={"policy_version": version, **record_call(call)},
        )

    def _logprobs(self, result: GenerationResult) -> Logprobs:
        tokens = self.tokenizer.convert_ids_to_tokens(list(result.token_ids))
        pairs = zip(tokens, result.logprobs, strict=True)
        return Logprobs(content=[Logprob(token=str(t), logprob=value) for t, value in pairs])


class LocalModelAPI(EmbeddedModelAPI):
    """`longspan-local/<packaged name, folder or Hub id>`."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **options: Any,
    ) -> None:
        """Loads the checkpoint, or shares it with another instance of the same options.

        Raises:
            ModelError: the checkpoint is missing or cannot be used, or an option is unknown.
        """
        super().__init__(model_name, base_url, api_key, config)
        known = ("device", "dtype", "window", "max_batch_rows")
        if unknown := sorted(set(options) - set(known)):
            raise ModelError(f"unknown model option: {unknown[0]}; use one of {', '.join(known)}")
        self.source = find_checkpoint(model_name)
        key = (self.source, *(options.get(name) for name in known))
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = Engine.load(self.source, **options)
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The engine over the checkpoint."""
        return self._engine

    @cached_property
    def checkpoint_hash(self) -> str:
        """The hash of the weights: the checkpoint's identity in logs and on boards."""
        return weights_hash(resolve_directory(self.source))


class PolicyModelAPI(EmbeddedModelAPI):
    """`longspan-rl/<name>`: the engine that a trainer in this process registered."""

    checkpoint_hash = None
    """The weights change from step to step; outputs carry the policy version instead."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
    ) -> None:
        """Finds the engine.

        Raises:
            ModelError: nothing is registered under the name.
        """
        super().__init__(model_name, base_url, api_key, config)
        self._engine_now()  # fails here rather than in every sample

    @property
    def engine(self) -> PolicyEngine:
        """The engine that is registered now: Inspect keeps providers beyond a training run."""
        return self._engine_now()

    def _engine_now(self) -> PolicyEngine:
        if self.model_name not in _policies:
            raise ModelError(
                f"no policy {self.model_name!r} is being trained in this process; evaluate a saved "
                "checkpoint with longspan-local/<folder>"
            )
        return _policies[self.model_name]


def _refuse_unsupported(name: str, tools: list[ToolInfo], config: GenerateConfig) -> None:
    if tools:
        raise ModelError(
            f"{name} runs in the embedded engine, which has no tool calls; "
            f"use a solver without tools (got {tools[0].name})"
        )
    for setting in UNSUPPORTED:
        if getattr(config, setting) is not None:
            raise ModelError(f"the embedded engine does not support {setting}; leave it out")
    if (config.num_choices or 1) > 1:
        raise ModelError(f"num_choices must be 1: got {config.num_choices}; use epochs instead")
