"""AEPO: adaptive entropy-controlled policy optimization, as a state machine over batch entropies.

When the policy's entropy rises above a band, rollouts with a negative advantage are masked and the
update learns from the positive ones only, until the entropy has fallen below the band. This is the
AEPO of QwenLong-L1.5 (arXiv 2512.12967, Eq. 11); another algorithm of the same acronym exists
(arXiv 2510.08141, arbitrary-entropy policy optimization) and is not meant.

The controller knows one number per step, the batch entropy in nats; it sees no model and no data.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

Mode = Literal["hysteresis", "stateless"]
"""The paper's state machine, or the rule of the release's snippet."""
Thresholds = Literal["absolute", "relative"]
"""Thresholds in nats, or as multiples of the mean entropy of the first steps."""


@dataclass(frozen=True)
class AepoSettings:
    """When negative rollouts are masked.

    Attributes:
        low: masking ends below this entropy.
        high: masking begins above this entropy.
        mode: `hysteresis` keeps the last decision between the thresholds (the paper's text);
            `stateless` masks while low < entropy < high (the release's snippet).
        thresholds: unit of `low` and `high`. `relative` measures a reference first and masks
            nothing meanwhile.
        reference_steps: number of steps whose mean entropy is the reference.
        max_masked_steps: masking ends after this many consecutive steps even if the entropy did
            not fall, and rests for as many; None for no cap. On a weak policy masking can raise
            the entropy, and without a cap it then never ends.
    """

    low: float
    high: float
    mode: Mode = "hysteresis"
    thresholds: Thresholds = "absolute"
    reference_steps: int = 5
    max_masked_steps: int | None = None

    # How pydantic treats it inside a recipe: unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(
                f"AEPO needs 0 <= low <= high: got low={self.low}, high={self.high}; swap them"
            )
        cap = self.max_masked_steps
        if self.reference_steps < 1 or (cap is not None and cap < 1):
            raise ValueError(
                "AEPO needs reference_steps and max_masked_steps of at least 1: got "
                f"{self.reference_steps} and {cap}; raise them"
            )


Reason = Literal["reference", "above", "below", "inside", "capped", "resting", "no entropy"]
"""What a decision rests on: the place of the entropy, or a rule that overrode it."""


@dataclass(frozen=True)
class AepoDecision:
    """What was decided for one batch, and why; logged with every step."""

    masking: bool
    reason: Reason
    entropy: float
    low: float
    high: float
    masked_steps: int
    """Consecutive masked steps, this one included."""


@dataclass
class _State:
    masking: bool = False
    masked_steps: int = 0
    resting_steps: int = 0
    reference: list[float] = field(default_factory=list)


class AepoController:
    """Decides for each batch whether rollouts with a negative advantage are masked."""

    def __init__(self, settings: AepoSettings) -> None:
        self.settings = settings
        self._state = _State()

    def decide(self, entropy: float) -> AepoDecision:
        """Returns the decision for a batch of this entropy (nats) and moves the state on.

        Call once per step. nan, the entropy of a batch without a valid token, changes nothing and
        masks nothing.
        """
        settings, state = self.settings, self._state
        if math.isnan(entropy):
            return AepoDecision(False, "no entropy", entropy, *self.thresholds, state.masked_steps)
        if settings.thresholds == "relative" and len(state.reference) < settings.reference_steps:
            state.reference.append(entropy)
            return AepoDecision(False, "reference", entropy, math.nan, math.nan, 0)
        masking, reason = self._wanted(entropy)
        if state.resting_steps > 0:
            state.resting_steps -= 1
            if masking:
                masking, reason = False, "resting"
        elif masking and state.masked_steps == settings.max_masked_steps:
            masking, reason = False, "capped"
            state.resting_steps = state.masked_steps - 1
        state.masking = masking
        state.masked_steps = state.masked_steps + 1 if masking else 0
        return AepoDecision(masking, reason, entropy, *self.thresholds, state.masked_steps)

    @property
    def thresholds(self) -> tuple[float, float]:
        """Low and high in nats; nan while the reference is still being measured."""
        settings, reference = self.settings, self._state.reference
        if settings.thresholds == "absolute":
            return settings.low, settings.high
        if len(reference) < settings.reference_steps:
            return math.nan, math.nan
        mean = sum(reference) / len(reference)
        return settings.low * mean, settings.high * mean

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as JSON values."""
        return asdict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a state that `state_dict` returned."""
        self._state = _State(**{**state, "reference": list(state["reference"])})

    def _wanted(self, entropy: float) -> tuple[bool, Reason]:
        """Returns what the thresholds alone say."""
        low, high = self.thresholds
        stateless = self.settings.mode == "stateless"
        if entropy > high:
            return not stateless, "above"
        if entropy < low:
            return False, "below"
        return (low < entropy < high if stateless else self._state.masking), "inside"


def masked_rollouts(advantages: Tensor, masking: bool) -> Tensor:
    """Returns True for the rollouts whose tokens are left out of the update, [N] bool.

    arXiv 2512.12967, Eq. 11: while masking, A_i < 0. (The release's snippet keeps positives with a
    reward above 0; for rewards in [0, 1] a positive advantage implies one.)
    """
    return advantages < 0 if masking else torch.zeros_like(advantages, dtype=torch.bool)


def batch_entropy(sequence_entropies: Tensor, valid: Tensor) -> float:
    """Returns the mean over valid rollouts of their mean token entropy, in nats (Eq. 11).

    Rollouts without tokens (nan) are left out; without any rollout left the entropy is nan.
    """
    counted = sequence_entropies[valid & sequence_entropies.isfinite()]
    return float(counted.double().mean()) if len(counted) else math.nan
