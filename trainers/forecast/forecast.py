"""A recipe's stages on given machines: memory of training and sampling, time of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from longspan.harness.errors import RecipeError
from longspan.trainers.forecast.activations import BFLOAT16
from longspan.trainers.forecast.architecture import Architecture
from longspan.trainers.forecast.memory import (
    SamplingMemory,
    TrainingMemory,
    engine_sampling,
    local_holding,
    local_precision,
    local_sampling,
    packed_forward,
    padded_forward,
    training_memory,
    zero_holding,
)
from longspan.trainers.forecast.timing import (
    Rates,
    num_passes,
    packed_flops,
    padded_flops,
    sampling_seconds,
    training_seconds,
)
from longspan.trainers.forecast.workload import Workload, num_samples, stage_workload
from longspan.trainers.openrlhf.cluster import ClusterSettings
from longspan.trainers.recipe import Recipe
from longspan.trainers.stages import FilterStage, MergeStage, TrainStage

RESERVE = 0.1
"""Share of a GPU that is better left free: contexts, buffers, fragmentation."""
Verdict = Literal["fits", "tight", "too large"]


@dataclass(frozen=True)
class Machines:
    """What a recipe runs on.

    Attributes:
        gpu_bytes: memory of one GPU; None is a CPU.
        cluster: of the OpenRLHF engine; None is the embedded engine, on one device.
        rates: as stated.
    """

    gpu_bytes: int | None
    cluster: ClusterSettings | None = None
    rates: Rates = Rates()

    @property
    def num_ranks(self) -> int:
        """Training processes."""
        return self.cluster.num_ranks if self.cluster else 1

    @property
    def num_engines(self) -> int:
        """Engines that sample."""
        return self.cluster.rollout_engines if self.cluster else 1


@dataclass(frozen=True)
class StageForecast:
    """What a stage will need, computed.

    Attributes:
        stage: its name.
        kind: train or filter.
        engine: which engine runs it.
        num_steps: updates, or parts of a filter's measurement; None is not known.
        workload: the longest sequences of a step.
        window: tokens that the model has; longer sequences are cut.
        training: per GPU; None where nothing is trained.
        sampling: per GPU.
        sampling_seconds: of a step's rollouts, mean lengths; None where no rates are stated.
        training_seconds: of a step's update.
    """

    stage: str
    kind: Literal["train", "filter"]
    engine: Literal["local", "openrlhf"]
    num_steps: int | None
    workload: Workload
    window: int
    training: TrainingMemory | None
    sampling: SamplingMemory
    sampling_seconds: float | None
    training_seconds: float | None

    def verdict(self, gpu_bytes: int) -> Verdict:
        """Returns whether the stage fits a GPU, and whether only just."""
        needed = max(self.training.total if self.training else 0, self.sampling.total)
        if self.sampling.at_once < 1 or needed > gpu_bytes:
            return "too large"
        return "fits" if needed <= (1 - RESERVE) * gpu_bytes else "tight"


def forecast_recipe(
    recipe: Recipe,
    model: Architecture,
    machines: Machines,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
) -> list[StageForecast]:
    """Returns what the stages that generate will need, in order.

    Memory is that of the longest sequences; time is that of the mean lengths.

    Args:
        recipe: the recipe.
        model: sizes of its checkpoint.
        machines: what it runs on.
        input_tokens: mean length of inputs; None is the limit of each stage.
        output_tokens: mean length of outputs; None is the limit of each stage.

    Raises:
        RecipeError: it has no such stage.
        ModelError: adapters on a model that forecasts do not know them on.
    """
    found = []
    for stage in recipe.stages:
        if isinstance(stage, MergeStage):
            continue
        window, layout = model.window, model.layout
        longest = stage_workload(recipe, stage, window, layout=layout)
        mean = stage_workload(recipe, stage, window, input_tokens, output_tokens, layout)
        case = _Case(recipe, model, machines, longest, mean)
        if isinstance(stage, FilterStage):
            found.append(_filter(stage, case))
        elif machines.cluster is None:
            found.append(_local(stage, case))
        else:
            found.append(_distributed(stage, case, machines.cluster))
    if not found:
        raise RecipeError(f"recipe {recipe.name} trains and filters nothing; nothing to forecast")
    return found


@dataclass(frozen=True)
class _Case:
    """What a stage is forecast from."""

    recipe: Recipe
    model: Architecture
    machines: Machines
    longest: Workload
    mean: Workload


def _filter(stage: FilterStage, case: _Case) -> StageForecast:
    """Returns a filter's: the embedded engine samples with the plain weights, in any engine."""
    recipe, model, machines = case.recipe, case.model, case.machines
    precision = local_precision(recipe.model, machines.gpu_bytes is None)
    weights = precision.compute * model.num_parameters
    samples = num_samples(recipe, stage)
    rows = recipe.model.max_batch_rows
    return StageForecast(
        stage=stage.name,
        kind="filter",
        engine="local",
        num_steps=None if samples is None else -(-samples // stage.sampling.batch_size),
        workload=case.longest,
        window=model.window,
        training=None,
        sampling=local_sampling(model, case.longest, precision, weights, machines.gpu_bytes, rows),
        sampling_seconds=sampling_seconds(case.mean, machines.rates, 1),
        training_seconds=None,
    )


def _local(stage: TrainStage, case: _Case) -> StageForecast:
    recipe, model, machines = case.recipe, case.model, case.machines
    precision = local_precision(recipe.model, machines.gpu_bytes is None)
    holding = local_holding(model, precision)
    limit, again = stage.optimizer.micro_batch_tokens, recipe.model.gradient_checkpointing
    forward = packed_forward(case.longest, limit)
    flops = num_passes(_is_measured(stage), again) * packed_flops(model, case.mean, limit)
    rows = recipe.model.max_batch_rows
    return StageForecast(
        stage=stage.name,
        kind="train",
        engine="local",
        num_steps=stage.num_steps,
        workload=case.longest,
        window=model.window,
        training=training_memory(model, holding, precision, forward, again),
        sampling=local_sampling(
            model, case.longest, precision, holding.kept, machines.gpu_bytes, rows
        ),
        sampling_seconds=sampling_seconds(case.mean, machines.rates, 1),
        training_seconds=training_seconds(flops, machines.rates, 1),
    )


def _distributed(stage: TrainStage, case: _Case, cluster: ClusterSettings) -> StageForecast:
    recipe, model, machines = case.recipe, case.model, case.machines
    gpu_bytes = machines.gpu_bytes
    if gpu_bytes is None:
        raise RecipeError("the OpenRLHF engine is forecast on GPUs; name another --cluster")
    holding, again = zero_holding(model, cluster), recipe.model.gradient_checkpointing
    forward = padded_forward(case.longest, stage.optimizer.micro_batch_tokens)
    flops = num_passes(True, again) * padded_flops(model, case.mean)
    return StageForecast(
        stage=stage.name,
        kind="train",
        engine="openrlhf",
        num_steps=stage.num_steps,
        workload=case.longest,
        window=_window(model, cluster),
        training=training_memory(model, holding, BFLOAT16, forward, again),
        sampling=engine_sampling(model, case.longest, cluster, holding.kept, gpu_bytes),
        sampling_seconds=sampling_seconds(case.mean, machines.rates, machines.num_engines),
        training_seconds=training_seconds(flops, machines.rates, machines.num_ranks),
    )


def _window(model: Architecture, cluster: ClusterSettings) -> int:
    """Returns the tokens of a sequence that engines take at most.

    Raises:
        RecipeError: the cluster's description asks for more than the model has.
    """
    window = cluster.max_window_tokens or model.window
    if window > model.window:
        raise RecipeError(
            f"max_window_tokens must be at most the model's own {model.window}: got {window}; "
            "lower it"
        )
    return window


def _is_measured(stage: TrainStage) -> bool:
    """Returns whether the embedded engine measures entropies in a forward of their own."""
    return stage.objective.aepo is not None or stage.objective.clipping is not None


def scaled(cluster: ClusterSettings, num_gpus: int) -> ClusterSettings:
    """Returns a cluster of the same kind with so many GPUs: more machines, more engines.

    Raises:
        RecipeError: the number is no multiple of the GPUs that the description has.
    """
    times, rest = divmod(num_gpus, cluster.num_gpus)
    if rest or not times:
        raise RecipeError(
            f"--gpus must be a multiple of the cluster's {cluster.num_gpus}: got {num_gpus}; "
            "choose another number, or describe the machines in a YAML file"
        )
    changes = {
        "num_nodes": cluster.num_nodes * times,
        "rollout_engines": cluster.rollout_engines * times,
    }
    return cluster.model_copy(update=changes)


def host_bytes(
    model: Architecture, cluster: ClusterSettings, forecasts: Sequence[StageForecast]
) -> int:
    """Returns the most main memory of one machine: offloaded states, and weights of idle engines.

    A sleeping engine keeps its weights in main memory.
    """
    holdings = [one.training.holding for one in forecasts if one.training and one.engine != "local"]
    if not holdings:
        return 0
    asleep = 0
    if cluster.colocate:
        asleep = 2 * model.num_parameters * cluster.gpus_per_node // cluster.gpus_per_engine
    training = cluster.gpus_per_node * max(one.host for one in holdings)
    sampling = cluster.gpus_per_node * max(one.host_while_sampling for one in holdings)
    return max(training + asleep, sampling)
