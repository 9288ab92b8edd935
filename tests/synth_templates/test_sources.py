import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document
from longspan.harness.errors import SynthesisError
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.models.model_steps import ModelSteps
from longspan.synth_templates.plan import WorldSource, parse_plan
from longspan.synth_templates.sources import WorldCorpora, open_source, partition
from longspan.synth_templates.worlds.world import names_of

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
num_documents = st.integers(1, 60)


def documents(number: int) -> list[Document]:
    return [Document(id=f"d{i:03d}", text="x") for i in range(number)]


@given(num_documents, st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=30))
def test_every_document_is_in_exactly_one_split(number, pairs):
    links = [(f"d{a:03d}", f"d{b:03d}") for a, b in pairs if max(a, b) < number]
    parts = partition(documents(number), SHARES, 0, links)
    placed = sorted(document.id for part in parts.values() for document in part)
    assert placed == [document.id for document in documents(number)]


def test_linked_documents_stay_together_and_shares_are_kept():
    links = [(f"d{i:03d}", f"d{i + 1:03d}") for i in range(0, 100, 2)]
    parts = partition(documents(100), SHARES, 1, links)
    split_of = {d.id: split for split, part in parts.items() for d in part}
    assert all(split_of[a] == split_of[b] for a, b in links)
    assert [len(parts[split]) for split in SHARES] == [80, 10, 10]


def test_a_corpus_that_is_all_linked_is_still_split():
    links = [(f"d{i:03d}", f"d{i + 1:03d}") for i in range(99)]
    parts = partition(documents(100), SHARES, 1, links)
    assert all(parts.values())


def test_worlds_differ_by_part_and_held_out_names_stay_out_of_training():
    source = WorldCorpora(0, WorldSource(), load_kinds("world").lexicon(), EstimatedTokens())
    one, two = source.corpus("train", 300, 0), source.corpus("train", 300, 1)
    assert {d.text for d in one.documents} != {d.text for d in two.documents}
    assert [d.text for d in one.documents] == [
        d.text for d in source.corpus("train", 300, 0).documents
    ]
    trained = {name for kind in ("person", "town", "company") for name in names_of(kind, "train")}
    pages = {d.title for d in (*one.documents, *two.documents)} - {"Dialogue"}
    assert pages <= trained


def test_a_longer_target_gets_a_larger_world():
    source = WorldCorpora(0, WorldSource(), load_kinds("world").lexicon(), EstimatedTokens())
    corpus = source.corpus("test", 4000, 0)
    assert corpus.lengths(EstimatedTokens()).total >= 1.25 * 4000


def opened(folder: Path, num_documents: int, splits: dict, **source: object) -> object:
    """The source of documents of 120 tokens each."""
    path = folder / "pages.jsonl"
    page = {"text": "Rome was founded by Romulus. ".ljust(470, "x")}
    pages = [
        page | {"title": f"Rome {i}", "triples": [[f"Rome {i}", "founded by", "Romulus"]]}
        for i in range(num_documents)
    ]
    path.write_text("\n".join(map(json.dumps, pages)))
    filters = {"near_duplicates": None}
    content = {"splits": splits, "source": {"type": "documents", "path": path, **source}}
    content["source"]["filters"] = filters
    plan = parse_plan(content, "test")
    steps = ModelSteps.open(folder / "work", None, quiet=True)
    return open_source(plan, load_kinds("documents"), EstimatedTokens(), steps)


def test_a_small_folder_is_refused_by_the_split_that_it_cannot_fill(tmp_path: Path):
    splits = {split: {300: 10} for split in SHARES}
    with pytest.raises(SynthesisError) as caught:
        opened(tmp_path, 13, splits)
    message = caught.value.message
    assert message.startswith("split validation has 1 of the 13 documents in ")
    assert "120 tokens in all: too few for a context of 300; lower the target length" in message
    assert "splits: {train: {300: 200}}, source: {type: documents, path: " in message


def test_the_message_proposes_no_plan_that_would_fail_as_well(tmp_path: Path):
    with pytest.raises(
        SynthesisError, match=r"split train has 11 of the 13 .* give more docum\w+$"
    ):
        opened(tmp_path, 13, {"train": {2048: 10}})


def test_the_plan_that_the_message_proposes_uses_all_documents(tmp_path: Path):
    source = opened(tmp_path, 13, {"train": {300: 200}}, shares={"train": 1})
    assert len(source.corpus("train", 300, 0).documents) == 13


def test_a_split_without_samples_or_with_short_contexts_needs_no_more_documents(tmp_path: Path):
    splits = {"train": {300: 10}, "validation": {900: 0}, "test": {110: 10}}
    assert opened(tmp_path, 13, splits).report()["documents_per_split"]["test"] == 1
