import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from longspan.harness.datasets.documents import Document, context_offsets, render_context
from longspan.harness.passport import (
    EvidenceSpan,
    Passport,
    PathProof,
    ProofStep,
    TableProof,
    evidence_ranges,
    share_that_survives,
    statements,
)

STEP = ProofStep(subject="Karo", relation="rival", object="Belo", document="b")
DOCUMENTS = [
    Document(id="a", title="First", text="One two."),
    Document(id="b", title="Karo", text="Karo is old. Karo's rival is Belo."),
    Document(id="c", text="No title."),
]
QUOTE = "Karo's rival is Belo."
PASSPORT = Passport(
    evidence=(EvidenceSpan(document="b", start=13, end=34, quote=QUOTE),),
    proof=PathProof(steps=(STEP,)),
)


def test_evidence_is_found_in_the_rendered_context():
    ids = [document.id for document in DOCUMENTS]
    offsets = dict(zip(ids, context_offsets(DOCUMENTS), strict=True))
    lengths = {document.id: len(document.text) for document in DOCUMENTS}
    ((start, end),) = evidence_ranges(PASSPORT, offsets, lengths)
    assert render_context(DOCUMENTS)[start:end] == QUOTE


def test_a_passport_survives_json():
    assert Passport.model_validate_json(PASSPORT.model_dump_json()) == PASSPORT


def test_survival_by_hand():
    kept = [(0, 10), (90, 100)]
    assert share_that_survives([(2, 8), (8, 12), (91, 100), (0, 100)], kept) == 0.5
    assert share_that_survives([], kept) == 1.0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=8))
def test_everything_survives_where_nothing_is_cut(spans):
    assert share_that_survives([(a, a + n) for a, n in spans], [(0, 70)]) == 1.0


def test_unknown_keys_and_empty_proofs_are_refused():
    with pytest.raises(ValidationError):
        Passport.model_validate({**PASSPORT.model_dump(), "mood": "good"})
    with pytest.raises(ValidationError):
        PathProof(steps=())


def test_statements_name_what_a_proof_uses():
    assert statements(PASSPORT.proof) == [("b", "Karo", "rival", "Belo")]
    table = TableProof(
        document="d", subject="KaroCo", column="sales", rows=(("x", 1.0),), operation="max"
    )
    assert statements(table) == [("d", "KaroCo", "sales")]
