"""What a stage of RL can be told: batches and generation, objective, optimizer.

Frozen, with unknown keys refused. This module knows neither engines nor models.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.generation import GenerationSettings
from longspan.trainers.advantages import Deviation
from longspan.trainers.aepo import AepoSettings
from longspan.trainers.clipping import ClippingSettings
from longspan.trainers.loss import ClipRange, Denominator, Normalisation
from longspan.trainers.sampler import ShortTypes

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Names become folders, so they are plain."""


class Settings(BaseModel):
    """A frozen part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RoleModel(Settings):
    """A model in a role, such as the judge of a task's scorer."""

    model: str = Field(min_length=1)
    """Inspect model, packaged checkpoint, or checkpoint folder."""

    args: dict[str, Any] = {}
    """Arguments of its provider."""

    max_connections: int | None = Field(default=None, ge=1)
    """Calls in flight at most; none is the provider's own limit."""

    temperature: float | None = Field(default=None, ge=0)
    """Sampling temperature; none is the provider's own."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Limit on generated tokens per call; none is the provider's own."""


class RolloutSettings(Settings):
    """How rollouts of the policy are generated."""

    batch_size: int = Field(ge=1)
    """Samples (prompts) at once: of a step, or of a part of a filter's measurement."""

    group_size: int = Field(default=8, ge=2)
    """Rollouts per sample (G)."""

    temperature: float = Field(default=0.7, gt=0)
    """Sampling temperature; entropies and log-probabilities are taken at it."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Mass of the nucleus that tokens are drawn from."""

    max_output_tokens: int = Field(ge=1)
    """Limit on sampled tokens per model call."""

    max_input_tokens: int | None = Field(default=None, ge=1)
    """Samples known to be longer are left out of the stage."""

    def generation(self, seed: int) -> GenerationSettings:
        """Returns the settings for the environment."""
        return GenerationSettings(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_output_tokens,
            seed=seed,
        )


class SamplingSettings(RolloutSettings):
    """Which samples make a batch and how rollouts are generated; the paper's batch is 128."""

    balanced: bool = True
    """Equal shares of the task types present; false draws from all samples alike."""

    short_types: ShortTypes = "recycle"
    """What happens to a task type with few samples."""

    train_on_cut_off: bool = True
    """Whether rollouts take part of which a turn hit the output limit, or that a limit of the run
    ended (with their score, which is 0 where the answer was cut)."""


class ObjectiveSettings(Settings):
    """What is maximised: advantages, masks, loss (arXiv 2512.12967, section 4)."""

    deviation: Deviation = "task"
    """Over which rewards the advantage's standard deviation is taken."""

    aepo: AepoSettings | None = None
    """Adaptive entropy control; none never masks a rollout."""

    clipping: ClippingSettings | None = None
    """Negative-gradient clipping; none drops no token."""

    normalisation: Normalisation = "group"
    """Tokens weigh equally within a group and groups are averaged, or equally over the batch."""

    masked_denominator: Denominator = "all"
    """Whether masked tokens stay in the loss's denominators."""

    ratio_clip: ClipRange | None = None
    """PPO clipping against the log-probabilities of sampling; none is strictly on-policy."""


class OptimizerSettings(Settings):
    """AdamW with a constant learning rate after a short linear warm-up."""

    learning_rate: float = Field(gt=0)
    """The paper's is 2e-6."""

    warmup_steps: int = Field(default=5, ge=0)
    """Steps over which the learning rate rises to its value."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moment."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""

    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""

    micro_batch_tokens: int = Field(default=8192, ge=1)
    """Padded tokens of one forward; changes memory and speed, not the result beyond rounding."""

    def rate_of(self, step: int) -> float:
        """Returns the learning rate of a step (counted from 0): linear warm-up, then constant."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
