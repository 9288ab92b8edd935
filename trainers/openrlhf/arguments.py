"""A stage in OpenRLHF's terms: the options of its command, and what it does not have.

This is the only place that knows the names of OpenRLHF's options. What a recipe asks for and this
engine does not do is refused here, before anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longspan.harness.errors import RecipeError
from longspan.trainers.local.stage import StageRun
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.openrlhf.cluster import ClusterSettings
from longspan.trainers.recipe import Recipe
from longspan.trainers.settings import RolloutSettings
from longspan.trainers.stages import TrainStage

Value = bool | int | float | str | tuple[float, ...]
"""Of an option; True is a flag, False leaves it out."""

EXECUTOR = Path(__file__).parent / "executor.py"
KEPT_STATES = 3
"""OpenRLHF removes old states before it writes one: with three, a kill leaves a whole one."""


MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0
"""vLLM takes lower ones for this one, and refuses higher ones in every call."""


@dataclass(frozen=True)
class Places:
    """What a stage reads and writes.

    Attributes:
        model: folder of the checkpoint that it starts from.
        states: folder of the states to resume from.
        checkpoint: folder that the trained weights are written into.
    """

    model: Path
    states: Path
    checkpoint: Path


def check_recipe(recipe: Recipe, cluster: ClusterSettings) -> None:
    """Makes sure that the engine does what all stages of a recipe ask for.

    Raises:
        RecipeError: it does not; the message names stage and key.
    """
    for stage in recipe.stages:
        if isinstance(stage, TrainStage):
            _check_stage(stage, recipe.model, recipe.keep_batches_every_steps, cluster)


def check_supported(run: StageRun[TrainStage], cluster: ClusterSettings) -> None:
    """Makes sure that the engine does what a stage asks for.

    Raises:
        RecipeError: it does not; the message names the key.
    """
    _check_stage(run.stage, run.model, run.keep_batches_every_steps, cluster)


def _check_stage(
    stage: TrainStage, model: ModelSettings, keep_batches_every_steps: int, cluster: ClusterSettings
) -> None:
    sampling = stage.sampling
    devices = ("auto", "cpu" if cluster.device == "cpu" else "cuda")
    refused = (
        (model.lora is not None, "model.lora", "it trains all weights"),
        (model.dtype == "float32", "model.dtype float32", "its forwards are in bfloat16"),
        (
            model.device not in devices,
            f"model.device {model.device}",
            f"the cluster says {cluster.device}",
        ),
        (model.max_batch_rows is not None, "model.max_batch_rows", "vLLM decides what it batches"),
        (
            not MIN_TEMPERATURE <= sampling.temperature <= MAX_TEMPERATURE,
            f"sampling.temperature {sampling.temperature:g}",
            f"vLLM samples at {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}",
        ),
        (
            sampling.batch_size * sampling.group_size < cluster.num_ranks,
            f"{sampling.batch_size} x {sampling.group_size} rollouts of a step",
            f"fewer than its {cluster.num_ranks} training processes",
        ),
        (keep_batches_every_steps > 0, "keep_batches_every_steps", "it keeps no batches"),
        (
            stage.objective.ratio_clip is not None and not knows_logprobs(sampling),
            "objective.ratio_clip",
            "vLLM reports the log-probabilities of sampling, before top-p, only at temperature 1 "
            "or top_p 1",
        ),
    )
    for is_asked, key, reason in refused:
        if is_asked:
            raise RecipeError(
                f"stage {stage.name}: the OpenRLHF engine does not have {key} ({reason}); "
                "leave it out or use --engine local"
            )


def knows_logprobs(sampling: RolloutSettings) -> bool:
    """Returns whether vLLM can report log-probabilities at the temperature, before top-p."""
    return sampling.temperature == 1 or sampling.top_p == 1


def openrlhf_options(
    run: StageRun[TrainStage], cluster: ClusterSettings, places: Places, window: int
) -> dict[str, Value]:
    """Returns the options of OpenRLHF's command by name.

    Args:
        run: the stage.
        cluster: its machines.
        places: its files.
        window: tokens of prompt and response together.
    """
    return {
        **_training(run, cluster),
        **_sampling(run, window),
        **_engines(cluster),
        "actor.model_name_or_path": str(places.model),
        "ckpt.path": str(places.states),
        "ckpt.output_dir": str(places.checkpoint),
        "ckpt.save_steps": run.state_every_steps,
        "ckpt.max_num": KEPT_STATES,
        "ckpt.load_enable": True,
    }


def command_line(options: Mapping[str, Value]) -> list[str]:
    """Returns the options as arguments of a command."""
    words: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            words += [f"--{name}"] if value else []
        else:
            parts: Sequence[object] = value if isinstance(value, tuple) else (value,)
            words += [f"--{name}", *map(str, parts)]
    return words


def _training(run: StageRun[TrainStage], cluster: ClusterSettings) -> dict[str, Value]:
    optimizer = run.stage.optimizer
    return {
        "actor.num_nodes": cluster.num_nodes,
        "actor.num_gpus_per_node": cluster.gpus_per_node,
        "actor.adam.lr": optimizer.learning_rate,
        "actor.adam.betas": optimizer.betas,
        "actor.adam.weight_decay": optimizer.weight_decay,
        "actor.max_norm": optimizer.max_gradient_norm,
        # The warm-up is the recipe's own: OpenRLHF's would begin with a step at rate 0.
        "actor.lr_scheduler": "constant",
        "actor.lr_warmup_ratio": 0.0,
        "ds.param_dtype": "bf16",
        "ds.zero_stage": cluster.zero_stage,
        "ds.adam_offload": cluster.offload_optimizer,
        "ds.attn_implementation": cluster.attention,
        "ds.enable_sleep": cluster.colocate,
        # One update per batch, made of micro-batches that we form ourselves.
        "train.batch_size": cluster.num_ranks,
        "train.micro_batch_size": 1,
        "train.num_episodes": 1,
        "train.max_epochs": 1,
        "train.seed": run.stage_seed,
        "train.colocate_all": cluster.colocate,
        # No critic, no reference model: advantages are ours, and the recipe has no KL term.
        "algo.advantage.estimator": "group_norm",
        "algo.kl.init_coef": 0.0,
    }


def _sampling(run: StageRun[TrainStage], window: int) -> dict[str, Value]:
    sampling = run.stage.sampling
    return {
        "train.agent_func_path": str(EXECUTOR),
        "data.max_len": window,
        "rollout.batch_size": sampling.batch_size,
        "rollout.micro_batch_size": 1,
        "rollout.n_samples_per_prompt": sampling.group_size,
        "rollout.max_new_tokens": sampling.max_output_tokens,
        "rollout.temperature": sampling.temperature,
        "rollout.top_p": sampling.top_p,
    }


def _engines(cluster: ClusterSettings) -> dict[str, Value]:
    on_cpu = cluster.device == "cpu"
    return {
        "vllm.num_engines": cluster.rollout_engines,
        "vllm.tensor_parallel_size": cluster.gpus_per_engine,
        "vllm.gpu_memory_utilization": cluster.engine_memory_share,
        "vllm.enable_prefix_caching": True,
        "vllm.enable_sleep": cluster.colocate,
        "vllm.enforce_eager": on_cpu,
        "vllm.sync_backend": "gloo" if on_cpu else "nccl",
    }
