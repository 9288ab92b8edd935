"""Attention over packed rows equals attention with the dense mask, whatever runs it."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.trainers.local import prefix_attention
from longspan.trainers.local.prefix_attention import BranchMask, PackedRow, attend

DENSE = {"DENSE_TOKENS": 512}
ROUTES = {
    "joined": {"DENSE_TOKENS": 0},
    "blocks": {"DENSE_TOKENS": 0, "BLOCK_ELEMENTS": 40},
}


def packed_row(num_prefix: int, sizes: list[int]) -> PackedRow:
    columns, start = [], num_prefix
    for size in sizes:
        columns.append(slice(start, start + size))
        start += size
    return PackedRow(num_prefix, tuple(columns))


rows = st.lists(
    st.builds(packed_row, st.integers(0, 9), st.lists(st.integers(0, 5), max_size=4)).filter(
        lambda row: row.num_tokens > 0
    ),
    min_size=1,
    max_size=3,
)


def draw(rows: list[PackedRow], seed: int, **options) -> list[torch.Tensor]:
    """Queries, keys and values [n, 2, L, 8]."""
    torch.manual_seed(seed)
    shape = (len(rows), 2, max(row.num_tokens for row in rows), 8)
    return [torch.randn(shape, dtype=torch.float64, **options) for _ in range(3)]


def in_use(rows: list[PackedRow], attended: torch.Tensor) -> torch.Tensor:
    """The outputs that are somebody's: those of padding may be anything."""
    parts = [attended[i, :, : row.num_tokens].flatten() for i, row in enumerate(rows)]
    return torch.cat(parts)


def by_hand(rows: list[PackedRow], window: int | None, q, k, v) -> torch.Tensor:
    """Every branch's queries over [prefix, branch] in a row of their own, one softmax per query."""
    output = torch.zeros_like(q)
    for i, row in enumerate(rows):
        prefix = list(range(row.num_prefix))
        for branch in (slice(0, 0), *row.branches):
            line = prefix + list(range(branch.start, branch.stop))
            for place, column in enumerate(line):
                seen = line[max(0, place + 1 - window) if window else 0 : place + 1]
                scores = (k[i, :, seen] * q[i, :, column, None]).sum(-1) / 8**0.5
                output[i, :, column] = (scores.softmax(-1)[..., None] * v[i, :, seen]).sum(1)
    return output


@settings(max_examples=20, deadline=None)
@given(rows, st.sampled_from([None, 1, 3, 6]), st.integers(0, 99))
def test_the_dense_mask_lets_a_branch_see_its_prefix_and_itself(rows, window, seed):
    q, k, v = draw(rows, seed)
    mask = BranchMask.of(rows, window, torch.float64)
    found = F.scaled_dot_product_attention(q, k, v, mask.dense())
    expected = by_hand(rows, window, q, k, v)
    torch.testing.assert_close(in_use(rows, found), in_use(rows, expected))


