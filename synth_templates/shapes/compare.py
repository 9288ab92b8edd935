"""Comparisons: which of several subjects has the larger number or the earlier year, or by how much.

The subjects are named, or each is the end of a path ("the director of A or the director of B").
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from longspan.harness.passport import CompareProof, Pick
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.shapes.draft import Draft, Rejected, edge_span, proof_step
from longspan.synth_templates.shapes.sides import (
    MAX_SIDES,
    SidesKind,
    check_sides,
    draw_sides,
    listed,
)
from longspan.synth_templates.tables.cells import format_number


class CompareKind(SidesKind):
    """A question that compares subjects by one relation.

    Its wording may use `candidates` ("A, B or C"), `first`, `second`, `event` ("was born") and
    `which` ("Who", "Which").
    """

    shape: Literal["compare"]
    num_sides: int = Field(default=2, ge=2, le=MAX_SIDES)
    """How many subjects are compared."""
    pick: Pick = "largest"
    """Which subject is the answer, or the difference of two values."""

    @model_validator(mode="after")
    def _a_difference_has_two_sides(self) -> Self:
        if self.pick == "difference" and self.num_sides != 2:
            raise ValueError(f"a difference is between two: got num_sides {self.num_sides}")
        return self


def draw(kind: CompareKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random comparison, or why there is none."""
    sides = draw_sides(kind, corpus, rng)
    if isinstance(sides, Rejected):
        return sides
    return Draft(
        kind,
        _answer(kind.pick, sides.values, sides.subjects),
        CompareProof(
            sides=tuple(tuple(map(proof_step, chain)) for chain in sides.chains), pick=kind.pick
        ),
        tuple(edge_span(hop.edge, corpus) for hop in sides.hops),
        {
            "candidates": listed(sides.names),
            "first": sides.names[0],
            "second": sides.names[1],
            "event": sides.form.event,
            "which": "Who" if sides.form.noun == "person" else "Which",
        },
        names_answer=not kind.num_bridged,
        is_common=kind.paradigm == "code",
    )


def check(proof: CompareProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    problems, values = check_sides(proof.sides, row, corpus)
    if not values:
        return problems, ""
    return problems, _answer(proof.pick, values, [side[-1].subject for side in proof.sides])


def _answer(pick: Pick, values: Sequence[float], names: Sequence[str]) -> str:
    if pick == "difference":
        return format_number(abs(values[0] - values[1]))
    best = max(values) if pick == "largest" else min(values)
    return names[values.index(best)]
