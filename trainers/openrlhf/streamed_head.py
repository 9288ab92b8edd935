"""A model's output layer that returns statistics of sampled tokens in place of logits.

OpenRLHF's forward makes fp32 logits of prompt and response, which is the largest tensor of a long
sequence. Here the output layer of the Hugging Face model is given the sampled tokens, keeps their
positions only and streams over them (`trainers.entropy`). It is still the module that DeepSpeed
knows, so that its hooks gather weights and gradients as ever.

Shapes: [B, S] padded ids, [t] sampled tokens of all rows, row by row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from longspan.harness.errors import ModelError
from longspan.trainers.entropy import TokenStatistics, token_statistics
from longspan.trainers.local.output import output_head

CHANGED_LOGITS = (
    "{name} scales or caps its logits after the output layer, which the OpenRLHF engine cannot "
    "stream; use {remedy}"
)


class StreamedHead:
    """Statistics of sampled tokens by a model whose output layer it takes the place of."""

    def __init__(self, model: Any, temperature: float) -> None:
        """Changes the model: from now on it computes statistics only.

        Args:
            model: Hugging Face causal language model.
            temperature: of sampling; log-probabilities and entropies are taken at it.

        Raises:
            ModelError: the model changes its logits after the output layer.
        """
        head = output_head(model)
        if head.scale != 1.0 or head.soft_cap is not None:
            name = type(model).__name__
            raise ModelError(CHANGED_LOGITS.format(name=name, remedy="--engine local"))
        self._model, self._temperature = model, temperature
        self._wanted: tuple[Tensor, Tensor] | None = None
        self._returned: Tensor | None = None
        self._is_checked = False
        model.get_output_embeddings().forward = self._statistics

    def statistics(
        self, forward: Any, ids: Tensor, attention: Tensor, sampled: Tensor
    ) -> TokenStatistics:
        """Returns log-probability and entropy of every sampled token, [t] each.

        Args:
            forward: the model, or what wraps it.
            ids: [B, S] padded on the right.
            attention: [B, S] 1 where there is a token.
            sampled: [B, S - 1] True where the next token was sampled.
        """
        self._wanted = ids, sampled
        positions = (attention.long().cumsum(-1) - 1).masked_fill_(attention == 0, 1)
        try:
            output = forward(ids, attention_mask=attention, position_ids=positions)
        finally:
            self._wanted = None
        if not self._is_checked:
            self._check(output["logits"])
        return TokenStatistics(*output["logits"][0].unbind(-1))

    def _check(self, logits: Tensor) -> None:
        """Makes sure that the model returns what its output layer did."""
        returned, self._returned, self._is_checked = self._returned, None, True
        if returned is None or not torch.equal(logits, returned):
            # In a way that `output_head` does not know, so the embedded engine is no remedy.
            name = type(self._model).__name__
            raise ModelError(CHANGED_LOGITS.format(name=name, remedy="another model"))

    def _statistics(self, hidden: Tensor) -> Tensor:
        """Returns [1, t, 2] in the place of logits; the forward of the output layer."""
        if self._wanted is None:
            raise RuntimeError("the output layer is called without sampled tokens")
        ids, sampled = self._wanted
        head = output_head(self._model)
        targets = ids[:, 1:][sampled]
        found = token_statistics(hidden[:, :-1][sampled], targets, head, self._temperature)
        statistics = torch.stack(found, dim=-1)[None]
        if not self._is_checked:
            self._returned = statistics.detach()
        return statistics
