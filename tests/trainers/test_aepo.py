"""Eq. 11 and the state machine of AEPO, step by step."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.trainers.aepo import AepoController, AepoSettings, batch_entropy, masked_rollouts


def decisions(settings: AepoSettings, entropies: list[float]) -> list[bool]:
    controller = AepoController(settings)
    return [controller.decide(entropy).masking for entropy in entropies]


def test_batch_entropy_is_equation_11_over_valid_rollouts() -> None:
    # (0.2 + 0.6) / 2; the invalid 9.0 and the rollout without tokens stand aside.
    means = torch.tensor([0.2, 9.0, 0.6, math.nan])
    valid = torch.tensor([True, False, True, True])
    assert batch_entropy(means, valid) == pytest.approx(0.4)
    assert math.isnan(batch_entropy(means, torch.zeros(4, dtype=torch.bool)))


def test_masking_drops_exactly_the_negative_rollouts() -> None:
    advantages = torch.tensor([-0.5, 0.0, 0.5])
    assert masked_rollouts(advantages, True).tolist() == [True, False, False]
    assert masked_rollouts(advantages, False).tolist() == [False, False, False]


def test_hysteresis_turns_on_above_high_and_off_below_low_only() -> None:
    settings = AepoSettings(low=0.1, high=0.3)
    entropies = [0.2, 0.31, 0.2, 0.1, 0.09, 0.2, 0.3, 0.4]
    # On above 0.3, kept on at 0.2 and at exactly 0.1, off below, kept off up to exactly 0.3.
    assert decisions(settings, entropies) == [False, True, True, True, False, False, False, True]


def test_stateless_masks_between_the_thresholds() -> None:
    settings = AepoSettings(low=0.1, high=0.3, mode="stateless")
    assert decisions(settings, [0.05, 0.1, 0.2, 0.3, 0.4, 0.2]) == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]


def test_relative_thresholds_are_multiples_of_the_first_steps() -> None:
    settings = AepoSettings(low=0.5, high=1.5, thresholds="relative", reference_steps=2)
    controller = AepoController(settings)
    assert controller.decide(5.0).reason == "reference"
    assert not controller.decide(3.0).masking
    assert controller.thresholds == (2.0, 6.0)  # mean 4
    assert [controller.decide(x).masking for x in (6.1, 2.1, 1.9)] == [True, True, False]


def test_cap_releases_a_mask_that_never_lowers_the_entropy_and_rests() -> None:
    settings = AepoSettings(low=0.1, high=0.3, max_masked_steps=2)
    controller = AepoController(settings)
    seen = [controller.decide(0.9) for _ in range(6)]
    assert [d.masking for d in seen] == [True, True, False, False, True, True]
    assert [d.reason for d in seen[2:4]] == ["capped", "resting"]


def test_nan_entropy_masks_nothing_and_changes_nothing() -> None:
    controller = AepoController(AepoSettings(low=0.1, high=0.3))
    controller.decide(0.5)
    before = controller.state_dict()
    assert not controller.decide(math.nan).masking
    assert controller.state_dict() == before
    assert controller.decide(0.2).masking


@pytest.mark.parametrize(
    "wrong", [{"low": 0.4}, {"low": -0.1}, {"max_masked_steps": 0}, {"reference_steps": 0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="AEPO needs"):
        AepoSettings(**{"low": 0.1, "high": 0.3, **wrong})


@given(
    st.lists(st.floats(0, 2), min_size=2, max_size=40),
    st.data(),
    st.sampled_from(["hysteresis", "stateless"]),
    st.sampled_from(["absolute", "relative"]),
    st.sampled_from([None, 1, 3]),
)
def test_resumed_controller_decides_as_an_uninterrupted_one(
    entropies: list[float], data: st.DataObject, mode: str, thresholds: str, cap: int | None
) -> None:
    settings = AepoSettings(0.4, 0.8, mode, thresholds, 3, cap)
    cut = data.draw(st.integers(0, len(entropies)))
    first = AepoController(settings)
    head = [first.decide(x).masking for x in entropies[:cut]]
    second = AepoController(settings)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert head + [second.decide(x).masking for x in entropies[cut:]] == decisions(
        settings, entropies
    )
    longest = max(len(run) for run in "".join("x" if m else " " for m in head).split(" "))
    assert cap is None or longest <= cap
