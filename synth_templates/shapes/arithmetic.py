"""Arithmetic over stated numbers and years: sums, spreads, counts, and what would have been.

"How many of A, B and C were founded before 1900?", "If A had been founded 12 years later, in which
year would that have been?", "... which would have been founded first, A or B?"
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import model_validator

from longspan.harness.passport import Arithmetic, ArithmeticProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step
from longspan.synth_templates.shapes.sides import (
    Sides,
    SidesKind,
    check_sides,
    draw_sides,
    listed,
)
from longspan.synth_templates.tables.cells import format_number
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.triples.relations import object_class

_SHIFT_YEARS = (3, 40)
_COUNTS: tuple[Arithmetic, ...] = ("count_above", "count_below")
_SHIFTS: tuple[Arithmetic, ...] = ("shift", "shift_largest", "shift_smallest")


class ArithmeticKind(SidesKind):
    """A question for what follows from the values of one or more subjects.

    Its wording may use `subjects` ("A, B and C"), `first`, `second`, `event` ("was founded"),
    `events` ("were founded"), `perfect` ("been founded"), `amount` (the limit of a count, or by how
    much the first value is shifted), `later` ("later", "earlier") and `more` ("more", "fewer").
    """

    shape: Literal["arithmetic"]
    operation: Arithmetic
    """What is computed."""

    @model_validator(mode="after")
    def _numbers_of_sides(self) -> Self:
        wanted = {"shift": 1, "shift_largest": 2, "shift_smallest": 2}.get(self.operation)
        if wanted not in (None, self.num_sides) or (wanted is None and self.num_sides < 2):
            raise ValueError(f"{self.operation} is not for {self.num_sides} num_sides")
        return self


def draw(kind: ArithmeticKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random computation, or why there is none."""
    sides = draw_sides(kind, corpus, rng)
    if isinstance(sides, Rejected):
        return sides
    is_year = object_class(sides.chains[0][-1].stated_target) == "date"
    amount = _draw_amount(kind.operation, sides, is_year, rng)
    if amount is None:
        return Rejected("values are too close")
    names_subject = kind.operation in ("shift_largest", "shift_smallest")
    return Draft(
        kind,
        _answer(kind.operation, sides.values, sides.subjects, amount),
        ArithmeticProof(
            sides=tuple(tuple(map(proof_step, chain)) for chain in sides.chains),
            operation=kind.operation,
            amount=amount,
        ),
        tuple(edge_span(hop.edge, corpus) for hop in sides.hops),
        {
            "subjects": listed(sides.names, "and"),
            "first": sides.names[0],
            "second": sides.names[-1],
            "event": sides.form.event,
            "events": (sides.form.event or "").replace("was ", "were ", 1),
            "perfect": (sides.form.event or "").replace("was ", "been ", 1),
            "amount": str(abs(amount)) if is_year else f"{abs(amount):,}",
            "later": "later" if amount > 0 else "earlier",
            "more": "more" if amount > 0 else "fewer",
        },
        names_answer=kind.operation in _COUNTS or (names_subject and not kind.num_bridged),
    )


def check(proof: ArithmeticProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems, values = check_sides(proof.sides, row, corpus)
    if not values:
        return problems, ""
    size = abs(proof.amount)
    if size and not any(find_mentions(text, row.question) for text in (str(size), f"{size:,}")):
        problems.append(f"question does not name the amount {size}")
    subjects = [side[-1].subject for side in proof.sides]
    return problems, _answer(proof.operation, values, subjects, proof.amount)


def _answer(
    operation: Arithmetic, values: Sequence[float], subjects: Sequence[str], amount: int
) -> str:
    match operation:
        case "sum":
            return format_number(sum(values))
        case "range":
            return format_number(max(values) - min(values))
        case "count_above":
            return str(sum(value > amount for value in values))
        case "count_below":
            return str(sum(value < amount for value in values))
        case "shift":
            return format_number(values[0] + amount)
        case "shift_largest" | "shift_smallest":
            shifted = [values[0] + amount, *values[1:]]
            best = max(shifted) if operation == "shift_largest" else min(shifted)
            return subjects[shifted.index(best)]


def _draw_amount(
    operation: Arithmetic, sides: Sides, is_year: bool, rng: random.Random
) -> int | None:
    """Returns the limit of a count (no value equals it) or a shift (no tie); 0 where none is used.

    None where the values leave no room.
    """
    if operation in _COUNTS:
        ordered = sorted(sides.values)
        place = rng.randrange(1, len(ordered))
        low, high = int(ordered[place - 1]), int(ordered[place])
        if high - low < 2:
            return None
        limit = rng.randint(low + 1, high - 1)
        return limit if is_year else _rounded(limit, low, high)
    if operation not in _SHIFTS:
        return 0
    gap = int(sides.values[-1] - sides.values[0])
    if operation == "shift":
        size = rng.randint(*_SHIFT_YEARS) if is_year else _rounded(int(sides.values[0] / 7))
        return size if rng.random() < 0.5 else -size
    # Towards the other value, as often beyond it as not.
    size = int(abs(gap) * rng.uniform(0.3, 1.7))
    shift = size if is_year else _rounded(size)
    if shift == 0 or shift == abs(gap):
        return None
    return shift if gap > 0 else -shift


def _rounded(number: int, low: int | None = None, high: int | None = None) -> int:
    """Returns a number with two significant digits, if that stays within the bounds (exclusive)."""
    unit = int(10 ** max(0, len(str(abs(number))) - 2))
    rounded = round(number / unit) * unit
    is_within = low is None or high is None or low < rounded < high
    return rounded if is_within else number
