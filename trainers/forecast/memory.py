"""Memory of a training process and of a sampling engine, per GPU, in bytes.

Sources: the embedded engine's own parts; DeepSpeed 0.19 with OpenRLHF 0.11's settings (bfloat16
weights and gradients, float32 master weights and moments); vLLM's share of a GPU. P parameters,
N training processes. Contexts of CUDA, buffers of NCCL, graphs and fragmentation are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from longspan.trainers.entropy import CHUNK_ELEMENTS
from longspan.trainers.forecast.activations import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    Activations,
    Precision,
    activations,
)
from longspan.trainers.forecast.architecture import Architecture
from longspan.trainers.forecast.workload import Workload
from longspan.trainers.local.engine import CPU_CACHE_BYTES, GPU_CACHE_SHARE, MAX_ROWS
from longspan.trainers.model_settings import ModelSettings
from longspan.trainers.openrlhf.cluster import ClusterSettings

_BUCKET_BYTES = 2 * 500_000_000
"""DeepSpeed's buffer for gradients that are reduced together."""
_LIVE_BYTES = 2 * 1_000_000_000
"""Gathered weights that ZeRO 3 keeps at most."""


@dataclass(frozen=True)
class Forward:
    """One training forward."""

    tokens: int
    """With padding."""
    sampled: int
    """Those whose log-probabilities are taken."""


@dataclass(frozen=True)
class Holding:
    """What a training process holds between forwards, bytes.

    Attributes:
        weights: of the policy.
        gradients: of a step.
        moments: of the optimizer, with its master weights.
        copy: of the weights, that the embedded engine samples from.
        buffers: of DeepSpeed.
        step: while the optimizer steps, when no activations are there.
        host: in main memory.
        kept: on the GPU while an engine samples there.
        host_while_sampling: in main memory meanwhile.
    """

    weights: int
    gradients: int
    moments: int
    copy: int = 0
    buffers: int = 0
    step: int = 0
    host: int = 0
    kept: int = 0
    host_while_sampling: int = 0

    @property
    def total(self) -> int:
        """Bytes on the GPU."""
        return self.weights + self.gradients + self.moments + self.copy + self.buffers


@dataclass(frozen=True)
class TrainingMemory:
    """The most that a training process needs, bytes.

    Attributes:
        holding: between forwards.
        forward: the largest one.
        activations: of that forward.
        output_layer: of its logits, streamed.
        naive_logits: what logits and their gradient in float32 would take instead, for all tokens.
    """

    holding: Holding
    forward: Forward
    activations: Activations
    output_layer: int
    naive_logits: int

    @property
    def total(self) -> int:
        """Bytes on the GPU: the output layer is done when the first layer is computed again."""
        backward = self.activations.kept + max(self.activations.again, self.output_layer)
        return self.holding.total + max(backward, self.holding.step)


@dataclass(frozen=True)
class SamplingMemory:
    """What an engine needs and has room for.

    Attributes:
        weights: bytes on each of its GPUs.
        cache: bytes for keys and values on each of its GPUs; below 0 the weights do not fit.
        cache_tokens: tokens whose keys and values the engine holds.
        longest: tokens of the longest sequence.
        at_once: such sequences at the same time, whose groups share their prefix.
        total: bytes on each GPU, with what training leaves there.
    """

    weights: int
    cache: int
    cache_tokens: int
    longest: int
    at_once: int
    total: int


def local_precision(settings: ModelSettings, on_cpu: bool) -> Precision:
    """Returns the types of the embedded engine's training forwards."""
    is_float32 = settings.dtype == "float32" or (settings.dtype == "auto" and on_cpu)
    if settings.lora is not None:
        base = FLOAT32 if is_float32 else BFLOAT16
        return Precision(base.compute, base.residual, rank=settings.lora.rank)
    return FLOAT32 if is_float32 else AUTOCAST


def local_holding(model: Architecture, precision: Precision) -> Holding:
    """Returns what the embedded engine holds: all on one device, in float32 where it is trained.

    torch's AdamW makes another tensor of the size of all that is trained when it steps.
    """
    if precision.rank:
        trained = model.adapter_parameters(precision.rank)
        weights, copy = precision.compute * model.num_parameters + 4 * trained, 0
    else:
        trained = model.num_parameters
        weights, copy = 4 * trained, 2 * trained if precision.is_autocast else 0
    total = weights + 12 * trained + copy
    return Holding(weights, 4 * trained, 8 * trained, copy, step=4 * trained, kept=total)


