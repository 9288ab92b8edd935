"""OpenRLHF's training process: forwards that stream over logits, one exact update per batch.

Shapes: [B, S] padded ids, [t] sampled tokens of one micro-batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ray import ppo_actor
from torch import Tensor
from transformers import AutoConfig

from longspan.trainers.entropy import TokenStatistics
from longspan.trainers.local.compute import Compute
from longspan.trainers.local.learner import NonFiniteError
from longspan.trainers.loss import policy_loss
from longspan.trainers.openrlhf import cpu
from longspan.trainers.openrlhf.contract import plain
from longspan.trainers.openrlhf.run_file import read_run
from longspan.trainers.openrlhf.streamed_head import StreamedHead


class PolicyActor(plain(ppo_actor.PolicyModelActor)):  # type: ignore[misc]
    """Holds a share of the policy and updates it.

    Micro-batches come weighed: `advantages` of an experience holds the weight of every token
    (`trainers.loss.token_weights`), with all denominators. So gradients of micro-batches and
    processes add up to the gradient of the whole batch, however many sequences a rollout has.
    """

    def _setup_distributed(self, strategy: Any) -> None:
        if read_run().cluster.device == "cpu":
            cpu.adapt_training()
        super()._setup_distributed(strategy)

    def init_model_from_pretrained(
        self, strategy: Any, pretrain: str, max_steps: Any = None, vllm_engines: Any = None
    ) -> None:
        """Loads the model and the last state; see OpenRLHF's class."""
        super().init_model_from_pretrained(strategy, pretrain, max_steps, vllm_engines)
        self._run = read_run()
        self._head = StreamedHead(self.engine.module, self._run.stage.sampling.temperature)
        self._compute = Compute(None, self._run.model.gradient_checkpointing)
        self._compute.check(self.engine.module)
        self._step = 0
        self._experiences: list[Experience] = []

    @property
    def engine(self) -> Any:
        """DeepSpeed's engine over the model."""
        return self.actor.model

    def begin_step(self, step: int) -> None:
        """Prepares the step of that number (from 0); what a step before left is forgotten."""
        self._step, self._experiences = step, []

    def forward(self, sequences: Tensor, action_mask: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns [2, t] log-probability and entropy of the sampled tokens, row by row."""
        with torch.no_grad():
            found = self._statistics(sequences, action_mask, attention_mask)
        return torch.stack(found).cpu()

    def append(self, experience: Experience) -> None:
        """Takes a micro-batch of the step's update."""
        self._experiences.append(experience)

    def fit(self, kl_ctl: float = 0) -> dict[str, float]:
        """Takes one optimizer step over all micro-batches; returns loss and gradient norm.

        Raises:
            NonFiniteError: loss or gradient is not finite; the last state is unharmed.
        """
        experiences, self._experiences = self._experiences, []
        for group in self.actor_optim.param_groups:
            group["lr"] = self._run.stage.optimizer.rate_of(self._step)
        total = 0.0
        for number, experience in enumerate(experiences, start=1):
            self.engine.set_gradient_accumulation_boundary(number == len(experiences))
            loss = self._loss(experience)
            total += float(loss.detach())
            # DeepSpeed takes the mean over processes; the batch's loss is the sum.
            self.engine.backward(loss * self.strategy.world_size)
        total = float(self.strategy.all_reduce(total, op="sum"))
        self._check(math.isfinite(total), f"loss {total}")
        # Without it DeepSpeed leaves the step out, or with ZeRO 3 takes it, and says nothing.
        self.engine.optimizer.check_overflow()
        self._check(not self.engine.optimizer.overflow, "a gradient that is not")
        self.engine.step()
        norm = self.strategy.get_grad_norm(self.actor)
        self._check(math.isfinite(norm), f"gradient norm {norm}")
        return {"longspan/loss": total, "longspan/gradient_norm": norm}

    def save_model(self) -> None:
        """Writes the trained checkpoint with the settings of the one that it started from.

        OpenRLHF would leave the cache switched off, and name the tokenizer's token for padding,
        which the model need not have.
        """
        config, before = self.engine.module.config, AutoConfig.from_pretrained(self._run.start)
        config.use_cache, config.pad_token_id = True, before.pad_token_id
        super().save_model()

    def _loss(self, experience: Experience) -> Tensor:
        mask = experience.action_mask
        found = self._statistics(experience.sequences, mask, experience.attention_mask)
        device = found.logprobs.device
        weights = experience.advantages[mask].to(device)
        old = experience.rollout_log_probs
        old = None if old is None else old[mask].to(device)
        return policy_loss(found.logprobs, weights, old, self._run.stage.objective.ratio_clip)

    def _statistics(self, ids: Tensor, sampled: Tensor, attention: Tensor) -> TokenStatistics:
        # Dropout would make the policy that is trained another one than the one that sampled.
        self.engine.eval()
        device = torch.cuda.current_device()
        tensors = (one.to(device) for one in (ids, attention, sampled))
        with self._compute.forward(self.engine.module):
            return self._head.statistics(self.engine, *tensors)

    def _check(self, is_finite: bool, what: str) -> None:
        if not is_finite:
            raise NonFiniteError(
                f"loss and gradient must be finite: step {self._step + 1} has {what}; the last "
                "state is unharmed: lower the learning rate"
            )
