"""Attention over packed rows `[prefix | branch 1 | branch 2 | ...]`, without a mask of all pairs.

`BranchMask` stands where a model expects its 4-D mask. Where the model calls
`scaled_dot_product_attention` with it, attention follows the structure of the rows:

- short rows: one call with the dense mask, which is fastest there;
- CPU: causal attention of the prefix, attention of all branches to the prefix, causal attention of
  every branch to itself, joined by their log-sum-exp (exact, also backward; see `_Joined`);
- CUDA: FlexAttention with a block mask;
- a sliding window shorter than a row, or a device without these kernels: blocks of queries, with a
  dense mask for one block at a time.

Any other operation on the mask (eager attention) makes it a dense additive one.

Shapes: n rows, L tokens of the longest row, H heads, D head dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

DENSE_TOKENS = 512
"""Up to this length of a row, one call with a dense mask is fastest."""
BLOCK_ELEMENTS = 1 << 22
"""Elements of the mask of one block of queries."""

PREFIX, PADDING = 0, -1
"""Block numbers; branches count from 1."""


class PackedRow(NamedTuple):
    """Which columns of a packed row are what."""

    num_prefix: int
    """The first so many columns are the prefix."""
    branches: tuple[slice, ...]
    """Columns of every branch, in order and without gaps after the prefix."""

    @property
    def num_tokens(self) -> int:
        """Columns in use."""
        return self.branches[-1].stop if self.branches else self.num_prefix

    @property
    def span(self) -> int:
        """Tokens of the prefix with the longest branch."""
        longest = max((branch.stop - branch.start for branch in self.branches), default=0)
        return self.num_prefix + longest

    def parts(self) -> Iterator[tuple[slice, slice, bool]]:
        """Yields queries and the keys that they see, and whether causally; none is empty."""
        prefix, branches = slice(0, self.num_prefix), slice(self.num_prefix, self.num_tokens)
        if self.num_prefix:
            yield prefix, prefix, True
            if branches.start < branches.stop:
                yield branches, prefix, False
        for branch in self.branches:
            if branch.start < branch.stop:
                yield branch, branch, True


class BranchMask(Tensor):
    """Mask [n, 1, L, L] of packed rows; holds a few numbers per token until it is made dense.

    A query sees a key of the prefix or of its own branch that does not come after it, and not
    farther back than the window. Padding sees what it needs for a softmax to be a number.
    """

    rows: tuple[PackedRow, ...]
    window: int | None
    _dense: Tensor | None
    _block_mask: Any

    @classmethod
    def of(
        cls,
        rows: Sequence[PackedRow],
        window: int | None,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> BranchMask:
        """Returns the mask of some rows.

        Args:
            rows: the structure of every row.
            window: latest tokens that a query sees, itself included; None for all.
            dtype: of the model.
            device: of the model.
        """
        length = max((row.num_tokens for row in rows), default=0)
        shape = (len(rows), 1, length, length)
        mask = torch.zeros((), dtype=dtype, device=device).expand(shape).as_subclass(cls)
        mask.rows = tuple(rows)
        mask.window = window if window is not None and window < _longest(rows) else None
        mask._dense = mask._block_mask = None
        return mask

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Attends where attention is asked for; describes itself; is dense for all else."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return attend(*args, **kwargs)
        if getattr(func, "__name__", "") in ("__get__", "size", "dim"):
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        args = [one.dense() if isinstance(one, cls) else one for one in args]
        kwargs = {k: one.dense() if isinstance(one, cls) else one for k, one in kwargs.items()}
        return func(*args, **kwargs)

    def dense(self) -> Tensor:
        """Returns the additive mask [n, 1, L, L]: 0, or the most negative number where hidden."""
        if self._dense is None:
            self._dense = self.block(slice(0, self.shape[-1]))
        return self._dense

    def block(self, queries: slice) -> Tensor:
        """Returns the additive mask of some queries, [n, 1, queries, keys up to their last]."""
        row = torch.arange(len(self.rows), device=self.device)[:, None, None]
        query = torch.arange(queries.start, queries.stop, device=self.device)[:, None]
        key = torch.arange(queries.stop, device=self.device)
        seen = self.rule()(row, None, query, key)[:, None]
        mask = torch.zeros(seen.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(~seen, torch.finfo(self.dtype).min)

    def rule(self) -> Any:
        """Returns the function of (row, head, query, key) that tells whether a query sees a key."""
        blocks, positions = (x.to(self.device) for x in _columns(self.rows, self.shape[-1]))
        window = self.window

        def sees(row: Tensor, head: Any, query: Tensor, key: Tensor) -> Tensor:
            block = blocks[row, key]
            seen = (key <= query) & ((block == blocks[row, query]) | (block == PREFIX))
            if window is not None:
                seen = seen & (positions[row, query] - positions[row, key] < window)
            return seen

        return sees

    def block_mask(self) -> Any:
        """Returns FlexAttention's mask, made without the dense one."""
        if self._block_mask is None:
            rows, _, length, _ = self.shape
            make = _flex()[1]
            self._block_mask = make(self.rule(), rows, None, length, length, device=self.device)
        return self._block_mask


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: BranchMask,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Returns what `scaled_dot_product_attention` with the dense mask would, [n, H, L, D].

    Raises:
        ValueError: dropout, or queries and keys that are not the rows of the mask.
    """
    length = attn_mask.shape[-1]
    if dropout_p or is_causal or not query.shape[2] == key.shape[2] == length:
        raise ValueError(
            f"packed rows of {length} tokens need as many queries and keys and no dropout: got "
            f"{query.shape[2]}, {key.shape[2]} and dropout {dropout_p}; call model.eval() and use "
            "no cache"
        )
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = (x.to(dtype) for x in (query, key, value))
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    if length <= DENSE_TOKENS:
        mask = attn_mask.dense().to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, mask, scale=scale)
    if query.device.type == "cuda":
        block_mask = attn_mask.block_mask()
        attended: Tensor = _flex()[0](query, key, value, block_mask=block_mask, scale=scale)
        return attended
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if (
        query.device.type == "cpu"
        and attn_mask.window is None
        and query.shape[-1] == value.shape[-1]
    ):
        attended = _Joined.apply(query, key, value, attn_mask.rows, scale)  # type: ignore[no-untyped-call]
        return attended
    return _in_blocks(query, key, value, attn_mask, scale)


class _Joined(torch.autograd.Function):
    """Attention of every row's parts with torch's CPU flash kernels, joined by log-sum-exp.

    With o_k and s_k the output and log-sum-exp of a query's attention to the keys of part k,

        s = log sum_k exp(s_k),   o = sum_k exp(s_k - s) o_k,

    which is its attention to all of them. The backward of a part, given o and s in place of o_k and
    s_k, has the probabilities exp(q k - s) of the whole, so the parts' gradients add up to it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        rows: tuple[PackedRow, ...],
        scale: float,
    ) -> Tensor:
        n, num_heads, length, size = query.shape
        dtype = torch.promote_types(query.dtype, torch.float32)
        output = query.new_zeros(n, length, num_heads, size, dtype=dtype).transpose(1, 2)
        partition = query.new_full((n, num_heads, length), -torch.inf, dtype=dtype)
        for number, row in enumerate(rows):
            q, k, v, o, s = (x[number, None] for x in (query, key, value, output, partition))
            for queries, keys, causal in row.parts():
                found, found_s = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                    q[:, :, queries], k[:, :, keys], v[:, :, keys], 0.0, causal, scale=scale
                )
                before = s[:, :, queries]
                joined = torch.logaddexp(before, found_s)
                o[:, :, queries] *= (before - joined).exp()[..., None]
                o[:, :, queries] += found * (found_s - joined).exp()[..., None]
                s[:, :, queries] = joined
        output = output.to(query.dtype)
        ctx.save_for_backward(query, key, value, output, partition)
        ctx.rows, ctx.scale = rows, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        query, key, value, output, partition = ctx.saved_tensors
        grads = [torch.zeros_like(x) for x in (query, key, value)]
        for number, row in enumerate(ctx.rows):
            g, q, k, v, o, s = (
                x[number, None] for x in (grad, query, key, value, output, partition)
            )
            for queries, keys, causal in row.parts():
                found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                    g[:, :, queries],
                    q[:, :, queries],
                    k[:, :, keys],
                    v[:, :, keys],
                    o[:, :, queries],
                    s[:, :, queries],
                    0.0,
                    causal,
                    scale=ctx.scale,
                )
                for total, columns, part in zip(grads, (queries, keys, keys), found, strict=True):
                    total[number, None, :, columns] += part
        return (*grads, None, None)


