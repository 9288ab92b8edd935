import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document, Triple, render_context
from longspan.harness.passport import EvidenceSpan, PathProof, ProofStep
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.extend import LOOSE_TOLERANCE, Context, Distractors, extend
from longspan.synth_templates.shapes.draft import Draft, Rejected
from longspan.synth_templates.triples.relations import Lexicon

COUNTER = EstimatedTokens()
LOOSE = Distractors(tolerance=None, may_hold_answer=True)


def corpus_of(lengths: list[int]) -> Corpus:
    documents = [Document(id=f"d{i}", text="x" * length) for i, length in enumerate(lengths)]
    return Corpus("g", documents, Lexicon([]))


def evidence_in(*names: str, answer: str = "answer") -> Draft:
    spans = [EvidenceSpan(document=name, start=0, end=1, quote="x") for name in names]
    steps = [ProofStep(subject="s", relation="r", object="o", document=name) for name in names]
    return Draft(None, answer, PathProof(steps=steps), tuple(spans), {})


def extended(draft, corpus, target, seed, options=LOOSE, counter=COUNTER):
    return extend(draft, corpus, target, counter, random.Random(seed), options)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=40), st.integers(5, 2000), st.integers())
def test_length_is_never_above_and_short_by_less_than_a_document(lengths, target, seed):
    corpus = corpus_of(lengths)
    found = extended(evidence_in("d0", "d1"), corpus, target, seed)
    if isinstance(found, Rejected):
        return
    names = [document.id for document in found.documents]
    assert found.input_tokens == COUNTER.count(render_context(found.documents)) <= target
    assert {"d0", "d1"} <= set(names) and len(set(names)) == len(names)
    left_out = [d for d in corpus.documents if d.id not in names]
    largest = max((COUNTER.count(d.text + "\n\n") for d in left_out), default=0)
    assert target - found.input_tokens <= max(LOOSE_TOLERANCE * target, largest + 1)


def test_depths_are_the_share_of_tokens_before_each_document():
    found = extended(evidence_in("d0"), corpus_of([38, 38, 38, 38]), 40, 1)
    assert isinstance(found, Context)
    place = [document.id for document in found.documents].index("d0")
    assert found.depths == (place / 4,)


def test_depth_is_spread_over_the_context():
    corpus = corpus_of([40] * 60)
    depths = [extended(evidence_in("d0"), corpus, 300, seed).depths[0] for seed in range(200)]
    assert min(depths) < 0.1 < 0.8 < max(depths)
    assert 0.4 < sum(depths) / len(depths) < 0.6


@pytest.mark.parametrize(
    ("lengths", "target", "reason"),
    [
        ([400, 400], 50, "evidence exceeds target length"),
        ([40, 40], 5000, "no documents that fill the target length"),
    ],
)
def test_what_cannot_fit_is_rejected_with_its_reason(lengths, target, reason):
    rejected = extended(evidence_in("d0", "d1"), corpus_of(lengths), target, 0)
    assert rejected == Rejected(reason)


def test_few_documents_are_used_up_where_the_others_hold_the_answer():
    """What may not stand beside the evidence is no room that is left."""
    texts = ["x" * 40, "y" * 40, "z" * 40, *("The answer is Ada Quill." for _ in range(9))]
    documents = [Document(id=f"d{i}", text=text) for i, text in enumerate(texts)]
    corpus = Corpus("g", documents, Lexicon([]))
    options = Distractors(tolerance=None)
    draft = evidence_in("d0", answer="Ada Quill")
    short = extended(draft, corpus, 70, 0, options)
    assert short == Rejected("no documents that fill the target length")
    free = extended(draft, corpus, 30, 0, options)
    assert isinstance(free, Context) and {d.id for d in free.documents} <= {"d0", "d1", "d2"}


def test_a_document_that_does_not_fit_leaves_a_context_short():
    found = extended(evidence_in("d0"), corpus_of([40, 40, 400]), 60, 0)
    assert isinstance(found, Context) and found.input_tokens < 30


def test_the_same_seed_gives_the_same_context():
    corpus = corpus_of([30] * 50)
    one, two = (extended(evidence_in("d3"), corpus, 200, 9) for _ in range(2))
    assert one == two


def test_a_context_comes_within_the_tolerance_of_its_target():
    lengths = random.Random(3).choices(range(200, 3000), k=400)
    corpus = corpus_of(lengths)
    for seed in range(40):
        found = extended(evidence_in("d0"), corpus, 4096, seed, Distractors())
        assert isinstance(found, Context)
        assert 0.99 * 4096 <= found.input_tokens <= 4096


