"""How numbers and names are written on boards, in Markdown and in the terminal.

Accuracies are fractions in [0, 1] in every file and percent with one decimal for people.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "\u2013"
MINUS = "\u2212"
ALPHA = 0.05
_TINY_P = 0.001
ENDINGS = {"unknown": "of unknown ending"}
SOLVER_NAMES = {"full_context": "full context", "memory_agent": "memory agent"}


def percent(fraction: float | None) -> str:
    """Returns a fraction as percent with one decimal, without the sign: 0.4567 -> 45.7."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def points(difference: float | None) -> str:
    """Returns a difference of fractions in percentage points with its sign: +3.1."""
    if difference is None:
        return MISSING
    text = f"{100 * difference:+.1f}"
    return text.replace("-", MINUS) if float(text) else "0.0"


def interval(low_high: Sequence[float] | None, signed: bool = False) -> str:
    """Returns an interval of fractions in percent: [41.2, 47.9]."""
    if low_high is None:
        return ""
    write = points if signed else percent
    return f"[{write(low_high[0])}, {write(low_high[1])}]"


def count(number: float | None) -> str:
    """Returns a number without decimals, thousands separated."""
    return MISSING if number is None else f"{round(number):,}"


def duration(seconds: float | None) -> str:
    """Returns a duration in the unit that suits it: 8.4 s, 12 min, 3.1 h."""
    if seconds is None:
        return MISSING
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def windows(input_over_window: float | None) -> str:
    """Returns a length in windows: 16 -> 16x."""
    return MISSING if input_over_window is None else f"{input_over_window:g}\u00d7"


def p_value(p: float | None) -> str:
    """Returns a p-value: p = 0.03, p < 0.001."""
    if p is None or math.isnan(p):
        return ""
    return f"p < {_TINY_P}" if p < _TINY_P else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def verdict_words(difference: Mapping[str, Any]) -> str:
    """Returns what a difference shows: better (p = 0.01), cannot tell (needs about 900 samples).

    Where only the adjustment for many comparisons makes the difference, it says that instead.
    """
    p, adjusted = difference["p_value"], difference["p_adjusted"]
    if difference["verdict"] != "cannot tell":
        return f"{difference['verdict']} ({p_value(adjusted)})"
    if p is not None and p < ALPHA:
        return f"cannot tell (adjusted {p_value(adjusted)})"
    needed = difference.get("num_samples_needed")
    return "cannot tell" + (f" (needs about {count(needed)} samples)" if needed else "")


def endings_words(endings: Mapping[str, int]) -> str:
    """Returns how samples ended, other than with an answer: 3 cut off, 1 engine failed."""
    others = [(name, number) for name, number in endings.items() if name != "answered" and number]
    return ", ".join(f"{number} {ENDINGS.get(name) or words(name)}" for name, number in others)


def cost_words(totals: Mapping[str, Any]) -> str:
    """Returns the cost of all evaluations in one line."""
    number = totals.get("num_uncounted")
    uncounted = f" (without the tokens of {number} that do not report them)" if number else ""
    return (
        f"{count(totals['calls'])} model calls, {count(totals['input_tokens'])} input and "
        f"{count(totals['output_tokens'])} output tokens, "
        f"{duration(totals['seconds'])} of evaluation{uncounted}"
    )


def solver_name(solver: str) -> str:
    """Returns how a solver is called in running text."""
    return SOLVER_NAMES.get(solver, solver.replace("_", " "))


def words(name: object) -> str:
    """Returns an identifier in words: multi_hop -> multi hop."""
    return str(name).replace("_", " ")


def family(task: str) -> str:
    """Returns a task's name without its length in windows: world-16x -> world."""
    return re.sub(r"[-_ ]?\d+(?:\.\d+)?x$", "", task)
