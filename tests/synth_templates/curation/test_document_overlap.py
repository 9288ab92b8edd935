from longspan.harness.datasets.documents import Document
from longspan.harness.passport import EvidenceSpan, Passport, PathProof, ProofStep
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.curation.benchmark_questions import Benchmark, BenchmarkQuestion
from longspan.synth_templates.curation.document_overlap import evidence_documents, shared_documents

TEXT = " ".join(f"word{i}" for i in range(40))
STEP = ProofStep(subject="a", relation="b", object="c", document="d1")


def row(name: str, document: str) -> SampleRow:
    span = EvidenceSpan(document=document, start=0, end=4, quote="word")
    return SampleRow(
        id=name, split="test", kind="k", task_type=None, question="Q?", target=("c",), scorer="s",
        documents=("d1", "d2"), document_group="g", seed=0,
        passport=Passport(evidence=(span,), proof=PathProof(steps=(STEP,))),
    )  # fmt: skip


def shared(context: str) -> list[dict]:
    rows = [row("s1", "d1"), row("s2", "d1"), row("s3", "d2")]
    texts = {"d1": TEXT, "d2": "another text of " + " ".join(f"x{i}" for i in range(30))}
    documents = [Document(id=name, title=name, text=text) for name, text in texts.items()]
    asked = BenchmarkQuestion("bench", "q1", "Q?", ("c",), context)
    return shared_documents(rows, documents, [Benchmark("bench", (asked,))])


def test_a_document_within_a_longer_context_is_found_with_its_samples():
    (found,) = shared(f"Before. {TEXT.upper()}. After.")
    assert (found["document"], found["share"], found["num_samples"]) == ("d1", 1.0, 2)
    assert (found["benchmark"], found["id"]) == ("bench", "q1")


def test_half_of_the_runs_of_words_are_needed():
    # 40 words are 28 runs of 13; 26 words are 14 of them, 25 words 13.
    assert [one["share"] for one in shared(" ".join(TEXT.split()[:26]))] == [0.5]
    assert shared(" ".join(TEXT.split()[:25])) == []
    assert shared("") == []


def test_evidence_documents_are_those_that_are_quoted():
    assert evidence_documents(row("s1", "d2")) == {"d2"}
    assert evidence_documents(row("s1", "d2").model_copy(update={"passport": None})) == frozenset()
