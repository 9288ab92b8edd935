"""The entry point for Inspect: registers tasks, solvers, scorers and providers as `longspan/...`.

Inspect imports this module when a name begins with `longspan/` or a model with one of our
providers. It must stay
light: engines are imported when a model of theirs is made.
"""

from __future__ import annotations

from pathlib import Path

from inspect_ai.model import ModelAPI, modelapi

from longspan.agents.full_context import full_context
from longspan.agents.map_reduce import map_reduce
from longspan.agents.memory import memagent, memory_agent
from longspan.agents.retention_scorer import retention_scorer
from longspan.agents.retrieval import retrieval
from longspan.harness.errors import show_errors_in_one_line
from longspan.harness.references import ExpandingModelAPI
from longspan.harness.registry import TASKS, register_folders
from longspan.harness.scoring.scorers import SCORERS

SOLVERS = {
    "full_context": full_context,
    "memory_agent": memory_agent,
    "memagent": memagent,
    "retrieval": retrieval,
    "map_reduce": map_reduce,
}
"""Solvers by name; importing them registered them, as importing the scorers did."""


@modelapi(name="longspan-local")
def longspan_local() -> type[ModelAPI]:
    """Serves a checkpoint of ours, a folder or a Hub id in this process."""
    from longspan.trainers.local.provider import LocalModelAPI  # torch: only when a model is made

    return LocalModelAPI


@modelapi(name="longspan-rl")
def longspan_rl() -> type[ModelAPI]:
    """Serves the policy that a trainer of this process is training."""
    from longspan.trainers.local.provider import PolicyModelAPI  # torch: only when a model is made

    return PolicyModelAPI


@modelapi(name="longspan-ref")
def longspan_ref() -> type[ModelAPI]:
    """Serves any other provider's model, with references to documents expanded for it."""
    return ExpandingModelAPI


show_errors_in_one_line()
register_folders(Path(__file__).parent)

__all__ = [
    "SCORERS",
    "SOLVERS",
    "TASKS",
    "longspan_local",
    "longspan_ref",
    "longspan_rl",
    "retention_scorer",
]
