"""One update of the policy: packed forwards, streamed loss, AdamW.

The update is exact policy gradient for any micro-batch size: weights carry the denominators, so
gradients of pieces add up. Groups without signal are computed without gradient, for the batch
entropy only. The model stays in evaluation mode: dropout would make the policy that is trained
another one than the policy that sampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longspan.harness.errors import LongspanError
from longspan.trainers.advantages import live_groups
from longspan.trainers.batch import PackedItem, RolloutBatch
from longspan.trainers.entropy import OutputHead, TokenStatistics, token_statistics
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.output import output_head
from longspan.trainers.local.prefix import packed_target_hidden
from longspan.trainers.loss import ClipRange, policy_loss
from longspan.trainers.objective import Objective, mean_entropy
from longspan.trainers.settings import OptimizerSettings
from longspan.trainers.streamed_loss import ChunkLoss, streamed_loss
from longspan.trainers.update import Update


class NonFiniteError(LongspanError):
    """A loss or gradient is not finite; the step was not taken and the weights are unharmed."""


class Learner:
    """A model with its optimizer."""

    def __init__(
        self,
        model: Any,
        settings: OptimizerSettings,
        temperature: float,
        compute: Compute | None = None,
    ) -> None:
        """Prepares to update `model` in place.

        Args:
            model: Hugging Face causal language model.
            settings: learning rate and what goes with it.
            temperature: of sampling; log-probabilities are taken at it.
            compute: how forwards are computed; None is in the model's own type, all kept.
        """
        self.model, self.settings, self.temperature = model, settings, temperature
        self.compute = compute or Compute()
        self.parameters = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Copies weights by name, all of `parameters`, into the model."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])

    def update(self, batch: RolloutBatch, objective: Objective, step: int) -> Update:
        """Takes one optimizer step on a batch and returns what it did.

        Without any advantage there is nothing to learn: weights and moments stay as they are.

        Raises:
            NonFiniteError: loss or gradient is not finite.
        """
        update = self.gradient(batch, objective, step)
        if update.num_live_groups:
            self._apply(step, update)
        return update

    def gradient(self, batch: RolloutBatch, objective: Objective, step: int) -> Update:
        """Leaves a batch's clipped gradient in the parameters and returns what its update would do.

        Neither weights nor moments change; the objective's state moves on.
        """
        advantages = objective.advantages(batch)
        live_ids = set(live_groups(advantages, batch.groups).tolist())
        live = [item for item in batch.items if item.group in live_ids]
        dead = [item for item in batch.items if item.group not in live_ids]
        measured = _Measured(batch)
        dead_pieces = self._pieces(dead)
        self._measure(dead_pieces, measured)
        pieces, held = self._pieces(live), None
        if objective.needs_entropies:
            held = self._measure(pieces, measured, keep_graph=len(pieces) == 1)
        entropies = measured.entropies if objective.needs_entropies else None
        weights = objective.weigh(batch, advantages, entropies)
        clip = objective.settings.ratio_clip
        old = batch.to_unique(batch.sampled_logprobs) if clip else None
        terms = _Terms(batch.to_unique(weights.weights), old, clip)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(pieces, held, terms, measured)
        norm = torch.nn.utils.clip_grad_norm_(
            self.parameters.values(), self.settings.max_gradient_norm
        )
        return Update(
            advantages=advantages,
            step_weights=weights,
            entropy=mean_entropy(batch, measured.entropies),
            loss=loss,
            gradient_norm=float(norm),
            learning_rate=self.settings.rate_of(step),
            num_live_groups=len(live_ids),
            num_computed_tokens=sum(
                item.num_tokens for piece in (*dead_pieces, *pieces) for item in piece
            ),
            logprob_gap=measured.gap(),
        )

    def _pieces(self, items: Sequence[PackedItem]) -> list[list[PackedItem]]:
        return micro_batches(items, self.settings.micro_batch_tokens)

    def _measure(
        self, pieces: list[list[PackedItem]], measured: _Measured, keep_graph: bool = False
    ) -> TokenStatistics | None:
        """Measures pieces before the update; returns the last one's graph where it is to be kept.

        Weights can depend on the entropy of the whole batch. Where one micro-batch holds all that
        is learned from, its forward serves both; otherwise this is an extra one.
        """
        found = None
        for items in pieces:
            found = self._statistics(items, gradient=keep_graph)
            measured.add(items, found)
        return found if keep_graph else None

    def _backward(
        self,
        pieces: list[list[PackedItem]],
        held: TokenStatistics | None,
        terms: _Terms,
        measured: _Measured,
    ) -> float:
        """Accumulates the gradients of all pieces; returns the loss."""
        total = 0.0
        for piece in pieces:
            items = piece
            if held is None:
                items = [item for item in piece if terms.any(item) or not measured.knows(item)]
            if not items:
                continue
            loss_of = terms.loss_of(items)
            if held is None:
                loss, found = self._loss(items, loss_of)
            else:
                loss, found = loss_of(held.logprobs, slice(None)), held
            measured.add(items, found)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _loss(
        self, items: Sequence[PackedItem], loss_of: ChunkLoss
    ) -> tuple[Tensor, TokenStatistics]:
        """Returns the items' loss, to differentiate, in one pass over their logits."""
        hidden, targets, head = self._hidden(items)
        return streamed_loss(hidden, targets, head, loss_of, self.temperature)

    def _statistics(self, items: Sequence[PackedItem], gradient: bool) -> TokenStatistics:
        """Returns log-probability and entropy of the items' sampled tokens, in their order."""
        with nullcontext() if gradient else torch.no_grad():
            hidden, targets, head = self._hidden(items)
            return token_statistics(hidden, targets, head, self.temperature)

    def _hidden(self, items: Sequence[PackedItem]) -> tuple[Tensor, Tensor, OutputHead]:
        """Returns the hidden states that predict the items' tokens, these, and the output head."""
        with self.compute.forward(self.model):
            rows = [(item.prefix, item.branches) for item in items]
            found = packed_target_hidden(self.model, rows)
        hidden, head = found.hidden, output_head(self.model)
        if (dtype := self.compute.autocast) is not None:
            hidden, head = hidden.to(dtype), head.to(dtype)
        return hidden, found.target_ids, head

    def _apply(self, step: int, update: Update) -> None:
        """Steps the optimizer along a gradient that is finite."""
        if not (math.isfinite(update.loss) and math.isfinite(update.gradient_norm)):
            raise NonFiniteError(
                f"loss and gradient must be finite: step {step + 1} has loss {update.loss} and "
                f"gradient norm {update.gradient_norm}; the step was not taken: lower the learning "
                "rate or see the saved batch"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = update.learning_rate
        self.optimizer.step()


@dataclass(frozen=True)
class _Terms:
    """The loss's terms: weights and old log-probabilities of distinct tokens, [U] each."""

    weights: Tensor
    old_logprobs: Tensor | None
    clip: ClipRange | None

    def any(self, item: PackedItem) -> bool:
        """Returns whether some token of the item has a weight."""
        return bool(self.weights[_span(item)].any())

    def loss_of(self, items: Sequence[PackedItem]) -> ChunkLoss:
        """Returns the items' part of the loss as a function of their log-probabilities."""
        places = torch.cat([torch.arange(s.start, s.stop) for s in map(_span, items)])
        weights = self.weights[places]
        old = None if self.old_logprobs is None else self.old_logprobs[places]

        def loss(logprobs: Tensor, part: slice) -> Tensor:
            device = logprobs.device
            before = None if old is None else old[part].to(device)
            return policy_loss(logprobs, weights[part].to(device), before, self.clip)

        return loss


class _Measured:
    """Log-probabilities and entropies of a batch, collected from micro-batches."""

    def __init__(self, batch: RolloutBatch) -> None:
        self._batch = batch
        self._logprobs = torch.full((batch.num_unique,), math.nan, dtype=torch.float64)
        self._entropies = self._logprobs.clone()

    def add(self, items: Sequence[PackedItem], found: TokenStatistics) -> None:
        """Notes what was found for the items' tokens."""
        places = torch.cat([torch.arange(s.start, s.stop) for s in map(_span, items)])
        self._logprobs[places] = found.logprobs.detach().double().cpu()
        self._entropies[places] = found.entropies.detach().double().cpu()

    def knows(self, item: PackedItem) -> bool:
        """Returns whether the item was measured."""
        return not bool(self._logprobs[_span(item)].isnan().any())

    @property
    def entropies(self) -> Tensor:
        """Entropy of every sampled token, [T]."""
        return self._entropies[self._batch.token_places]

    def gap(self) -> float:
        """Returns the mean absolute difference of log-probabilities to those at sampling."""
        found = self._logprobs[self._batch.token_places] - self._batch.sampled_logprobs
        return float(found.abs().mean()) if len(found) else 0.0


def micro_batches(items: Sequence[PackedItem], max_tokens: int) -> list[list[PackedItem]]:
    """Returns the items, longest first, in pieces of at most `max_tokens` padded tokens.

    An item that is longer is split by branches (`PackedItem.parts`); a part that is still longer
    makes a piece of its own.
    """
    pieces: list[list[PackedItem]] = []
    width = 0
    parts = [part for item in items for part in item.parts(max_tokens)]
    for item in sorted(parts, key=lambda one: (-one.num_tokens, one.start)):
        if pieces and (len(pieces[-1]) + 1) * width <= max_tokens:
            pieces[-1].append(item)
        else:
            pieces.append([item])
            width = item.num_tokens
    return pieces


def _span(item: PackedItem) -> slice:
    return slice(item.start, item.start + item.num_targets)
