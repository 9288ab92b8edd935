import random

import pytest

from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind_files import Kinds, load_kinds
from longspan.synth_templates.world import WorldSize, draw_world


@pytest.fixture(scope="session")
def world_kinds() -> Kinds:
    return load_kinds("world")


@pytest.fixture(scope="session")
def world(world_kinds: Kinds) -> Corpus:
    drawn = draw_world(random.Random(0), WorldSize())
    return Corpus("w", drawn.documents("w"), world_kinds.lexicon())


@pytest.fixture(scope="session")
def counter() -> EstimatedTokens:
    return EstimatedTokens()
