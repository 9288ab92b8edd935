"""Names that mean the same entity, found in the documents themselves.

Entities are keyed by `normalise_entity`. Beyond that, two names are joined only where a document
says so, since joining two things into one makes a wrong question and missing an alias only loses
one:

- "Nashville", where every document that names it also mentions Tennessee, and "Nashville,
  Tennessee", where the corpus has no other "Nashville, ...";
- names that the lexicon declares to be one ("U.S.", "United States").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.triples.graph import find_mentions, normalise_entity

_PLACE_WITHIN = re.compile(r"^(?P<name>[^,]+), (?P<within>[^,]+)(?:, [^,]+)?$")


class Aliases:
    """Keys of entities, with the names that mean the same joined."""

    def __init__(self, joined: Mapping[str, str] | None = None) -> None:
        self._joined = dict(joined or {})

    def key(self, name: str) -> str:
        """Returns the key of an entity's name."""
        key = normalise_entity(name)
        return self._joined.get(key, key)

    def num_joined(self) -> int:
        """Returns how many names were joined to another one."""
        return len(self._joined)


def find_aliases(documents: Sequence[Document], declared: Iterable[Sequence[str]] = ()) -> Aliases:
    """Returns the aliases that the triples of the documents use.

    Args:
        documents: A corpus.
        declared: Names that mean the same; the first of each is what the others are joined to.
    """
    joined: dict[str, str] = {}
    for names in declared:
        first, *others = map(normalise_entity, names)
        joined.update(dict.fromkeys(others, first))
    stated: dict[str, list[Document]] = {}
    for document in documents:
        for triple in document.triples:
            for name in (triple.subject, triple.object):
                stated.setdefault(normalise_entity(name), []).append(document)
    longer: dict[str, set[str]] = {}
    for key in stated:
        if match := _PLACE_WITHIN.match(key):
            longer.setdefault(match["name"], set()).add(key)
    for name, full in longer.items():
        heads = {tuple(key.split(", ")[:2]) for key in full}
        if len(heads) != 1:
            continue
        shortest = min(full, key=lambda key: (len(key), key))
        within = shortest.split(", ")[1]
        for key in full - {shortest}:
            joined.setdefault(key, shortest)
        if name in stated and all(find_mentions(within, _whole(d)) for d in stated[name]):
            joined.setdefault(name, shortest)
    return Aliases(joined)


def _whole(document: Document) -> str:
    return f"{document.title}\n{document.text}"
