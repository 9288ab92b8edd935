"""`longspan forecast train`: memory and time of a recipe's stages, before anything is run.

Everything is computed from the model's sizes, the recipe's limits, a description of the machines
and rates that are stated; docs/cluster.md says what of it was compared with measurements.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from longspan.harness.errors import RecipeError
from longspan.trainers.forecast.architecture import Architecture, find_architecture
from longspan.trainers.forecast.forecast import (
    RESERVE,
    Machines,
    StageForecast,
    forecast_recipe,
    host_bytes,
    scaled,
)
from longspan.trainers.forecast.timing import Rates
from longspan.trainers.openrlhf.arguments import check_recipe
from longspan.trainers.openrlhf.cluster import ClusterSettings, load_cluster
from longspan.trainers.pipeline import resolve_recipe
from longspan.trainers.recipe import Recipe

GIB = 1 << 30


def forecast_train_command(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    engine: Annotated[str, typer.Option(help="Engine: local or openrlhf.")] = "local",
    cluster: Annotated[
        str | None,
        typer.Option(help="Machines of openrlhf: single_gpu, node_of_8, or a YAML file."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs in all: so many machines of the cluster's kind [its own]."),
    ] = None,
    gpu_memory: Annotated[float, typer.Option(min=1, help="Memory of one GPU, GiB.")] = 80.0,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Instead of the recipe's: a folder (its config.json is enough)."),
    ] = None,
    input_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean length of inputs, for times [the limits].")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean length of outputs, for times [the limits].")
    ] = None,
    train_tflops: Annotated[
        float | None, typer.Option(min=0.001, help="10^12 operations a second of a GPU in training")
    ] = None,
    prefill_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Prompt tokens a second of one engine.")
    ] = None,
    decode_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Sampled tokens a second of one engine, in all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say what a recipe's stages will need on given machines: memory and time; computed."""
    for name, value in {
        "--gpu-memory": gpu_memory,
        "--train-tflops": train_tflops,
        "--prefill-rate": prefill_rate,
        "--decode-rate": decode_rate,
    }.items():
        if value is not None and not math.isfinite(value):
            raise RecipeError(f"{name} must be a finite number: got {value}; change it")
    resolved = resolve_recipe(recipe, checkpoint)
    model = find_architecture(resolved.checkpoint)
    flops = None if train_tflops is None else train_tflops * 1e12
    cluster_settings = _cluster(engine, cluster, gpus)
    if cluster_settings is not None:
        check_recipe(resolved, cluster_settings)
    machines = Machines(
        gpu_bytes=None if resolved.model.device == "cpu" else int(gpu_memory * GIB),
        cluster=cluster_settings,
        rates=Rates(flops, prefill_rate, decode_rate),
    )
    found = forecast_recipe(resolved, model, machines, input_tokens, output_tokens)
    if as_json:
        print(json.dumps(_content(model, machines, found), indent=1))
    else:
        print("\n".join(_report(resolved, model, machines, found)))


def _cluster(engine: str, cluster: str | None, gpus: int | None) -> ClusterSettings | None:
    """Returns the machines of the OpenRLHF engine; None for the embedded one.

    Raises:
        RecipeError: no such engine or cluster, or options that it does not have.
    """
    if engine == "local":
        if cluster or gpus:
            raise RecipeError("--cluster and --gpus need --engine openrlhf; add it")
        return None
    if engine != "openrlhf":
        raise RecipeError(f"unknown engine: {engine}; use local or openrlhf")
    found = load_cluster(cluster or "single_gpu")
    if found.device == "cpu":
        raise RecipeError("forecasts of the OpenRLHF engine are of GPUs; name another --cluster")
    return found if gpus is None else scaled(found, gpus)


def _content(
    model: Architecture, machines: Machines, found: Sequence[StageForecast]
) -> dict[str, Any]:
    """Returns the forecast as JSON values, bytes as they are."""
    verdicts = [
        None if machines.gpu_bytes is None else one.verdict(machines.gpu_bytes) for one in found
    ]
    stages = [
        {
            **asdict(one),
            "training_total": None if one.training is None else one.training.total,
            "verdict": verdict,
        }
        for one, verdict in zip(found, verdicts, strict=True)
    ]
    return {
        "model": {
            **asdict(model),
            "num_parameters": model.num_parameters,
            "active_parameters": model.active_parameters,
            "cache_bytes_per_token": model.cache_bytes(2),
        },
        "cluster": None if machines.cluster is None else machines.cluster.model_dump(),
        "stages": stages,
    }