@pytest.mark.parametrize("route", ROUTES)
@settings(max_examples=20, deadline=None)
@given(rows, st.sampled_from([None, 3]), st.integers(0, 99))
def test_values_and_gradients_equal_those_of_the_dense_mask(route, rows, window, seed):
    results = []
    for patched in (DENSE, ROUTES[route]):
        qkv = draw(rows, seed, requires_grad=True)
        mask = BranchMask.of(rows, window, torch.float64)
        with mock.patch.multiple(prefix_attention, **patched):
            if route == "blocks":
                mask.window = window or 10**6
            found = in_use(rows, F.scaled_dot_product_attention(*qkv, attn_mask=mask))
        found.backward(torch.linspace(-1, 1, len(found), dtype=torch.float64))
        results.append((found, *(one.grad for one in qkv)))
    for found, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_rows_of_several_kernel_blocks_join_exactly():
    layout = [packed_row(700, [50, 1, 300]), packed_row(520, [])]
    results = []
    for dense in (False, True):
        qkv = draw(layout, 0, requires_grad=True)
        mask = BranchMask.of(layout, None, torch.float64)
        asked = mask.dense() if dense else mask
        found = in_use(layout, F.scaled_dot_product_attention(*qkv, attn_mask=asked))
        found.square().sum().backward()
        results.append((found, *(one.grad for one in qkv)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_block_mask_of_flex_attention_says_the_same():
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    layout = [packed_row(150, [30, 0, 41]), packed_row(0, [7, 100]), packed_row(60, [])]
    for window in (None, 40):
        q, k, v = draw(layout, 0)
        mask = BranchMask.of(layout, window, torch.float64)
        length = mask.shape[-1]
        block_mask = create_block_mask(
            mask.rule(), len(layout), None, length, length, device="cpu", BLOCK_SIZE=32
        )
        with torch.no_grad():  # on a CPU without gradients and uncompiled
            found = flex_attention(q, k, v, block_mask=block_mask)
        expected = F.scaled_dot_product_attention(q, k, v, mask.dense())
        torch.testing.assert_close(in_use(layout, found), in_use(layout, expected))


def test_long_rows_make_no_mask_of_all_pairs():
    row = packed_row(700, [50] * 8)
    qkv = draw([row], 0)
    unasked = AssertionError("a dense mask was made")
    mask = BranchMask.of([row], None, torch.float64)
    with mock.patch.object(BranchMask, "block", side_effect=unasked):
        F.scaled_dot_product_attention(*qkv, attn_mask=mask)
    with torch._C.DisableTorchFunctionSubclass():
        assert mask.untyped_storage().nbytes() == 8
    sizes = []

    def block(self, queries):
        made = whole(self, queries)
        sizes.append(made.numel())
        return made

    whole, window = BranchMask.block, BranchMask.of([row], 600, torch.float64)
    with (
        mock.patch.object(BranchMask, "block", block),
        mock.patch.object(prefix_attention, "BLOCK_ELEMENTS", 1 << 17),
    ):
        F.scaled_dot_product_attention(*qkv, attn_mask=window)
    assert max(sizes) <= 1 << 17
    assert len(sizes) > 8


def test_a_window_that_hides_nothing_is_none():
    row = packed_row(10, [3, 5])
    assert BranchMask.of([row], 15, torch.float32).window is None
    assert BranchMask.of([row], 14, torch.float32).window == 14


def test_other_operations_meet_a_dense_mask():
    mask = BranchMask.of([packed_row(1, [1, 1])], None, torch.float32)
    scores = torch.zeros(1, 2, 3, 3)
    seen = (scores + mask[:, :, :, :3]).softmax(-1)[0, 1]
    assert seen.tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]
    assert (mask.shape, mask.dtype, mask.dim()) == ((1, 1, 3, 3), torch.float32, 4)


def test_grouped_queries_and_autocast_are_sdpas():
    row = packed_row(600, [20, 30])
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, row.num_tokens, 8) for heads in (4, 2, 2))
    mask = BranchMask.of([row], None, torch.float32)
    expected = F.scaled_dot_product_attention(q, k, v, mask.dense(), enable_gqa=True)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(found, expected)
    with torch.autocast("cpu", torch.bfloat16):
        found = F.scaled_dot_product_attention(q, k.bfloat16(), v, attn_mask=mask, enable_gqa=True)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.02)


def test_what_cannot_be_packed_rows_is_refused():
    mask = BranchMask.of([packed_row(3, [2])], None, torch.float64)
    q, k, v = torch.zeros(3, 1, 1, 5, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="rows of 5 tokens"):
        attend(q, k[:, :, :4], v[:, :, :4], mask)
    with pytest.raises(ValueError, match="dropout 0.1"):
        attend(q, k, v, mask, dropout_p=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 300])
def test_on_an_accelerator_values_and_gradients_equal_those_of_the_dense_mask(window):
    layout = [packed_row(700, [100] * 8), packed_row(500, [90, 1, 300])]
    results = []
    for dense in (True, False):
        torch.manual_seed(0)
        length = max(row.num_tokens for row in layout)
        qkv = torch.randn(3, 2, 4, length, 64, device="cuda", requires_grad=True)
        mask = BranchMask.of(layout, window, torch.float32, "cuda")
        asked = mask.dense() if dense else mask
        found = in_use(layout, F.scaled_dot_product_attention(*qkv.unbind(), attn_mask=asked))
        found.square().sum().backward()
        results.append((found, qkv.grad))
    for found, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)  # TF32
