"""Generation settings of a run: they belong to suites and recipes, never to a task or a solver."""

from __future__ import annotations

from inspect_ai.model import GenerateConfig, GenerateConfigArgs
from pydantic import BaseModel, ConfigDict, Field


class GenerationSettings(BaseModel):
    """How a model is sampled; applied as eval arguments, which override every other source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.7, ge=0.0)
    """Sampling temperature; 0 is greedy. The paper's evaluations use 0.7."""

    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Mass of the nucleus that tokens are drawn from. The paper's evaluations use 0.95."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Limit on generated tokens per model call; None leaves it to the solver or provider."""

    seed: int = Field(default=0, ge=0)
    """Seed of the run; a local engine derives the seed of every call from it."""

    def eval_arguments(self, seed: int | None = None) -> GenerateConfigArgs:
        """Returns the keyword arguments of `inspect_ai.eval` for these settings.

        Args:
            seed: Takes the place of the settings' own seed where given.
        """
        arguments = GenerateConfigArgs(
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed if seed is None else seed,
        )
        if self.max_tokens is not None:
            arguments["max_tokens"] = self.max_tokens
        return arguments

    def config(self, **more: int | bool) -> GenerateConfig:
        """Returns the settings as a model's configuration, with more of its settings."""
        return GenerateConfig.model_validate({**self.eval_arguments(), **more})
