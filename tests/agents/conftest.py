"""A scripted policy behind Inspect's own interface, and a run of one task with it."""

# ruff: noqa: D101, D102

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    get_model,
    modelapi,
)
from inspect_ai.solver import Solver

TOKEN = re.compile(r"\w+|[^\w\s]")


class WordTokens:
    """Words and signs are tokens; decoding joins them with spaces, so it is not verbatim."""

    name = "words"
    exact = True

    def __init__(self) -> None:
        self.words: list[str] = []
        self.ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        ids = []
        for word in TOKEN.findall(text):
            if word not in self.ids:
                self.ids[word] = len(self.words)
                self.words.append(word)
            ids.append(self.ids[word])
        return ids

    def decode(self, ids: list[int]) -> str:
        return " ".join(self.words[i] for i in ids)

    def count(self, text: str) -> int:
        return len(TOKEN.findall(text))


@dataclass
class Call:
    """One call of the scripted policy."""

    prompt: str
    max_tokens: int | None
    identity: dict[str, Any] | None
    num_messages: int


@dataclass
class Script:
    """The policy: a function from prompt to completion, and what it was asked."""

    policy: Callable[[str], str | tuple[str, StopReason]]
    window: int | None = None
    die_at: int | None = None
    """Number of the call at which the process "dies": the call raises."""
    calls: list[Call] = field(default_factory=list)


@modelapi(name="scripted-agent")
class ScriptedAPI(ModelAPI):
    """Answers from a script at once."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own signature)
        script: Script | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        assert script is not None
        self.script = script
        self.window = script.window
        self.token_counter = WordTokens()
        self.checkpoint_hash = model_name

    async def count_text_tokens(self, text: str) -> int:
        return self.token_counter.count(text)

    async def generate(
        self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        script = self.script
        last = input[-1]
        identity = (last.metadata or {}).get("longspan")
        script.calls.append(Call(last.text, config.max_tokens, identity, len(input)))
        if script.die_at is not None and len(script.calls) == script.die_at:
            raise RuntimeError("killed")
        result = script.policy(last.text)
        text, stop = result if isinstance(result, tuple) else (result, "stop")
        message = ChatMessageAssistant(content=text, model=self.model_name, source="generate")
        choice = ChatCompletionChoice(message=message, stop_reason=stop)
        usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return ModelOutput(model=self.model_name, choices=[choice], usage=usage)


@dataclass
class Run:
    """One sample after a run, with the calls that it made."""

    log: EvalLog
    sample: EvalSample
    calls: list[Call]

    @property
    def memory(self) -> dict[str, Any]:
        return self.sample.store["longspan:memory"]

    @property
    def truncation(self) -> dict[str, Any]:
        return self.sample.store["longspan:truncation"]


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    def make(context: Any = None, question: str = "Who won?", **metadata: Any) -> Sample:
        fields = {"question": question, "instructions": "End with the answer.", **metadata}
        if context is not None:
            fields["context"] = context if isinstance(context, dict) else {"text": context}
        return Sample(id="s/1", input=f"{question}\n\nEnd with the answer.", metadata=fields)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Runs a solver on one sample with a scripted policy."""

    def run_one(
        solver: Solver,
        sample: Sample,
        policy: Callable[[str], str | tuple[str, StopReason]],
        window: int | None = None,
        die_at: int | None = None,
        **settings: Any,
    ) -> Run:
        script = Script(policy, window, die_at)
        config = GenerateConfig(max_tokens=settings.pop("max_tokens", None))
        model = get_model("scripted-agent/policy", config=config, memoize=False, script=script)
        task = Task(dataset=[sample], solver=solver)
        (log,) = eval(task, model, display="none", log_dir=str(tmp_path / "logs"), **settings)
        assert log.samples is not None
        return Run(log, log.samples[0], script.calls)

    return run_one
