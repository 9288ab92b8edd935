"""How a checkpoint says that memory turns are worded: `longspan_reading` in its `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

READING_KEY = "longspan_reading"


def declared_reading(folder: Path | str) -> Mapping[str, Any] | None:
    """Returns the layout and instruction that a checkpoint was trained with, None without any."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = config.get(READING_KEY) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else None
