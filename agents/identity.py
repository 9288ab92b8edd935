"""What the calls of a run depend on, as values that are the same in every process.

A journal is named by them. What only says how calls are made (connections, retries, time) is left
out, and so are keys.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from inspect_ai.model import GenerateConfig, Model
from inspect_ai.model import _generate_config as generate_config
from inspect_ai.solver import TaskState
from pydantic import BaseModel

from longspan.agents.messages import system_messages
from longspan.agents.query import Query

_OPERATIONAL = {
    "max_connections",
    "adaptive_connections",
    "max_retries",
    "timeout",
    "attempt_timeout",
    "stream_idle_timeout",
    "batch",
    "cache",
    "cache_prompt",
}
_SECRET = re.compile(r"api_?key$|^(?:hf_|auth_|access_|api_)?token$|password$|secret$", re.I)
"""Names of model arguments that change no output and are renewed."""
_ADDRESS = re.compile(r"\b0x[0-9a-f]{4,}", re.IGNORECASE)
_LOCAL_HOSTS = {"localhost", "127.0.0.1", "0.0.0.0", "::1"}


def sample_identity(state: TaskState, query: Query) -> dict[str, Any]:
    """Returns everything about the sample that a run's calls depend on, but its document."""
    return {
        "sample": str(state.sample_id),
        "epoch": state.epoch,
        "question": [query.question, query.instructions],
        "choices": [choice.value for choice in state.choices],
        "system": [message.text for message in system_messages(state.messages)],
    }


def model_identity(model: Model) -> dict[str, Any]:
    """Returns everything about the run's model that its outputs depend on."""
    arguments: Mapping[str, Any] = getattr(model, "model_args", None) or {}
    return {
        "model": str(model),
        "checkpoint": getattr(model.api, "checkpoint_hash", None),
        "arguments": stable({k: v for k, v in arguments.items() if not _SECRET.search(k)}),
        "base_url": _base_url(model),
        "generation": stable(
            active_config(model).model_dump(exclude_none=True, exclude=_OPERATIONAL)
        ),
    }


def active_config(model: Model) -> GenerateConfig:
    """Returns the settings of the model's calls: its own, then the evaluation's and the task's.

    Inspect keeps the latter in a context variable that is not public; without it the model's own
    settings are all there is.
    """
    active = getattr(generate_config, "active_generate_config", None)
    return model.config.merge(active()) if active is not None else model.config


def stable(value: Any) -> Any:
    """Returns a value that JSON can hold and that says the same in every process."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(k): stable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [stable(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(
            (stable(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True)
        )
    if isinstance(value, Enum):
        return stable(value.value)
    if isinstance(value, BaseModel):
        return stable(value.model_dump())
    text = repr(value)
    if _ADDRESS.search(text):
        kind = value if hasattr(value, "__qualname__") else type(value)
        return f"{kind.__module__}.{kind.__qualname__}"
    return text


def _base_url(model: Model) -> str | None:
    """Returns where the model is served; None for a server that its provider starts anywhere."""
    explicit = getattr(model, "explicit_base_url", None)
    if explicit:
        return str(explicit)
    provider = str(model).removeprefix("longspan-ref/").partition("/")[0]
    named = os.environ.get(f"{provider.upper().replace('-', '_')}_BASE_URL")
    found = named or getattr(getattr(model.api, "inner", None) or model.api, "base_url", None)
    if not found or (not named and urlsplit(str(found)).hostname in _LOCAL_HOSTS):
        return None
    return str(found)