def _in_blocks(query: Tensor, key: Tensor, value: Tensor, mask: BranchMask, scale: float) -> Tensor:
    """Returns attention by blocks of queries; the backward makes each block's mask again."""
    n, _, length, _ = query.shape
    size = max(1, BLOCK_ELEMENTS // (n * length))

    def block(queries: slice, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        dense = mask.block(queries).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, dense, scale=scale)

    parts = []
    for start in range(0, length, size):
        queries = slice(start, min(start + size, length))
        keys, values = key[:, :, : queries.stop], value[:, :, : queries.stop]
        q = query[:, :, queries]
        parts.append(checkpoint(block, queries, q, keys, values, use_reentrant=False))
    return torch.cat(parts, 2)


@cache
def _flex() -> tuple[Any, Any]:
    """Returns compiled `flex_attention` and `create_block_mask`: uncompiled, both are dense."""
    # Loads the compiler, which only long rows on an accelerator need.
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    return torch.compile(flex_attention), torch.compile(create_block_mask)


def _columns(rows: Sequence[PackedRow], length: int) -> tuple[Tensor, Tensor]:
    """Returns block number and position of every column, [n, L] each."""
    blocks = torch.full((len(rows), length), PADDING)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    for row, (num_prefix, branches) in enumerate(rows):
        blocks[row, :num_prefix] = PREFIX
        positions[row, :num_prefix] = torch.arange(num_prefix)
        for number, branch in enumerate(branches, start=1):
            blocks[row, branch] = number
            size = branch.stop - branch.start
            positions[row, branch] = torch.arange(num_prefix, num_prefix + size)
    return blocks, positions


def _longest(rows: Sequence[PackedRow]) -> int:
    return max((row.span for row in rows), default=0)
