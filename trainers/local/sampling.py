"""Sampling of one token per row, so that a row's token depends on its own logits and seed alone.

A request's randomness is a counter-based stream (Philox keyed by the seed): step t uses the t-th
uniform number whatever the batch, its order or its size. The number is turned into a token by the
inverse of the cumulative distribution, in float64.

Shapes: n rows, V tokens of the vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_KEY_BITS = 128


def uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """Returns the first `count` uniform numbers in [0, 1) of the stream that `seed` names."""
    return np.random.Generator(np.random.Philox(key=seed % 2**_KEY_BITS)).random(count)


def sample(
    logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns one sampled token per row, and its log-probability before top-p.

    With p = softmax(logits / temperature), top-p keeps the smallest set of most probable tokens
    whose probability reaches `top_p`, and the token is the first whose cumulative probability (in
    order of token id) exceeds `uniform` times the kept probability. Temperature 0 is greedy; its
    log-probability is that of temperature 1.

    Args:
        logits: [n, V].
        temperature: [n] float64, >= 0.
        top_p: [n] float64, in (0, 1].
        uniform: [n] float64, in [0, 1).

    Returns:
        Token ids [n] and log-probabilities [n] (nats, float64).
    """
    greedy = temperature == 0
    scale = torch.where(greedy, 1.0, temperature)[:, None]
    probabilities = torch.softmax(logits.double() / scale, dim=-1)
    kept = _nucleus(probabilities, top_p)
    cumulative = kept.cumsum(-1)
    total = cumulative[:, -1:]
    # Rounding must not carry the point to the total, beyond the last token that was kept.
    point = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, point, right=True)[:, 0]
    tokens = torch.where(greedy, logits.argmax(-1), tokens.clamp_max(logits.shape[-1] - 1))
    return tokens, probabilities.gather(-1, tokens[:, None])[:, 0].log()


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Returns the probabilities with everything outside each row's top-p set at 0."""
    rows = (top_p < 1).nonzero()[:, 0]
    if not len(rows):
        return probabilities
    ordered, order = probabilities[rows].sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= top_p[rows, None], 0.0)
    kept = probabilities.clone()
    kept[rows] = torch.zeros_like(ordered).scatter(-1, order, ordered)
    return kept
