"""A training recipe: engine-independent, frozen, and refused when it has an unknown key.

A recipe is a list of stages; each starts from the stage before it, or from the one it names. This
module knows neither engines nor models.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longspan.harness.errors import RecipeError
from longspan.harness.files import read_mapping
from longspan.harness.generation import GenerationSettings
from longspan.trainers.advantages import Deviation
from longspan.trainers.aepo import AepoSettings
from longspan.trainers.clipping import ClippingSettings
from longspan.trainers.loss import ClipRange, Denominator, Normalisation
from longspan.trainers.sampler import ShortTypes

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Names become folders, so they are plain."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskSource(_Settings):
    """A registered task to train on, with the arguments that it takes."""

    task: str = Field(min_length=1)
    """Name of a registered task, e.g. `longspan/taskset`."""

    args: dict[str, Any] = {}
    """Arguments of the task, as `-T name=value` of `inspect eval`."""

    reward_key: str | None = None
    """Which score is the reward, for tasks with several."""


class SamplingSettings(_Settings):
    """Which samples make a batch and how rollouts are generated."""

    batch_size: int = Field(ge=1)
    """Samples (prompts) per step; the paper's batch is 128."""

    group_size: int = Field(default=8, ge=2)
    """Rollouts per sample (G)."""

    balanced: bool = True
    """Equal shares of the task types present; false draws from all samples alike."""

    short_types: ShortTypes = "recycle"
    """What happens to a task type with few samples."""

    temperature: float = Field(default=0.7, gt=0)
    """Sampling temperature; entropies and log-probabilities are taken at it."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Mass of the nucleus that tokens are drawn from."""

    max_output_tokens: int = Field(ge=1)
    """Limit on sampled tokens per model call."""

    max_input_tokens: int | None = Field(default=None, ge=1)
    """Samples known to be longer are left out of the stage."""

    train_on_cut_off: bool = True
    """Whether rollouts that hit the output limit take part (with their score, normally 0)."""

    def generation(self, seed: int) -> GenerationSettings:
        """Returns the settings for the environment."""
        return GenerationSettings(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_output_tokens,
            seed=seed,
        )


class ObjectiveSettings(_Settings):
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


class OptimizerSettings(_Settings):
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


class TrainStage(_Settings):
    """One stage of RL."""

    kind: Literal["train"] = "train"
    """What the stage does."""

    name: Name
    """Name of the stage and of its folder."""

    start_from: Name | None = None
    """Stage whose checkpoint this one starts from; none is the stage before it."""

    tasks: tuple[TaskSource, ...] = Field(min_length=1)
    """What to train on."""

    solver: str | None = None
    """Registered solver in place of every task's own, e.g. `longspan/memory_agent`."""

    solver_args: dict[str, Any] = {}
    """Arguments of the solver."""

    num_steps: int = Field(ge=1)
    """Updates; one per batch."""

    sampling: SamplingSettings
    """Batches and generation."""

    objective: ObjectiveSettings = ObjectiveSettings()
    """Advantages, masks, loss."""

    optimizer: OptimizerSettings
    """Learning rate and what goes with it."""


Stage = TrainStage
"""A stage of a recipe, told apart by its `kind`."""


class Recipe(_Settings):
    """A whole training run."""

    name: Name
    """Name of the recipe."""

    description: str = ""
    """What it is for, in a sentence."""

    checkpoint: str = Field(min_length=1)
    """The model to start from: a shipped checkpoint, a directory or a hub id."""

    seed: int = Field(default=0, ge=0)
    """Of batches and sampling."""

    state_every_steps: int = Field(default=1, ge=1)
    """Steps between states to resume from; other steps are repeated after a kill."""

    model_roles: dict[str, str] = {}
    """Models by role, e.g. a judge: `grader: openai/...`."""

    stages: tuple[Stage, ...] = Field(min_length=1)
    """In order."""

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> Recipe:
        seen: list[str] = []
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(f"two stages have the name {stage.name!r}; rename one")
            if stage.start_from is not None and stage.start_from not in seen:
                raise ValueError(
                    f"stage {stage.name!r} starts from {stage.start_from!r}, which is no earlier "
                    f"stage; name one of {seen}"
                )
            seen.append(stage.name)
        return self

    def with_tasks(self, *tasks: TaskSource) -> Recipe:
        """Returns the recipe with every stage training on `tasks` instead."""
        stages = tuple(stage.model_copy(update={"tasks": tasks}) for stage in self.stages)
        return self.model_copy(update={"stages": stages})


def load_recipe(path: Path) -> Recipe:
    """Returns the recipe of a YAML file.

    Raises:
        DataError: the file is missing or not YAML.
        RecipeError: it is not a recipe; the message names the key.
    """
    content = read_mapping(path, "recipe")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"recipe {path}: {_first_problem(error)}") from error


def recipe_hash(recipe: Recipe) -> str:
    """Returns a hash of the resolved recipe, a label on checkpoints and logs (12 hex digits)."""
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()[:12]


def _first_problem(error: ValidationError) -> str:
    """Returns the first problem in one line: where, what, the value."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "recipe"
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {where}; remove it or correct its spelling"
    if problem["type"] == "missing":
        return f"{where} is missing; add it"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {problem['msg']}: got {problem['input']!r:.80}{more}; change it"