def test_a_corpus_that_cannot_come_within_the_tolerance_is_rejected():
    rejected = extended(evidence_in("d0"), corpus_of([400] * 30), 150, 0, Distractors())
    assert rejected == Rejected("no documents that fill the target length")


def test_no_distractor_holds_the_answers_text():
    texts = ["evidence Zorbax", *(f"{i} Zorbax town " * 9 for i in range(20))]
    texts += [f"{i} other town " * 9 for i in range(20)]
    documents = [Document(id=f"d{i}", text=text) for i, text in enumerate(texts)]
    corpus = Corpus("g", documents, Lexicon([]))
    draft = evidence_in("d0", answer="Zorbax")
    for seed in range(10):
        strict = Distractors(tolerance=0.2)
        found = extended(draft, corpus, 300, seed, strict)
        assert isinstance(found, Context)
        assert [d.id for d in found.documents if "Zorbax" in d.text] == ["d0"]
        loose = extended(draft, corpus, 300, seed)
        assert sum("Zorbax" in d.text for d in loose.documents) > 1


def test_hard_distractors_are_about_the_same_relation_or_entity():
    def page(i: int, relation: str) -> Document:
        name = f"Person{i}"
        triple = Triple(subject=name, relation=relation, object=f"Place{i}")
        return Document(
            id=f"d{i}", title=name, text=f"{name} {relation} Place{i}. " * 5, triples=(triple,)
        )

    corpus = Corpus(
        "g", [page(i, "born in" if i < 10 else "died in") for i in range(60)], Lexicon([])
    )
    step = ProofStep(subject="Person0", relation="born in", object="Place0", document="d0")
    span = EvidenceSpan(document="d0", start=0, end=1, quote="P")
    draft = Draft(None, "Place0", PathProof(steps=(step,)), (span,), {})
    for seed in range(5):
        hard = extended(draft, corpus, 300, seed, Distractors(tolerance=0.3, hard_share=1.0))
        assert isinstance(hard, Context)
        assert all("born in" in document.text for document in hard.documents)


@pytest.mark.parametrize(("order", "sign"), [("proof", 1), ("reversed", -1)])
def test_order_and_depth_of_the_evidence_are_as_declared(order, sign):
    corpus = corpus_of([40] * 80)
    options = Distractors(tolerance=0.1, order=order, depth=(0.5, 0.9))
    for seed in range(20):
        found = extended(evidence_in("d5", "d6", "d7"), corpus, 400, seed, options)
        assert isinstance(found, Context)
        assert list(found.depths) == sorted(found.depths, reverse=sign < 0)
        assert min(found.depths) >= 0.45 and max(found.depths) <= 0.9


class MergesAcrossDocuments(EstimatedTokens):
    """A tokenizer to whom the separator and what follows are one token more in a context."""

    name, exact = "merging", True

    def count(self, text: str) -> int:
        return len(text.split()) + text.count("\n\nx")


def test_a_tokenizer_that_merges_across_documents_is_counted_on_the_whole_context():
    corpus = corpus_of([40] * 30)
    counter = MergesAcrossDocuments()
    assert not corpus.lengths(counter).is_additive
    found = extended(evidence_in("d0"), corpus, 20, 0, LOOSE, counter)
    assert isinstance(found, Context)
    assert found.input_tokens == counter.count(render_context(found.documents)) <= 20


class SplitsWhiteSpaceByWhatFollows(EstimatedTokens):
    """As byte-level tokenizers do: white space before something is split from its last piece."""

    exact = True
    _tokens = re.compile(r" ?\w+| ?[^\s\w]+|\s+(?!\S)|\s")

    def encode(self, text: str) -> list[int]:
        return [hash(token) for token in self._tokens.findall(text)]

    def count(self, text: str) -> int:
        return len(self.encode(text))


def test_sizes_add_up_where_white_space_is_split_by_what_follows():
    counter = SplitsWhiteSpaceByWhatFollows()
    texts = [f"Page {i}. " + "Words of some length stand here. " * (i % 5 + 1) for i in range(40)]
    documents = [Document(id=f"d{i}", text=text.strip()) for i, text in enumerate(texts)]
    corpus = Corpus("g", documents, Lexicon([]))
    assert counter.count("a\n\n") + counter.count("b") != counter.count("a\n\nb")
    assert corpus.lengths(counter).is_additive
    for seed in range(5):
        found = extended(evidence_in("d0"), corpus, 150, seed, LOOSE, counter)
        assert isinstance(found, Context)
        assert found.input_tokens == counter.count(render_context(found.documents)) <= 150
