"""Streamed log-probabilities and entropies equal the naive computation, values and gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from longspan.trainers.entropy import OutputHead, token_statistics

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_GPU)]


def naive(
    hidden: Tensor, targets: Tensor, head: OutputHead, temperature: float
) -> tuple[Tensor, Tensor]:
    logits = hidden @ head.weight.T
    if head.bias is not None:
        logits = logits + head.bias
    logits = logits * head.scale
    if head.soft_cap is not None:
        logits = head.soft_cap * torch.tanh(logits / head.soft_cap)
    log_p = (logits / temperature).log_softmax(-1)
    return log_p.gather(-1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


def test_uniform_distribution_by_hand() -> None:
    # Zero hidden states: four equal logits, log(1/4) and entropy log 4.
    hidden, weight = torch.zeros(2, 3), torch.randn(4, 3)
    stats = token_statistics(hidden, torch.tensor([0, 3]), OutputHead(weight))
    assert stats.logprobs.tolist() == pytest.approx([-math.log(4)] * 2)
    assert stats.entropies.tolist() == pytest.approx([math.log(4)] * 2)


def test_temperature_divides_logits_by_hand() -> None:
    # Logits (log 9, 0) at temperature 2: (log 3, 0), p = (3/4, 1/4).
    hidden = torch.tensor([[math.log(9.0)]])
    head = OutputHead(torch.tensor([[1.0], [0.0]]))
    stats = token_statistics(hidden, torch.tensor([1]), head, temperature=2.0)
    assert float(stats.logprobs) == pytest.approx(math.log(1 / 4), rel=1e-6)
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(stats.entropies) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    num_tokens=st.integers(1, 9),
    chunk=st.integers(1, 10),
    temperature=st.floats(0.3, 2.0),
    with_bias=st.booleans(),
    soft_cap=st.sampled_from([None, 2.0]),
    scale=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 10**6),
)
def test_values_and_gradients_equal_the_naive_path_in_float64(
    num_tokens: int,
    chunk: int,
    temperature: float,
    with_bias: bool,
    soft_cap: float | None,
    scale: float,
    seed: int,
) -> None:
    random = torch.Generator().manual_seed(seed)
    shapes = [(num_tokens, 5), (11, 5), (11,)]
    leaves = [torch.randn(s, generator=random, dtype=torch.float64) * 2 for s in shapes]
    targets = torch.randint(11, (num_tokens,), generator=random)
    upstream = torch.randn(2, num_tokens, generator=random, dtype=torch.float64)
    results = []
    for streamed in (True, False):
        hidden, weight, bias = (leaf.clone().requires_grad_() for leaf in leaves)
        head = OutputHead(weight, bias if with_bias else None, scale, soft_cap)
        if streamed:
            values = token_statistics(hidden, targets, head, temperature, chunk)
        else:
            values = naive(hidden, targets, head, temperature)
        (values[0] * upstream[0] + values[1] * upstream[1]).sum().backward()
        used = (hidden, weight, bias) if with_bias else (hidden, weight)
        results.append([*(v.detach() for v in values), *(leaf.grad for leaf in used)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_tied_embeddings_receive_both_gradients() -> None:
    torch.manual_seed(0)
    table = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1, 5])
    grads = []
    for function in (token_statistics, naive):
        logprobs, _ = function(table[[2, 3]] * 2, targets, OutputHead(table), 1.0)
        grads.append(torch.autograd.grad(logprobs.sum(), table)[0])
    torch.testing.assert_close(*grads)


def test_a_banned_token_has_no_share_and_no_nan() -> None:
    head = OutputHead(torch.zeros(3, 2, requires_grad=True), torch.tensor([0.0, 0.0, -math.inf]))
    stats = token_statistics(torch.ones(1, 2), torch.tensor([0]), head)
    assert float(stats.entropies.detach()) == pytest.approx(math.log(2))
    (stats.logprobs + stats.entropies).sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.isfinite().all()


def test_temperature_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be positive to train: got 0"):
        token_statistics(torch.ones(1, 2), torch.tensor([0]), OutputHead(torch.ones(2, 2)), 0.0)


def test_no_tensor_of_tokens_times_vocabulary_is_ever_made() -> None:
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in [out] if isinstance(t, Tensor))
            return out

    hidden = torch.randn(64, 4, requires_grad=True)
    weight = torch.randn(500, 4, requires_grad=True)
    targets = torch.randint(500, (64,))
    with Watch():
        stats = token_statistics(hidden, targets, OutputHead(weight), chunk_tokens=8)
        stats.logprobs.sum().backward()
    assert 8 * 500 in sizes
    assert max(sizes) == 8 * 500


def test_no_tokens_give_empty_results_and_zero_gradients() -> None:
    weight = torch.randn(3, 2, requires_grad=True)
    stats = token_statistics(torch.ones(0, 2), torch.ones(0, dtype=torch.long), OutputHead(weight))
    stats.logprobs.sum().backward()
    assert stats.entropies.shape == (0,)
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_as_near_to_float64_as_the_naive_path_of_its_type(
    device: str, dtype: torch.dtype
) -> None:
    """Chunk after chunk is added up in fp32, so many chunks lose nothing."""
    random = torch.Generator().manual_seed(3)
    shapes = [(512, 32), (300, 32), (300,)]
    leaves = [torch.randn(s, generator=random).to(dtype) * 0.7 for s in shapes]
    targets = torch.randint(300, (512,), generator=random)
    upstream = torch.randn(2, 512, generator=random, dtype=torch.float64)

    def results(streamed: bool, dtype: torch.dtype) -> list[Tensor]:
        hidden, weight, bias = (leaf.to(device, dtype).requires_grad_() for leaf in leaves)
        head = OutputHead(weight, bias)
        if streamed:
            found = token_statistics(hidden, targets.to(device), head, 0.7, chunk_tokens=16)
            logprobs, entropies = found.logprobs, found.entropies
        else:
            wide = torch.promote_types(dtype, torch.float32)
            logits = (hidden @ weight.T + bias).to(wide)
            log_p = (logits / 0.7).log_softmax(-1)
            logprobs = log_p.gather(-1, targets.to(device)[:, None])[:, 0]
            entropies = -(log_p.exp() * log_p).sum(-1)
        to = upstream.to(device, logprobs.dtype)
        (logprobs * to[0] + entropies * to[1]).sum().backward()
        grads = [leaf.grad for leaf in (hidden, weight, bias)]
        return [t.detach().double().cpu() for t in (logprobs, entropies, *grads) if t is not None]

    exact = results(streamed=False, dtype=torch.float64)
    for ours, naive_, gold in zip(results(True, dtype), results(False, dtype), exact, strict=True):
        error, theirs = (float((one - gold).norm() / gold.norm()) for one in (ours, naive_))
        assert error <= 1.3 * theirs + 1e-7, (error, theirs)
