import random

import pytest

from longspan.harness.datasets.documents import Document, Triple
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind_files import Kinds, load_kinds
from longspan.synth_templates.worlds.dialogue import draw_dialogue
from longspan.synth_templates.worlds.fiction import draw_fiction
from longspan.synth_templates.worlds.fiction_names import Names
from longspan.synth_templates.worlds.fiction_pages import write_documents
from longspan.synth_templates.worlds.world import WorldSize, draw_world


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


@pytest.fixture(scope="session")
def fiction_kinds() -> Kinds:
    return load_kinds("fiction")


@pytest.fixture(scope="session")
def fiction(fiction_kinds: Kinds) -> Corpus:
    """Pages of a world, and a dialogue."""
    rng = random.Random(0)
    names = Names(rng)
    documents = write_documents(draw_fiction(rng, names, 120), rng, "f")
    documents += draw_dialogue(rng, names, 60, "f")
    return Corpus("f", documents, fiction_kinds.lexicon())


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def film_documents(num_films: int = 40, num_directors: int = 25) -> list[Document]:
    """Pages of films and of their directors, as an extractor would state them."""
    rng = random.Random(5)
    documents = []
    for i in range(num_films):
        director, year = (
            f"Ada Bo{'abcdefghijklmnopqrstuvwxyz'[i % num_directors]}er",
            1950 + rng.randrange(60),
        )
        title = f"Red {LETTERS[i % 20].upper()}el{i // 20}"
        writer = f"Kim {LETTERS[i % 20].upper()}on{i // 20}"
        text = f"{title} is a film directed by {director} and written by {writer}. "
        text += f"It was released in {year}."
        facts = [(title, "directed by", director), (title, "written by", writer)]
        facts.append((title, "released in", str(year)))
        documents.append(page(title, text, facts))
    for i in range(num_directors):
        name = f"Ada Bo{LETTERS[i]}er"
        place = f"{LETTERS[i - i % 3].upper()}osto Bay"
        text = f"{name} was born in {place}. {name} was born on 3 May {1900 + 3 * i}."
        facts = [(name, "born in", place), (name, "born on", f"3 May {1900 + 3 * i}")]
        documents.append(page(name, text, facts))
    return documents


def page(title: str, text: str, facts: list[tuple[str, str, str]]) -> Document:
    triples = tuple(Triple(subject=s, relation=r, object=o) for s, r, o in facts)
    return Document(id=title.replace(" ", "-").lower(), title=title, text=text, triples=triples)


@pytest.fixture(scope="session")
def films() -> Corpus:
    kinds = load_kinds("documents")
    return Corpus("films", film_documents(), kinds.lexicon())
