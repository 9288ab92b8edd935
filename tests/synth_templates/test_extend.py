import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.extend import TOLERANCE, Context, extend
from longspan.synth_templates.relations import Lexicon
from longspan.synth_templates.shapes.draft import Rejected

COUNTER = EstimatedTokens()


def corpus_of(lengths: list[int]) -> Corpus:
    documents = [Document(id=f"d{i}", text="x" * length) for i, length in enumerate(lengths)]
    return Corpus("g", documents, Lexicon([]))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=40), st.integers(5, 2000), st.integers())
def test_length_is_never_above_and_short_by_less_than_a_document(lengths, target, seed):
    corpus = corpus_of(lengths)
    found = extend(["d0", "d1"], corpus, target, COUNTER, random.Random(seed))
    if isinstance(found, Rejected):
        return
    names = [document.id for document in found.documents]
    assert found.input_tokens == COUNTER.count(render_context(found.documents)) <= target
    assert {"d0", "d1"} <= set(names) and len(set(names)) == len(names)
    left_out = [d for d in corpus.documents if d.id not in names]
    largest = max((COUNTER.count(d.text + "\n\n") for d in left_out), default=0)
    assert target - found.input_tokens <= max(TOLERANCE * target, largest + 1)


def test_depths_are_the_share_of_tokens_before_each_document():
    found = extend(["d0"], corpus_of([38, 38, 38, 38]), 40, COUNTER, random.Random(1))
    assert isinstance(found, Context)
    place = [document.id for document in found.documents].index("d0")
    assert found.depths == (place / 4,)


def test_depth_is_spread_over_the_context():
    corpus = corpus_of([40] * 60)
    depths = [
        extend(["d0"], corpus, 300, COUNTER, random.Random(seed)).depths[0] for seed in range(200)
    ]
    assert min(depths) < 0.1 < 0.8 < max(depths)
    assert 0.4 < sum(depths) / len(depths) < 0.6


@pytest.mark.parametrize(
    ("lengths", "target", "reason"),
    [
        ([400, 400], 50, "evidence exceeds target length"),
        ([40, 40], 5000, "corpus shorter than target length"),
    ],
)
def test_what_cannot_fit_is_rejected_with_its_reason(lengths, target, reason):
    rejected = extend(["d0", "d1"], corpus_of(lengths), target, COUNTER, random.Random(0))
    assert rejected == Rejected(reason)


def test_the_same_seed_gives_the_same_context():
    corpus = corpus_of([30] * 50)
    one, two = (extend(["d3"], corpus, 200, COUNTER, random.Random(9)) for _ in range(2))
    assert one == two
