import random

import numpy as np
import pytest

from longspan.synth_templates.curation.near_duplicates import (
    NUM_PERMUTATIONS,
    NearDuplicates,
    bands,
    jaccard,
    shingle_hashes,
)


def text(rng: random.Random, words: int = 200) -> list[str]:
    return ["".join(rng.choices("abcdefgh", k=6)) for _ in range(words)]


def exact(first: list[str], second: list[str], words: int) -> float:
    one, other = (
        {tuple(t[i : i + words]) for i in range(len(t) - words + 1)} for t in (first, second)
    )
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("changed", [0, 1, 3, 20])
def test_similarity_is_that_of_the_sets_of_shingles(changed):
    rng = random.Random(changed)
    first = text(rng)
    second = [*first[: len(first) - changed], *text(rng, changed)]
    found = jaccard(shingle_hashes(" ".join(first), 5), shingle_hashes(" ".join(second), 5))
    assert found == pytest.approx(exact(first, second, 5))


def test_shingles_know_the_order_of_words_and_no_case():
    assert len(shingle_hashes("a b c d", 2)) == 3
    assert jaccard(shingle_hashes("A b C", 2), shingle_hashes("a B, c!", 2)) == 1.0
    assert jaccard(shingle_hashes("a b", 2), shingle_hashes("b a", 2)) == 0.0
    assert len(shingle_hashes("one", 5)) == 1 and len(shingle_hashes("...", 5)) == 0


def test_scripts_without_spaces_have_shingles_of_characters():
    assert len(shingle_hashes("\u6cb3\u6d41\u7a7f\u8fc7\u57ce", 2)) == 4


def test_nearly_every_repetition_is_found_and_nothing_else():
    rng = random.Random(0)
    originals = [text(rng) for _ in range(200)]
    index = NearDuplicates(0.9)
    assert all(index.add(str(n), " ".join(t)) is None for n, t in enumerate(originals))
    near = [[*t[:-4], *text(rng, 4)] for t in originals]
    assert min(exact(a, b, 5) for a, b in zip(originals, near, strict=True)) > 0.9
    found = [index.add("new", " ".join(t)) for t in near]
    assert sum(name == str(n) for n, name in enumerate(found)) >= 195
    far = [[*t[:-30], *text(rng, 30)] for t in originals]
    assert all(index.add(f"far {n}", " ".join(t)) is None for n, t in enumerate(far))


def test_the_first_of_several_is_named_and_texts_without_words_are_not_alike():
    index = NearDuplicates(0.5)
    assert index.add("a", "one two three four five six") is None
    assert index.add("b", "one two three four five six") == "a"
    assert index.add("c", "...") is None and index.add("d", "...") is None


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_a_pair_at_the_threshold(threshold):
    num_bands, rows = bands(threshold)
    assert num_bands * rows <= NUM_PERMUTATIONS
    assert 1 - (1 - threshold**rows) ** num_bands >= 0.98


def test_hashes_are_the_same_in_every_process():
    assert shingle_hashes("the river flows", 3).tolist() == EXPECTED
    assert shingle_hashes("the river flows", 3).dtype == np.uint32


EXPECTED = [2835627255]
