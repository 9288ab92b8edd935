"""Options of agents as callers give them: a wrong one is one line before anything is read."""

from __future__ import annotations

from typing import Any

from longspan.harness.errors import SpecError


def check_sizes(**sizes: Any) -> None:
    """Makes sure that sizes are positive whole numbers, or None for the default.

    Raises:
        SpecError: one is not.
    """
    for name, value in sizes.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(
                f"{name} must be a positive whole number: got {value!r}; "
                "leave it out for the default"
            )


def check_texts(**texts: Any) -> None:
    """Makes sure that names, folders and wordings are texts that are not blank, or None.

    Raises:
        SpecError: one is not.
    """
    for name, value in texts.items():
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise SpecError(f"{name} must be a text: got {value!r}; leave it out for the default")
