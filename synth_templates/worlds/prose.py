"""Prose as data: sentence templates from YAML, filled quickly and reproducibly.

A template is plain text with names in braces: a given value ("{s}") or a list of words from which
one is drawn ("{season}"). Nothing else is interpreted, so templates are no code.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from longspan.harness.files import parse_mapping

Words = Mapping[str, Sequence[str]]
"""Name in a template -> words of which one is drawn."""
_FIELD = re.compile(r"\{(\w+)\}")


def read_prose(name: str) -> dict[str, Any]:
    """Returns the content of a packaged file of templates."""
    path = files(__package__).joinpath("texts", f"{name}.yaml")
    return dict(parse_mapping(path.read_text("utf-8"), f"prose {name}"))


def fill(template: str, values: Mapping[str, str], words: Words, rng: random.Random) -> str:
    """Returns a template with its names replaced: given values first, else a drawn word.

    A word is drawn afresh for every place, never twice the same in one template.
    """
    parts = _parts(template)
    if len(parts) == 1:
        return template
    filled: list[str] = []
    drawn: set[str] = set()
    for i, part in enumerate(parts):
        if i % 2 == 0:
            filled.append(part)
        elif part in values:
            filled.append(values[part])
        else:
            word = rng.choice(words[part])
            while word in drawn:
                word = rng.choice(words[part])
            drawn.add(word)
            filled.append(word)
    return "".join(filled)


def fields_of(template: str) -> frozenset[str]:
    """Returns the names in a template."""
    return frozenset(_parts(template)[1::2])


def capitalised(text: str) -> str:
    """Returns a text as it begins a sentence."""
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=4096)
def _parts(template: str) -> tuple[str, ...]:
    """Returns literal text and names in turn, beginning with text."""
    return tuple(_FIELD.split(template))
