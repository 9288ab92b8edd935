"""In which words a policy is asked to rewrite its memory: a caller's, its checkpoint's, or ours.

A checkpoint declares them as `longspan_reading` in its `config.json`: {"layout", "instruction"}
(`harness.reading`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from inspect_ai.model import Model

from longspan.agents.memory_format import TURN_INSTRUCTION, Layout
from longspan.agents.options import check_texts
from longspan.harness.errors import SpecError
from longspan.harness.reading import declared_reading


@dataclass(frozen=True)
class Wording:
    """How a turn of the recipe's protocol is worded."""

    layout: Layout
    instruction: str


def check_wording(layout: Any, instruction: Any) -> None:
    """Makes sure that a layout is known and an instruction is a text; None is the default.

    Raises:
        SpecError: one is not.
    """
    if layout is not None and layout not in get_args(Layout):
        raise SpecError(f"layout must be one of {get_args(Layout)}: got {layout!r}; choose one")
    check_texts(instruction=instruction)


def wording_for(model: Model, layout: Layout | None, instruction: str | None) -> Wording:
    """Returns the wording that is asked for, else what the checkpoint declares, else the default.

    Raises:
        SpecError: the checkpoint declares a wording that is none.
    """
    declared = _declared(model)
    layout = layout or declared.get("layout")
    instruction = instruction or declared.get("instruction")
    check_wording(layout, instruction)
    return Wording(layout or "question_first", instruction or TURN_INSTRUCTION)


def _declared(model: Model) -> Mapping[str, Any]:
    api: Any = model.api
    inner = getattr(api, "inner", None)  # a provider may stand in for another one
    for one in (api, inner):
        if isinstance(found := getattr(one, "reading", None), Mapping):
            return found
    # A server or pipeline over a folder of this machine.
    folder = model.model_args.get("model_path") or getattr(inner or api, "model_name", "")
    return declared_reading(str(folder)) or {}
