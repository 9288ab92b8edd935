"""What a stage asks of a model: how many sequences, how long, and what they share.

Lengths are the recipe's limits, the most that can happen, unless a mean is stated. How a memory
agent reads is its own matter (`longspan forecast eval` runs it); here its turns are counted from
the sizes that a recipe gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from longspan.harness.errors import RecipeError
from longspan.trainers.recipe import Recipe
from longspan.trainers.stages import FilterStage, TaskSource, TrainStage

READERS = ("longspan/memory_agent", "longspan/memagent")
"""Solvers that read chunk by chunk."""
MAX_CHUNK_TOKENS, MAX_MEMORY_TOKENS = 32_768, 15_360
"""What they take at most where a recipe does not say, of half and 5/32 of the window."""


@dataclass(frozen=True)
class Workload:
    """The sequences of one step: a batch of groups, each of the same number of rollouts.

    Attributes:
        num_groups: samples.
        group_size: rollouts of each (G).
        num_turns: sequences of a rollout.
        prefix_tokens: of a prompt, that the rollouts of a group share.
        suffix_tokens: of a prompt, that each has for itself.
        output_tokens: sampled in a turn.
    """

    num_groups: int
    group_size: int
    num_turns: int
    prefix_tokens: int
    suffix_tokens: int
    output_tokens: int

    @property
    def prompt_tokens(self) -> int:
        """Tokens of a prompt."""
        return self.prefix_tokens + self.suffix_tokens

    @property
    def sequence_tokens(self) -> int:
        """Tokens of a prompt and its output."""
        return self.prompt_tokens + self.output_tokens

    @property
    def num_sequences(self) -> int:
        """Sequences of the step."""
        return self.num_groups * self.group_size * self.num_turns

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens to compute, where a group shares its prefix."""
        of_group = self.prefix_tokens + self.group_size * self.suffix_tokens
        return self.num_groups * self.num_turns * of_group

    @property
    def decode_tokens(self) -> int:
        """Tokens to sample."""
        return self.num_sequences * self.output_tokens


def stage_workload(
    recipe: Recipe,
    stage: TrainStage | FilterStage,
    window: int,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
) -> Workload:
    """Returns the sequences of one step (of a filter: of one part of its measurement).

    Args:
        recipe: the stage's.
        stage: a stage that generates.
        window: of the model.
        input_tokens: mean length of the inputs; None is the longest that the stage allows.
        output_tokens: mean length of what a turn samples; None is the limit.
    """
    sampling = stage.sampling
    output = min(sampling.max_output_tokens, output_tokens or sampling.max_output_tokens)
    document = longest_input(recipe, stage) or window - sampling.max_output_tokens
    document = min(document, input_tokens or document)
    work = Workload(
        num_groups=sampling.batch_size,
        group_size=sampling.group_size,
        num_turns=1,
        prefix_tokens=max(1, min(document, window - output)),
        suffix_tokens=0,
        output_tokens=output,
    )
    if stage.solver in READERS:
        return _reading(work, stage.solver_args, document, window, output_tokens)
    return work


def longest_input(recipe: Recipe, stage: TrainStage | FilterStage) -> int | None:
    """Returns the tokens of the longest input that a stage allows; None where nothing says it."""
    limit = stage.sampling.max_input_tokens
    found = [_source_tokens(recipe, source) for source in recipe.sources(stage)]
    known = [one for one in found if one is not None]
    longest = max(known) if len(known) == len(found) and known else None
    return min((one for one in (limit, longest) if one is not None), default=None)


def num_samples(recipe: Recipe, stage: TrainStage | FilterStage) -> int | None:
    """Returns how many samples a stage's planned task sets hold; None where one is no plan."""
    total = 0
    for source in recipe.sources(stage):
        lengths = _planned_lengths(recipe, source)
        if lengths is None:
            return None
        asked = source.args.get("target_tokens")
        total += sum(n for length, n in lengths.items() if asked in (None, length))
    return total


def _source_tokens(recipe: Recipe, source: TaskSource) -> int | None:
    asked = source.args.get("target_tokens")
    if asked is not None:
        return _size("target_tokens", asked)
    lengths = _planned_lengths(recipe, source)
    return max(lengths) if lengths else None


def _planned_lengths(recipe: Recipe, source: TaskSource) -> Mapping[int, int] | None:
    """Returns how many training samples of each length a source's plan asks for."""
    plan = recipe.tasksets.get(source.taskset or "")
    lengths = plan.get("splits", {}).get("train") if isinstance(plan, dict) else None
    if not isinstance(lengths, dict):
        return None
    return {
        int(key): _size(f"splits.train.{key}", n) for key, n in lengths.items() if _is_size(key)
    }


def _reading(
    work: Workload, args: Mapping[str, Any], document: int, window: int, mean_output: int | None
) -> Workload:
    """Returns a memory agent's workload: K chunks and the answer, memory and plan in each prompt.

    The plan has a quarter of the memory. With the layout `chunk_first` rollouts share the chunk.
    """
    chunk, memory = min(window // 2, MAX_CHUNK_TOKENS), min(window * 5 // 32, MAX_MEMORY_TOKENS)
    if (asked := args.get("chunk_tokens")) is not None:
        chunk = _size("chunk_tokens", asked)
    if (asked := args.get("memory_tokens")) is not None:
        memory = _size("memory_tokens", asked)
    written = memory + memory // 4
    chunk = min(chunk, document)
    is_shared = args.get("layout") == "chunk_first"
    # A turn may write memory and plan even where the recipe's limit is lower.
    output = max(work.output_tokens, written) if mean_output is None else work.output_tokens
    return replace(
        work,
        num_turns=math.ceil(document / chunk) + 1,
        prefix_tokens=chunk if is_shared else 0,
        suffix_tokens=written + (0 if is_shared else chunk),
        output_tokens=output,
    )


def _is_size(key: Any) -> bool:
    return str(key).isdecimal()


def _size(name: str, value: Any) -> int:
    """Returns a size that a recipe gives a task, a solver or a plan, which check it themselves."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RecipeError(
            f"{name} must be a positive whole number: got {value!r}; change the recipe"
        )
    return value
