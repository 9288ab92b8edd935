"""A model provider that says what a function tells it to, and records calls as our own does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)

from longspan.harness.rollout import Call, record_call


@dataclass(frozen=True)
class Request:
    """What the model was asked in one call."""

    messages: list[ChatMessage]
    config: GenerateConfig

    @property
    def prompt(self) -> str:
        """Text of the last message."""
        return self.messages[-1].text

    @property
    def identity(self) -> dict[str, Any]:
        """Sample, epoch and turn that the last message is tagged with; {} without a tag."""
        return (self.messages[-1].metadata or {}).get("longspan", {})


Script = Callable[[Request], str]
"""What to say: text that ends in '...' was cut off, text after a leading '!' is an error."""
SCRIPTS: dict[str, Script] = {}
"""Scripts by model name: what the model `scripted/<name>` says."""


@modelapi(name="scripted")
class ScriptedAPI(ModelAPI):
    """Answers each call by the script that its name has when it is made."""

    def __init__(self, model_name: str, **settings: Any) -> None:
        super().__init__(model_name, **settings)
        self.script = SCRIPTS[model_name]
        self.calls: list[Request] = []

    async def count_text_tokens(self, text: str) -> int:
        """Returns a quarter of the characters: Inspect's own count would need the network."""
        return max(1, len(text) // 4)

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns what the script says; a character of the prompt and a sampled byte are tokens."""
        request = Request(list(input), config)
        self.calls.append(request)
        text = self.script(request)
        if text.startswith("!"):
            raise RuntimeError(text[1:])
        stop = "max_tokens" if text.endswith("...") else "stop"
        prompt, sampled = tuple(range(len(request.prompt))), tuple(text.encode())
        output = ModelOutput.from_content(self.model_name, text, stop)
        output.usage = ModelUsage(
            input_tokens=len(prompt),
            output_tokens=len(sampled),
            total_tokens=len(prompt) + len(sampled),
        )
        call = Call(prompt, sampled, (-0.5,) * len(sampled), stop, policy_version=3)
        output.metadata = record_call(call) or None
        return output


def scripted_model(
    script: Script | str, name: str = "model", max_tokens: int | None = None, **attributes: Any
) -> Model:
    """Returns a model that answers by a function of the request, or always the same.

    `attributes` are what a provider may tell about itself: window, token_counter, checkpoint_hash.
    """
    SCRIPTS[name] = script if callable(script) else lambda _: script
    config = GenerateConfig(max_tokens=max_tokens)
    model = get_model(f"scripted/{name}", config=config, memoize=False)
    vars(model.api).update(attributes)
    return model
