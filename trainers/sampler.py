"""Task-balanced batches: every batch draws equally from the task types present.

The order of a type's samples is a function of (seed, type, pass, sample), so the whole state is a
few counters and resuming is exact. This module knows sample keys only, not what they name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from longspan.harness.errors import RecipeError

ShortTypes = Literal["recycle", "drop", "refuse"]
"""What happens to a type with few samples.

`recycle`: it starts over as soon as it is used up. `drop`: it stays out until every type is used
up, then all start over. `refuse`: a type with fewer samples than its share of a batch is an error,
otherwise as `recycle`.
"""


@dataclass
class _Cursor:
    """Where a type stands in its shuffled samples."""

    passes: int = 0
    position: int = 0
    last: list[str] = field(default_factory=list)
    """Samples that come last in this pass: those that the batch held when the pass began."""


class BalancedSampler:
    """Draws batches of sample keys; equal shares of the types, the remainder rotates.

    With k types and B = q k + r, every type gives q samples and r types one more, so that after k
    batches all have given the same number. A sample stands in a batch once; places that a type
    cannot fill go to the others. One pool makes an unbalanced sampler.
    """

    def __init__(
        self,
        pools: Mapping[str, Iterable[str]],
        batch_size: int,
        seed: int,
        short_types: ShortTypes = "recycle",
    ) -> None:
        """Prepares to draw.

        Args:
            pools: sample keys by task type; their order does not matter.
            batch_size: samples per batch.
            seed: of all orders.
            short_types: see `ShortTypes`.

        Raises:
            RecipeError: fewer samples than a batch needs, or a short type under `refuse`.
        """
        self._pools = {kind: sorted(set(keys)) for kind, keys in sorted(pools.items())}
        self._pools = {kind: keys for kind, keys in self._pools.items() if keys}
        self._batch_size, self._seed, self._short_types = batch_size, seed, short_types
        self._check()
        self._cursors = {kind: _Cursor() for kind in self._pools}
        self._rotation = 0
        self._orders: dict[str, tuple[int, list[str]]] = {}

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the drawn batches depend on."""
        text = repr((self._pools, self._batch_size, self._seed, self._short_types))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def next_batch(self) -> list[str]:
        """Returns the keys of the next batch, by type, and moves on."""
        batch: dict[str, list[str]] = {kind: [] for kind in self._pools}
        missing = self._batch_size
        while missing:
            free = {kind: self._capacity(kind, batch[kind]) for kind in self._pools}
            kinds = [kind for kind, number in free.items() if number]
            if not kinds:
                self._start_over(batch)
                continue
            for kind, share in self._shares(kinds, missing).items():
                for _ in range(min(share, free[kind])):
                    batch[kind].append(self._draw(kind, batch[kind]))
                    missing -= 1
        return [key for keys in batch.values() for key in keys]

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as JSON values."""
        return {
            "fingerprint": self.fingerprint,
            "rotation": self._rotation,
            "cursors": {kind: asdict(cursor) for kind, cursor in self._cursors.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state_dict` returned.

        Raises:
            RecipeError: the state is of other samples, another batch size or seed.
        """
        if state["fingerprint"] != self.fingerprint:
            raise RecipeError(
                "the samples, batch size or seed have changed since the run was started: "
                f"fingerprint {self.fingerprint}, saved {state['fingerprint']}; "
                "restore them or train into another folder"
            )
        self._rotation = int(state["rotation"])
        self._cursors = {kind: _Cursor(**cursor) for kind, cursor in state["cursors"].items()}

    def _check(self) -> None:
        total = sum(map(len, self._pools.values()))
        if total < self._batch_size:
            raise RecipeError(
                f"batch_size must not exceed the number of samples: got {self._batch_size} > "
                f"{total}; lower batch_size or add samples"
            )
        share = -(-self._batch_size // len(self._pools))
        short = {kind: len(keys) for kind, keys in self._pools.items() if len(keys) < share}
        if short and self._short_types == "refuse":
            raise RecipeError(
                f"every task type needs {share} samples for its share of a batch: got {short}; "
                "add samples, lower batch_size, or set short_types to recycle"
            )

    def _capacity(self, kind: str, drawn: list[str]) -> int:
        """Returns how many more samples the type can give to this batch."""
        if self._short_types == "drop":
            # After a new pass began within the batch, what the batch holds stands last in it.
            left = self._order(kind)[self._cursors[kind].position :]
            return len(set(left) - set(drawn))
        return len(self._pools[kind]) - len(drawn)

    def _shares(self, kinds: list[str], number: int) -> dict[str, int]:
        """Returns how many samples each of `kinds` should give; the remainder rotates."""
        base, extra = divmod(number, len(kinds))
        favoured = {kinds[(self._rotation + i) % len(kinds)] for i in range(extra)}
        self._rotation = (self._rotation + extra) % len(self._pools)
        return {kind: base + (kind in favoured) for kind in kinds}

    def _draw(self, kind: str, drawn: list[str]) -> str:
        cursor = self._cursors[kind]
        if cursor.position == len(self._pools[kind]):
            self._cursors[kind] = cursor = _Cursor(cursor.passes + 1, 0, sorted(drawn))
        key = self._order(kind)[cursor.position]
        cursor.position += 1
        return key

    def _start_over(self, batch: dict[str, list[str]]) -> None:
        """Starts a new pass of all types; what the batch already holds comes last."""
        for kind, cursor in self._cursors.items():
            self._cursors[kind] = _Cursor(cursor.passes + 1, 0, sorted(batch[kind]))

    def _order(self, kind: str) -> list[str]:
        """Returns the type's samples in the order of its current pass."""
        cursor = self._cursors[kind]
        if self._orders.get(kind, (-1, []))[0] != cursor.passes:
            last = set(cursor.last)
            order = sorted(self._pools[kind], key=lambda key: (key in last, self._rank(kind, key)))
            self._orders[kind] = (cursor.passes, order)
        return self._orders[kind][1]

    def _rank(self, kind: str, key: str) -> bytes:
        text = "\0".join((str(self._seed), kind, str(self._cursors[kind].passes), key))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()
