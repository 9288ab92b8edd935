"""Which documents of a corpus hold a name: an inverted index of words, then a look at the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from longspan.harness.datasets.documents import Document, render_document
from longspan.synth_templates.triples.graph import find_mentions

_WORD = re.compile(r"[^\W_]+")


class WordIndex:
    """The documents of each word, by position in the corpus."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._places: dict[str, list[int]] = {}
        self._mentions: dict[tuple[str, int], bool] = {}
        for place, document in enumerate(documents):
            for word in set(_WORD.findall(render_document(document).casefold())):
                self._places.setdefault(word, []).append(place)

    def holders(self, name: str) -> frozenset[str]:
        """Returns the ids of the documents that mention a name as whole words, in any case."""
        found = (place for place in self._candidates(name) if self._is_in(name, place))
        return frozenset(self._documents[place].id for place in found)

    def is_held(self, name: str, ids: AbstractSet[str]) -> bool:
        """Returns whether one of these documents mentions the name: much less work than all."""
        return any(
            self._documents[place].id in ids and self._is_in(name, place)
            for place in self._candidates(name)
        )

    def _is_in(self, name: str, place: int) -> bool:
        if (name, place) not in self._mentions:
            text = render_document(self._documents[place])
            self._mentions[name, place] = bool(find_mentions(name, text))
        return self._mentions[name, place]

    def _candidates(self, name: str) -> Sequence[int] | set[int]:
        postings = [self._places.get(word, []) for word in _WORD.findall(name.casefold())]
        if not postings:
            return range(len(self._documents))
        postings.sort(key=len)
        common = set(postings[0])
        for posting in postings[1:]:
            if len(posting) < 8 * len(common) or len(common) > 64:
                common.intersection_update(posting)
        return common
