"""Corpora of fictional worlds: fresh ones for every part, as large as the target length needs.

A corpus holds the pages of one world, the dialogue of one user, or both, by what the plan's kinds
ask about.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

from longspan.harness.datasets.documents import Document
from longspan.harness.taskset import Split
from longspan.harness.tokens import CHARS_PER_TOKEN, TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.lengths import estimate_total
from longspan.synth_templates.plan import FictionSource
from longspan.synth_templates.shapes.registry import DIALOGUE_SHAPES, Kind
from longspan.synth_templates.triples.relations import Lexicon
from longspan.synth_templates.worlds.dialogue import draw_dialogue
from longspan.synth_templates.worlds.fiction import draw_fiction
from longspan.synth_templates.worlds.fiction_names import Names
from longspan.synth_templates.worlds.fiction_pages import write_documents

_MARGIN = 1.25
"""Pages, and sessions, hold at least this many times the target length: contexts differ."""
_SMALLEST_WORLD, _SHORTEST_DIALOGUE = 70, 40
_CHARS_PER_ENTITY, _CHARS_PER_SESSION = 1050, 710
"""Characters of documents for each entity (articles included) and session, rather too few."""


class FictionCorpora:
    """A fresh fictional world for every part."""

    renews = True

    def __init__(
        self,
        seed: int,
        source: FictionSource,
        kinds: Iterable[Kind],
        lexicon: Lexicon,
        counter: TokenCounter,
    ) -> None:
        self.seed, self.source, self.lexicon, self.counter = seed, source, lexicon, counter
        self.samples_per_part = source.samples_per_world
        is_dialogue = {kind.shape in DIALOGUE_SHAPES for kind in kinds}
        self.has_pages, self.has_dialogue = False in is_dialogue, True in is_dialogue

    def corpus(self, split: Split, tokens: int, part: int) -> Corpus:
        """Returns a world that is large enough for contexts of `tokens`."""
        group = f"{split}-{tokens}-{part:05d}"
        pool = self.source.names[split]

        def pages(size: int) -> list[Document]:
            rng = random.Random(f"{self.seed}/fiction/{group}")
            return write_documents(draw_fiction(rng, Names(rng, pool), size), rng, group)

        def sessions(size: int) -> list[Document]:
            rng = random.Random(f"{self.seed}/dialogue/{group}")
            return draw_dialogue(rng, Names(rng, pool), size, group)

        documents: list[Document] = []
        if self.has_pages:
            documents += self._grow(pages, tokens, _SMALLEST_WORLD, _CHARS_PER_ENTITY)
        if self.has_dialogue:
            documents += self._grow(sessions, tokens, _SHORTEST_DIALOGUE, _CHARS_PER_SESSION)
        return Corpus(group, documents, self.lexicon)

    def report(self) -> dict[str, object]:
        """Returns nothing: a world has no dirty input."""
        return {}

    def _grow(
        self,
        draw: Callable[[int], list[Document]],
        tokens: int,
        smallest: int,
        chars_per_unit: int,
    ) -> list[Document]:
        """Returns documents that hold more than the target length, drawn anew while too few.

        How much they hold is judged by some of them: the corpus will count each, once.
        """
        size = max(smallest, round(_MARGIN * tokens * CHARS_PER_TOKEN / chars_per_unit))
        while True:
            documents = draw(size)
            room = estimate_total(documents, self.counter)
            if room >= _MARGIN * tokens:
                return documents
            size = math.ceil(1.1 * size * _MARGIN * tokens / room)
