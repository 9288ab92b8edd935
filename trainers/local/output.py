"""The output layer as training and decoding compute it, and a check that the model agrees.

Training never calls a model's own head: it streams over the output matrix (`trainers.entropy`).
What an architecture does to its logits beside that must therefore be known here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from longspan.harness.errors import ModelError
from longspan.trainers.entropy import OutputHead, token_statistics
from longspan.trainers.local.prefix import packed_target_hidden

TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.1}
"""Allowed difference of logits, relative to the largest, by the type of the weights."""


def output_head(model: Any) -> OutputHead:
    """Returns how a Hugging Face model turns final hidden states into logits.

    Besides the output embedding these are scalings that some architectures keep outside it:
    `logits_scaling` (Granite, divides), `logit_scale` (Cohere, multiplies), and
    `final_logit_softcapping` (Gemma: cap * tanh(logits / cap)).
    """
    layer, config = model.get_output_embeddings(), model.config
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    return OutputHead(
        weight=layer.weight,
        bias=getattr(layer, "bias", None),
        scale=scale,
        soft_cap=getattr(config, "final_logit_softcapping", None),
    )


def output_logits(model: Any, hidden: Tensor) -> Tensor:
    """Returns the logits [..., V] of final hidden states [..., H], as `output_head` has them."""
    head = output_head(model)
    logits: Tensor = model.get_output_embeddings()(hidden)
    if head.scale != 1.0:
        logits = logits * head.scale
    if head.soft_cap is not None:
        logits = head.soft_cap * torch.tanh(logits / head.soft_cap)
    return logits


def probe_ids(model: Any, length: int) -> tuple[int, ...]:
    """Returns token ids of the model's vocabulary that differ, to compare two forwards on."""
    return tuple(1 + 7 * place % (model.config.vocab_size - 1) for place in range(length))


def logit_error(model: Any, logits: Tensor, plain: Tensor) -> float:
    """Returns the largest difference of logits over the allowed one; above 1 they disagree."""
    return _error(model, logits, plain, plain)


@torch.no_grad()
def check_training_forward(model: Any) -> None:
    """Makes sure that shared prefixes and the streamed head give the model's own distribution.

    Raises:
        ModelError: they do not, so that training would follow wrong log-probabilities.
    """
    ids = probe_ids(model, 12)
    prefix, suffix = ids[:3], ids[3:4]
    branches = [(suffix, ids[4:8]), (suffix, ids[8:])]
    rows = torch.tensor([[*ids[:4], *targets[:-1]] for _, targets in branches])
    try:
        plain = model(input_ids=rows.to(model.device), use_cache=False).logits
        plain = plain[:, -4:].flatten(0, 1)
        hidden, targets, _ = packed_target_hidden(model, [(prefix, branches)])
        found = token_statistics(hidden, targets, output_head(model))
        logprobs = plain.float().log_softmax(-1)
        entropies = -(logprobs.exp() * logprobs).sum(-1)
        expected = torch.stack((logprobs.gather(-1, targets[:, None])[:, 0], entropies))
        error = _error(model, torch.stack(found), expected, plain)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as failed:
        reason = f"{type(failed).__name__}: {failed}"
    else:
        if error <= 1:
            return
        reason = "log-probabilities of the training forward are not the model's own"
    raise ModelError(
        f"the embedded engine cannot train architecture {type(model).__name__} ({reason}); "
        "use --engine openrlhf"
    )


def _error(model: Any, found: Tensor, expected: Tensor, logits: Tensor) -> float:
    largest = logits.float().abs().max() * TOLERANCE.get(model.dtype, 0.1)
    return float((found.float() - expected.float()).abs().max() / largest)
