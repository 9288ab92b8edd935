"""SCE: merges checkpoints that were trained from one base (select, calculate, erase).

For every tensor, with the differences d_i = w_i - w_base of the models i (FuseChat-3.0's SCE, arXiv
2408.07990; section 2 of the recipe merges the memory expert so):

    select:     keep the share `density` of elements in which the d_i vary most, drop the others
    calculate:  eta_i = mean(d_i^2) / sum_j mean(d_j^2)
    erase:      keep elements of d_i whose sign is that of sum_j d_j
    merged:     w_base + sum_i eta_i d_i [kept] / sum_i eta_i [kept]

This module computes with one tensor; files are read and written by `trainers.merge_files`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WEIGHT_FLOOR = 1e-6
"""Sum of mean squares below which mergekit, the reference, weighs all models alike."""
_SMALLEST_SHARE = 1e-6


def sce(
    base: Tensor, models: Sequence[Tensor], density: float = 1.0, weight_floor: float = WEIGHT_FLOOR
) -> Tensor:
    """Returns the merged tensor, of the base's shape and type; computed in at least fp32.

    Edge cases: elements in which no model differs from the base stay as they are; if the sum of
    mean squares is below `weight_floor`, the weights are equal. Updates of reinforcement learning
    are often that small; with a floor of 0 the formula holds for them as well.

    Args:
        base: weights that all models started from, any shape.
        models: weights of at least one model, of the same shape.
        density: share of elements that is kept, in [0, 1]; of those in which models vary at all.
        weight_floor: see above.

    Raises:
        ValueError: shapes differ, there is no model, or the density is no fraction.
    """
    if not models or any(model.shape != base.shape for model in models):
        shapes = ", ".join(str(tuple(model.shape)) for model in models) or "no model"
        raise ValueError(f"models must have the base's shape {tuple(base.shape)}: got {shapes}")
    if not 0 <= density <= 1:
        raise ValueError(f"density must lie in [0, 1]: got {density}; change it")
    dtype = torch.promote_types(base.dtype, torch.float32)
    start = base.to(dtype)
    differences = torch.stack([model.to(dtype) - start for model in models])
    if density < 1:
        differences *= _selected(differences, density)
    weights = _weights(differences, weight_floor)
    agrees = differences.sign() == torch.where(differences.sum(0) >= 0, 1.0, -1.0)
    shares = weights.view(-1, *(1,) * base.dim()) * agrees
    merged = (differences * shares).sum(0) / shares.sum(0).clamp_min(_SMALLEST_SHARE)
    return (start + merged).to(base.dtype)


def _selected(differences: Tensor, density: float) -> Tensor:
    """Returns 1 for the elements of largest variance over the models, else 0."""
    variances = differences.var(0, unbiased=False).flatten()
    number = int(int(variances.count_nonzero()) * density)
    chosen = torch.zeros_like(variances)
    chosen[variances.topk(number).indices] = 1
    return chosen.view(differences.shape[1:])


def _weights(differences: Tensor, floor: float) -> Tensor:
    """Returns the weight of each model; they sum to 1."""
    squares = differences.square().flatten(1).mean(1)
    total = squares.sum()
    if not total > 0 or total < floor:
        return torch.full_like(squares, 1 / len(squares))
    return squares / total
