"""A model provider that says what a function tells it to, and records calls as our own does."""

from __future__ import annotations

from collections.abc import Callable

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from longspan.harness.rollout import Call, record_call

Script = Callable[[list[ChatMessage], GenerateConfig], str]
SCRIPTS: dict[str, Script] = {}
"""Scripts by model name: what the model `scripted/<name>` says."""


class ScriptedAPI(ModelAPI):
    """Answers each call by a script; a text that ends in '...' was cut off."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature)
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.script: Script = SCRIPTS[model_name]
        self.calls: list[tuple[list[ChatMessage], GenerateConfig]] = []

    async def count_text_tokens(self, text: str) -> int:
        """Returns a quarter of the characters: Inspect's own count would need the network."""
        return max(1, len(text) // 4)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Returns what the script says."""
        self.calls.append((list(input), config))
        text = self.script(list(input), config)
        cut = text.endswith("...")
        prompt = tuple(range(len(input[-1].text)))
        sampled = tuple(text.encode())
        call = Call(prompt, sampled, (-0.5,) * len(sampled), "max_tokens" if cut else "stop", 3)
        message = ChatMessageAssistant(content=text, model="scripted", source="generate")
        return ModelOutput(
            model="scripted",
            choices=[
                ChatCompletionChoice(message=message, stop_reason="max_tokens" if cut else "stop")
            ],
            usage=ModelUsage(
                input_tokens=len(prompt),
                output_tokens=len(sampled),
                total_tokens=len(prompt) + len(sampled),
            ),
            metadata=record_call(call) or None,
        )


@modelapi(name="scripted")
def scripted() -> type[ModelAPI]:
    """Registers the provider."""
    return ScriptedAPI


def scripted_model(script: Script | str, name: str = "model") -> Model:
    """Returns a model that answers by a function of the messages, or always the same."""
    SCRIPTS[name] = script if callable(script) else lambda messages, config: script
    return get_model(f"scripted/{name}", memoize=False)
