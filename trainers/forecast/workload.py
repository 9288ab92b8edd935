"""What a stage asks of a model: how many sequences, how long, and what they share.

Lengths are the recipe's limits, the most that can happen, unless a mean is stated. How a memory
agent reads is its own matter (`longspan forecast eval` runs it); here its turns are counted from
the sizes that a recipe gives it, which the agent checks when it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from longspan.harness.errors import RecipeError
from longspan.harness.registry import PACKAGE
from longspan.harness.resolve import resolve_solver
from longspan.trainers.recipe import Recipe
from longspan.trainers.stages import FilterStage, TaskSource, TrainStage

MEMAGENT = f"{PACKAGE}/memagent"
"""The one of them that writes no plan."""
READERS = (f"{PACKAGE}/memory_agent", MEMAGENT)
"""Solvers that read chunk by chunk."""
MIN_PLAN_TOKENS = 8
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
    layout: str | None = None,
) -> Workload:
    """Returns the sequences of one step (of a filter: of one part of its measurement).

    Args:
        recipe: the stage's.
        stage: a stage that generates.
        window: of the model.
        input_tokens: mean length of the inputs; None is the longest that the stage allows.
        output_tokens: mean length of what a turn samples; None is the limit.
        layout: of memory turns where the stage names none: what the checkpoint declares.

    Raises:
        RecipeError: a size or a plan of the recipe is none, or a memory agent's exceed the window.
        SpecError: an unknown solver, or arguments that it does not take.
    """
    sampling, solver = stage.sampling, _solver(stage)
    output = min(sampling.max_output_tokens, output_tokens or sampling.max_output_tokens)
    document = longest_input(recipe, stage)
    if document is None:
        document = max(1, window - sampling.max_output_tokens)
        # A memory agent reads beyond the window.
        document = max(document, input_tokens or 0) if solver in READERS else document
    document = min(document, input_tokens or document)
    work = Workload(
        num_groups=sampling.batch_size,
        group_size=sampling.group_size,
        num_turns=1,
        prefix_tokens=max(1, min(document, window - output)),
        suffix_tokens=0,
        output_tokens=output,
    )
    if solver in READERS:
        args = dict(stage.solver_args)
        if solver != MEMAGENT:
            args["layout"] = args.get("layout") or layout
        sizes = _reading_sizes(args, solver != MEMAGENT, window)
        return _reading(work, args, sizes, document, output_tokens)
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
    if not isinstance(plan, dict) or "splits" not in plan:
        return None
    splits = _mapping(source, "splits", plan["splits"])
    if "train" not in splits:
        return None
    lengths = _mapping(source, "splits.train", splits["train"])
    found = {_length(source, key): num for key, num in lengths.items()}
    for length, num in found.items():
        if isinstance(num, bool) or not isinstance(num, int) or num < 0:
            raise RecipeError(
                f"splits.train.{length} of the task set {source.taskset} must be a number of "
                f"samples: got {num!r}; change the recipe"
            )
    return {length: num for length, num in found.items() if num} or None


def _mapping(source: TaskSource, name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise RecipeError(
            f"{name} of the task set {source.taskset} must be a mapping: got {value!r}; "
            "change the recipe, for example to splits: {train: {4096: 100}}"
        )
    return value


def _length(source: TaskSource, key: Any) -> int:
    if isinstance(key, bool) or not str(key).isdecimal() or int(key) < 1:
        raise RecipeError(
            f"a length in splits.train of the task set {source.taskset} must be a positive whole "
            f"number of tokens: got {key!r}; change the recipe"
        )
    return int(key)


def _solver(stage: TrainStage | FilterStage) -> str | None:
    """Returns a stage's solver with its package, made once so that it checks its arguments."""
    if stage.solver is None:
        return None
    return resolve_solver(stage.solver, stage.solver_args).solver


@dataclass(frozen=True)
class _ReadingSizes:
    """Tokens of a memory agent's chunk, and of what a turn carries on."""

    chunk: int
    written: int


def _reading_sizes(args: Mapping[str, Any], has_plan: bool, window: int) -> _ReadingSizes:
    """Returns a memory agent's sizes: its arguments, or its defaults for the window.

    The plan has a quarter of the memory. Question and instructions are not counted.

    Raises:
        RecipeError: they leave no room in the window, where the agent refuses, too.
    """
    memory = args.get("memory_tokens") or min(window * 5 // 32, MAX_MEMORY_TOKENS)
    written = memory + (max(MIN_PLAN_TOKENS, memory // 4) if has_plan else 0)
    room = window - written - (args.get("max_turn_tokens") or written)
    chunk = args.get("chunk_tokens")
    if chunk is not None and chunk > room:
        raise RecipeError(
            f"chunk_tokens exceeds the room beside memory, plan and output: got {chunk} > "
            f"{room} in a window of {window}; lower chunk_tokens, memory_tokens or max_turn_tokens"
        )
    if room < 1:
        raise RecipeError(
            f"memory_tokens leaves no room for a chunk in the model's window of {window} tokens: "
            f"got {memory}; lower memory_tokens or max_turn_tokens"
        )
    return _ReadingSizes(chunk or min(window // 2, MAX_CHUNK_TOKENS, room), written)


def _reading(
    work: Workload,
    args: Mapping[str, Any],
    sizes: _ReadingSizes,
    document: int,
    mean_output: int | None,
) -> Workload:
    """Returns a memory agent's workload: K chunks and the answer, memory and plan in each prompt.

    With the layout `chunk_first` rollouts share the chunk.
    """
    chunk, written = min(sizes.chunk, document), sizes.written
    num_turns = math.ceil(document / chunk) + 1
    is_shared = args.get("layout") == "chunk_first"
    # A turn may write memory and plan even where the recipe's limit is lower.
    output = max(work.output_tokens, written) if mean_output is None else work.output_tokens
    return replace(
        work,
        num_turns=min(num_turns, args.get("max_calls") or num_turns),
        prefix_tokens=chunk if is_shared else 0,
        suffix_tokens=written + (0 if is_shared else chunk),
        output_tokens=output,
    )


def _size(name: str, value: Any) -> int:
    """Returns a size that a recipe gives a task, which checks it itself."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RecipeError(
            f"{name} must be a positive whole number: got {value!r}; change the recipe"
        )
    return value
