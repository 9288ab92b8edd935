"""Variable tracking of RULER (Hsieh et al. 2024): a chain of assignments, hidden in noise."""

from __future__ import annotations

import random
import string

from longspan.harness.datasets.generated.fitting import Draft
from longspan.harness.datasets.generated.haystack import Needle, draw_depths, noise
from longspan.harness.datasets.records import make_document

NUM_HOPS = 4
"""Assignments of one variable to another; with the first one of a value, one more variable."""
_NAME_CHARS = 5
_VALUES = range(10_000, 100_000)  # five digits


def draft_assignments(rng: random.Random) -> Draft:
    """Returns a sample: all variables of one chain, which is X1 = value, X2 = X1, and so on.

    The assignments stand in the order of the chain, at different ones of the 40 depths. (RULER
    draws lines, and shows a solved example first; here there is none.)
    """
    names: list[str] = []
    while len(names) <= NUM_HOPS:
        name = "".join(rng.choices(string.ascii_uppercase, k=_NAME_CHARS))
        if name not in names:
            names.append(name)
    value = str(rng.choice(_VALUES))
    lines = [f"LET {name} = {given}" for name, given in zip(names, [value, *names], strict=False)]
    depths = draw_depths(len(lines), rng)
    needles = [Needle(line, depth) for line, depth in zip(lines, depths, strict=True)]
    haystack = noise()
    return Draft(
        question=(
            "The text hides a chain of assignments: a variable is set to a value or to another "
            f"variable. Which variables have the value {value}, directly or through others? "
            f"There are {len(names)}; name all of them."
        ),
        targets=tuple(names),
        build=lambda num_units: (make_document("", haystack.hide(needles, num_units)),),
        probe_units=haystack.probe_units,
        hops=NUM_HOPS,
        extra={"num_needles": len(needles), "depths": depths},
    )