def _report(
    recipe: Recipe, model: Architecture, machines: Machines, found: Sequence[StageForecast]
) -> list[str]:
    """Returns the lines that are shown."""
    lines = [_model_line(model), *_machine_lines(recipe, model, machines, found), ""]
    trained = [one for one in found if one.training is not None]
    if trained:
        header = "training weights gradients moments other tokens activations again logits sum"
        lines += _table([*header.split(), "naive logits"], map(_training_row, trained)) + [""]
    header = "sampling prompt output turns weights cache cache-tokens at-once sum"
    lines += _table([*header.split(), "verdict"], (_sampling_row(one, machines) for one in found))
    lines += ["", *_time_lines(found)]
    if any(one.engine == "local" for one in found) and machines.cluster is not None:
        lines.append("filters and evaluations run in the embedded engine, on one device")
    cut = [one.stage for one in found if one.workload.sequence_tokens > one.window]
    if cut:
        lines.append(f"longer than the window of {found[0].window:,} tokens: {', '.join(cut)}")
    lines.append(
        "GiB per GPU, of the longest sequences; computed, not measured. Contexts, buffers of NCCL "
        f"and fragmentation are not counted: above {1 - RESERVE:.0%} of a GPU is called tight"
    )
    return lines


def _model_line(model: Architecture) -> str:
    active = model.active_parameters
    of_token = f", {active / 1e9:.2f}B for a token" if active < model.num_parameters else ""
    return (
        f"{model.name}: {model.num_parameters / 1e9:.2f}B parameters{of_token}, "
        f"{model.cache_bytes(2) / 1024:.1f} KiB of keys and values per token in bfloat16"
    )


def _machine_lines(
    recipe: Recipe, model: Architecture, machines: Machines, found: Sequence[StageForecast]
) -> list[str]:
    kept = (
        "one input per layer is kept"
        if recipe.model.gradient_checkpointing
        else "all activations are kept (model.gradient_checkpointing is false)"
    )
    cluster = machines.cluster
    if cluster is None or machines.gpu_bytes is None:
        return [f"embedded engine on one {_device(machines)}; {kept}"]
    offload = ", moments in main memory" if cluster.offload_optimizer else ""
    turns = "taking turns" if cluster.colocate else "on GPUs of their own"
    lines = [
        f"OpenRLHF: training on {_count(cluster.num_ranks, _device(machines))} "
        f"(ZeRO {cluster.zero_stage}{offload}); vLLM: {_count(cluster.rollout_engines, 'engine')} "
        f"of {_count(cluster.gpus_per_engine, 'GPU')}, {turns}; {kept}"
    ]
    if needed := host_bytes(model, cluster, found):
        lines.append(f"main memory of a machine: {needed / GIB:,.0f} GiB for states and weights")
    return lines


def _device(machines: Machines) -> str:
    size = machines.gpu_bytes
    return "CPU" if size is None else f"GPU of {size / GIB:g} GiB"


def _count(number: int, noun: str) -> str:
    """Returns a number of things: "1 GPU of 80 GiB", "8 GPUs of 80 GiB"."""
    first, *rest = noun.split(" ", 1)
    return " ".join([str(number), first if number == 1 else f"{first}s", *rest])


def _training_row(one: StageForecast) -> list[str]:
    training = one.training
    if training is None:
        return [one.stage]
    held, kept = training.holding, training.activations
    sizes = (held.weights, held.gradients, held.moments, held.copy + held.buffers)
    return [
        one.stage,
        *map(_gib, sizes),
        f"{training.forward.tokens:,}",
        *map(_gib, (kept.kept, kept.again, training.output_layer, training.total)),
        _gib(training.naive_logits),
    ]


def _sampling_row(one: StageForecast, machines: Machines) -> list[str]:
    work, room = one.workload, one.sampling
    verdict = "" if machines.gpu_bytes is None else one.verdict(machines.gpu_bytes)
    return [
        one.stage,
        f"{work.prompt_tokens:,}",
        f"{work.output_tokens:,}",
        f"{work.num_turns}",
        _gib(room.weights),
        _gib(max(0, room.cache)),
        f"{room.cache_tokens:,}",
        f"{room.at_once}",
        _gib(room.total),
        verdict,
    ]


def _time_lines(found: Sequence[StageForecast]) -> list[str]:
    """Returns the times of steps, or what would have to be stated to know them."""
    if all(one.sampling_seconds is None and one.training_seconds is None for one in found):
        return ["time: not known; state --train-tflops, --prefill-rate and --decode-rate"]
    rows = []
    for one in found:
        parts = (one.sampling_seconds, one.training_seconds)
        known = one.sampling_seconds is not None and (
            one.training is None or one.training_seconds is not None
        )
        hours = "?"
        if known and one.num_steps is not None:
            hours = f"{one.num_steps * sum(part or 0.0 for part in parts) / 3600:,.1f}"
        steps = "?" if one.num_steps is None else f"{one.num_steps:,}"
        rows.append([one.stage, *("" if p is None else f"{p:,.0f}" for p in parts), steps, hours])
    return _table(["time", "rollouts s", "training s", "steps", "hours"], rows)


def _gib(size: int) -> str:
    return f"{size / GIB:,.1f}"


def _table(header: Sequence[str], rows: Any) -> list[str]:
    """Returns lines with aligned columns, the first to the left."""
    cells = [list(header), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
