"""Corpora of fictional worlds: a fresh one for every part, as large as the target length needs."""

from __future__ import annotations

import math
import random

from longspan.harness.taskset import Split
from longspan.harness.tokens import CHARS_PER_TOKEN, TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.fiction import draw_fiction
from longspan.synth_templates.fiction_names import Names
from longspan.synth_templates.fiction_pages import write_documents
from longspan.synth_templates.plan import FictionSource
from longspan.synth_templates.relations import Lexicon

_MARGIN = 1.25
"""A world holds at least this many times the target length, so that contexts differ."""
_SMALLEST_WORLD = 70
_CHARS_PER_ENTITY = 1200
"""Characters of documents for each entity of a world, about: articles included."""


class FictionCorpora:
    """A fresh fictional world for every part."""

    renews = True

    def __init__(
        self, seed: int, source: FictionSource, lexicon: Lexicon, counter: TokenCounter
    ) -> None:
        self.seed, self.source, self.lexicon, self.counter = seed, source, lexicon, counter
        self.samples_per_part = source.samples_per_world

    def corpus(self, split: Split, tokens: int, part: int) -> Corpus:
        """Returns a world that is large enough for contexts of `tokens`."""
        group = f"{split}-{tokens}-{part:05d}"
        num = max(_SMALLEST_WORLD, round(_MARGIN * tokens * CHARS_PER_TOKEN / _CHARS_PER_ENTITY))
        while True:
            rng = random.Random(f"{self.seed}/fiction/{group}")
            world = draw_fiction(rng, Names(rng, self.source.names[split]), num)
            corpus = Corpus(group, write_documents(world, rng, group), self.lexicon)
            room = sum(corpus.sizes(self.counter).values())
            if room >= _MARGIN * tokens:
                return corpus
            num = math.ceil(1.1 * num * _MARGIN * tokens / room)

    def report(self) -> dict[str, object]:
        """Returns nothing: a world has no dirty input."""
        return {}