def zero_holding(model: Architecture, cluster: ClusterSettings) -> Holding:
    """Returns what a process of DeepSpeed holds.

    Weights 2 P bytes (ZeRO 3: 2 P / N, and what is gathered); gradients 2 P (ZeRO 2: 2 P / N summed
    and as many arriving, ZeRO 3: 2 P / N), which become float32 for the step (ZeRO 3: a billion at
    a time); master weights and moments 12 P / N. Offloaded, moments and gradients are in main
    memory, with a float32 copy of the gradients: 18 P / N.
    """
    size, ranks, stage = model.num_parameters, cluster.num_ranks, cluster.zero_stage
    part = size // ranks
    weights = 2 * size if stage < 3 else 2 * part
    gathered = 0 if stage < 3 else min(2 * size, _LIVE_BYTES)
    gradients = {1: 2 * size, 2: 4 * part, 3: 2 * part}[stage]
    moments, step, host = 12 * part, 4 * part, 0
    if stage == 3:
        step = min(step, 2 * _LIVE_BYTES // ranks)
    if cluster.offload_optimizer:
        gradients, moments, step, host = 0, 0, 0, 18 * part
    return Holding(
        weights=weights,
        gradients=gradients,
        moments=moments,
        buffers=_BUCKET_BYTES + gathered,
        step=step,
        host=host,
        kept=weights if cluster.colocate else 0,
        host_while_sampling=host or (12 * part if cluster.colocate else 0),
    )


def training_memory(
    model: Architecture,
    holding: Holding,
    precision: Precision,
    forward: Forward,
    checkpointing: bool,
) -> TrainingMemory:
    """Returns what the largest forward and its backward need on top of what is held."""
    return TrainingMemory(
        holding=holding,
        forward=forward,
        activations=activations(model, precision, forward.tokens, checkpointing),
        output_layer=_streamed_bytes(model, precision, forward.sampled),
        naive_logits=2 * 4 * forward.tokens * model.vocabulary,
    )


def packed_forward(work: Workload, micro_batch_tokens: int) -> Forward:
    """Returns the embedded engine's largest forward: prefixes with their branches.

    A group that is longer than the limit is computed in parts of at most twice its prefix.
    """
    branch = work.suffix_tokens + work.output_tokens
    branches = branches_per_part(work, micro_batch_tokens)
    row = work.prefix_tokens + branches * branch
    rows = max(1, min(work.num_groups, micro_batch_tokens // row))
    return Forward(row * rows, rows * branches * work.output_tokens)


def branches_per_part(work: Workload, micro_batch_tokens: int) -> int:
    """Returns how many rollouts of a group the embedded engine computes with one prefix."""
    branch = work.suffix_tokens + work.output_tokens
    limit = max(micro_batch_tokens, 2 * work.prefix_tokens)
    return max(1, min(work.group_size, (limit - work.prefix_tokens) // branch))


def padded_forward(work: Workload, micro_batch_tokens: int) -> Forward:
    """Returns the OpenRLHF engine's largest forward: sequences side by side."""
    rows = min(max(1, micro_batch_tokens // work.sequence_tokens), work.num_sequences)
    return Forward(rows * work.sequence_tokens, rows * work.output_tokens)


def local_sampling(
    model: Architecture,
    work: Workload,
    precision: Precision,
    held: int,
    gpu_bytes: int | None,
    max_rows: int | None = None,
) -> SamplingMemory:
    """Returns the embedded engine's room beside what is held; `gpu_bytes` None is a CPU."""
    cache = CPU_CACHE_BYTES
    if gpu_bytes is not None:
        cache = int(GPU_CACHE_SHARE * (gpu_bytes - held))
    width = 2 if precision.compute == 2 else 4
    tokens = max(0, cache) // model.cache_bytes(width)
    at_once = min(_sequences_at_once(work, tokens), max_rows or MAX_ROWS)
    total = held + max(0, cache)
    return SamplingMemory(held, cache, tokens, work.sequence_tokens, at_once, total)


def engine_sampling(
    model: Architecture, work: Workload, cluster: ClusterSettings, kept: int, gpu_bytes: int
) -> SamplingMemory:
    """Returns the room of a vLLM engine, which takes a share of each of its GPUs.

    Keys and values are spread over its GPUs by heads, and held twice where there are more GPUs.
    """
    share = int(cluster.engine_memory_share * gpu_bytes)
    weights = 2 * model.num_parameters // cluster.gpus_per_engine
    cache = share - weights
    spread = min(cluster.gpus_per_engine, model.num_key_heads)
    tokens = max(0, cache) * spread // model.cache_bytes(2)
    at_once = _sequences_at_once(work, tokens)
    return SamplingMemory(
        weights, cache, tokens, work.sequence_tokens, at_once, kept + max(share, weights)
    )


def _sequences_at_once(work: Workload, cache_tokens: int) -> int:
    """Returns how many of the longest sequences fit, with a prefix once for its group."""
    branch = work.suffix_tokens + work.output_tokens
    group = work.prefix_tokens + work.group_size * branch
    whole, rest = divmod(cache_tokens, group)
    return whole * work.group_size + max(0, rest - work.prefix_tokens) // branch


def _streamed_bytes(model: Architecture, precision: Precision, num_sampled: int) -> int:
    """Returns the bytes of a chunk of logits and its gradient, and of the output matrix's gradient.

    In bfloat16 a chunk is held in both types, and the product that is added to the gradient, too.
    """
    rows = min(num_sampled, max(1, CHUNK_ELEMENTS // model.vocabulary))
    chunk = rows * model.vocabulary * (8 if precision.compute == 4 else 12)
    if precision.rank:
        return chunk
    per_element = 4 if precision.compute == 4 else 6
    copy = 2 if precision.is_autocast else 0
    return chunk + (per_element + copy) * model.output_parameters
