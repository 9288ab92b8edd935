"""Sampling: inverse of the cumulative distribution, top-p, temperature."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.trainers.local.sampling import sample, uniforms

LOGITS = torch.tensor([[math.log(0.2), math.log(0.5), math.log(0.3)]])


def one(uniform, temperature=1.0, top_p=1.0, logits=LOGITS):
    columns = torch.tensor([[temperature, top_p, uniform]], dtype=torch.float64).unbind(1)
    token, logprob = sample(logits, *columns)
    return int(token), float(logprob)


def test_worked_example_of_the_cumulative_distribution():
    assert [one(u)[0] for u in (0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2**-53)] == [0, 0, 1, 1, 2, 2]
    assert one(0.3)[1] == pytest.approx(math.log(0.5), abs=1e-6)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    # 0.5 + 0.3 reaches 0.7; of the kept 0.8, token 1 has the first 0.5.
    assert [one(u, top_p=0.7)[0] for u in (0.0, 0.62, 0.63, 0.999)] == [1, 1, 2, 2]
    assert one(0.0, top_p=0.7)[1] == pytest.approx(math.log(0.5), abs=1e-6)
    assert one(0.99, top_p=1e-9)[0] == 1


def test_temperature_zero_is_greedy_with_the_log_probability_of_temperature_one():
    token, logprob = one(0.99, temperature=0.0)
    assert token == 1
    assert logprob == pytest.approx(math.log(0.5), abs=1e-6)


@given(st.floats(0, 1, exclude_max=True), st.floats(0.1, 3), st.floats(0.01, 1))
def test_a_token_without_probability_is_never_drawn(uniform, temperature, top_p):
    logits = torch.tensor([[0.0, 1.0, -torch.inf]])
    token, logprob = one(uniform, temperature, top_p, logits)
    assert token in (0, 1)
    assert math.isfinite(logprob)


@given(st.integers(-(2**70), 2**130), st.integers(1, 20))
def test_a_stream_is_a_function_of_its_seed_and_longer_ones_begin_alike(seed, count):
    assert uniforms(seed, 20)[:count].tolist() == uniforms(seed, count).tolist()


def test_frequencies_follow_the_probabilities():
    draws = 4000
    columns = (torch.ones(draws).double(), torch.ones(draws).double())
    tokens, _ = sample(LOGITS.expand(draws, 3), *columns, torch.from_numpy(uniforms(0, draws)))
    shares = torch.bincount(tokens, minlength=3) / draws
    assert shares.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.03)
