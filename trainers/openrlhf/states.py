"""DeepSpeed's states of a stage: which of them is whole, and which are not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from longspan.harness.errors import LongspanError, one_line
from longspan.trainers.openrlhf.run_file import WHOLE_STATE

_STATE = re.compile(r"global_step(\d+)")


class StageError(LongspanError):
    """The driver of a stage stopped."""


def last_whole_state(states: Path) -> int:
    """Returns the number of steps behind the last whole state, 0 where there is none.

    DeepSpeed's own note of the latest one may name a state that is not whole: its first process
    writes it before the others are done.

    Raises:
        StageError: there are states, and which of them is whole is not known.
    """
    there, note = _states(states), states / WHOLE_STATE
    if not note.is_file() and len(there) <= 1:  # of the first state, if any, not all was written
        return 0
    tag = note.read_text("utf-8", "replace").strip() if note.is_file() else "nothing"
    for number, place in there.items():
        if place.name == tag:
            return number
    raise StageError(
        f"which state in {states} is whole is not known: {WHOLE_STATE} says {one_line(tag, 40)!r}, "
        f"there are {', '.join(place.name for place in there.values()) or 'none'}; write the name "
        f"of the last good one into {WHOLE_STATE}, or remove {states} to begin the stage again"
    )


def forget_states_after(done: int, states: Path) -> None:
    """Removes the states of later steps, which a kill or a full disk left half-written."""
    latest = states / "latest"
    if done:
        latest.write_text(_states(states)[done].name, encoding="utf-8")
    else:
        latest.unlink(missing_ok=True)
    for number, place in _states(states).items():
        if number > done:
            shutil.rmtree(place)


def _states(states: Path) -> dict[int, Path]:
    """Returns the folders of states by their number of steps."""
    found = ((_STATE.fullmatch(place.name), place) for place in states.glob("global_step*"))
    return dict(sorted((int(match[1]), place) for match, place in found if match))
