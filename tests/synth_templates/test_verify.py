import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.harness.datasets.documents import Document, Triple
from longspan.harness.errors import DataError
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_command, check_passport, check_taskset

PLAN = {"name": "small", "splits": {"train": {300: 30}, "test": {300: 20}}}


@pytest.fixture(scope="module")
def taskset(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    out = tmp_path_factory.mktemp("verify") / "set"
    return synthesize(parse_plan(PLAN, "test"), out, quiet=True)


@pytest.fixture
def rows(taskset: TaskSet) -> dict[str, SampleRow]:
    """One sample of each kind."""
    return {row.kind: row for row in taskset.rows()}


def corpus_for(row: SampleRow, taskset: TaskSet, lexicon, change=None) -> Corpus:
    names = taskset.document_groups()[row.document_group]
    documents = [taskset.documents[name] for name in names]
    return Corpus(row.document_group, [change(d) if change else d for d in documents], lexicon)


def edited(row: SampleRow, **proof) -> SampleRow:
    passport = row.passport.model_copy(
        update={"proof": row.passport.proof.model_copy(update=proof)}
    )
    return row.model_copy(update={"passport": passport})


def test_all_kinds_are_there_and_hold(taskset, rows, world_kinds):
    assert set(rows) == set(world_kinds.by_name())
    assert check_taskset(taskset) == {}


def test_a_changed_document_is_caught_for_every_kind(taskset, rows, world_kinds):
    for row in rows.values():
        span = row.passport.evidence[-1]

        def change(document: Document, span=span) -> Document:
            if document.id != span.document:
                return document
            text = document.text[: span.start] + "#" + document.text[span.start + 1 :]
            return document.model_copy(update={"text": text})

        corpus = corpus_for(row, taskset, world_kinds.lexicon(), change)
        assert any("does not say" in problem for problem in check_passport(row, corpus)), row.kind


def test_a_wrong_target_is_caught_for_every_kind(taskset, rows, world_kinds):
    for row in rows.values():
        corpus = corpus_for(row, taskset, world_kinds.lexicon())
        wrong = row.model_copy(update={"target": ("Nobody",)})
        assert any("the proof gives" in problem for problem in check_passport(wrong, corpus))


def test_a_second_answer_anywhere_in_the_group_is_caught(taskset, rows, world_kinds):
    row = rows["world_hop2"]
    last = row.passport.proof.steps[-1]
    other = Triple(subject=last.subject, relation=last.relation, object="Elsewhere")
    outside = [n for n in taskset.document_groups()[row.document_group] if n not in row.documents]

    def contradict(document: Document) -> Document:
        if document.id != outside[0]:
            return document
        return document.model_copy(update={"triples": (*document.triples, other)})

    corpus = corpus_for(row, taskset, world_kinds.lexicon(), contradict)
    assert any("not unique" in problem for problem in check_passport(row, corpus))


def test_a_broken_path_is_caught(taskset, rows, world_kinds):
    row = rows["world_hop2"]
    corpus = corpus_for(row, taskset, world_kinds.lexicon())
    steps = row.passport.proof.steps
    turned = edited(row, steps=(steps[1], steps[0]))
    assert check_passport(turned, corpus)
    invented = edited(row, steps=(steps[0].model_copy(update={"object": "Nobody"}), steps[1]))
    assert any("does not state" in problem for problem in check_passport(invented, corpus))


def test_a_wrong_table_operation_is_caught(taskset, rows, world_kinds):
    row = rows["world_sales_max"]
    corpus = corpus_for(row, taskset, world_kinds.lexicon())
    assert check_passport(edited(row, operation="min"), corpus)
    changed = tuple((label, value + 1) for label, value in row.passport.proof.rows)
    assert any("no such table" in p for p in check_passport(edited(row, rows=changed), corpus))


def test_options_must_hold_the_answer_once(taskset, rows, world_kinds):
    row = rows["world_choice1"]
    corpus = corpus_for(row, taskset, world_kinds.lexicon())
    answer = row.passport.proof.steps[-1].object
    for options in ((answer,) * 4, ("a", "b", "c", "d")):
        passport = row.passport.model_copy(update={"options": options})
        problems = check_passport(row.model_copy(update={"passport": passport}), corpus)
        assert any("exactly one of the options" in problem for problem in problems)


def test_check_names_the_failing_sample_and_fails(taskset, tmp_path: Path, capsys):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in taskset.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    check_command(folder)
    assert "50 of 50 passports hold" in capsys.readouterr().out
    table = pq.read_table(folder / "samples.parquet").to_pylist()
    table[7]["target"] = ["Nobody"]
    schema = pq.read_schema(folder / "samples.parquet")
    pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / "samples.parquet")
    with pytest.raises(DataError, match="1 of 50 samples"):
        check_command(folder)
    assert table[7]["id"] in capsys.readouterr().out


def test_check_notices_changes_that_no_passport_covers(taskset, tmp_path: Path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in taskset.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "card.md").write_text("other")
    with pytest.raises(DataError, match=r"changed since it was built: .*card\.md"):
        check_command(folder)


def test_a_random_byte_of_a_document_never_goes_unnoticed(taskset, tmp_path: Path):
    rng = random.Random(3)
    for trial in range(3):
        folder = tmp_path / str(trial)
        folder.mkdir()
        for file in taskset.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        path = folder / "documents.parquet"
        data = bytearray(path.read_bytes())
        data[rng.randrange(4, len(data) - 4)] ^= 0xFF
        path.write_bytes(bytes(data))
        with pytest.raises(DataError):
            check_command(folder)


def test_a_document_in_two_splits_is_a_fault_of_the_whole(taskset, tmp_path: Path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in taskset.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    table = pq.read_table(folder / "samples.parquet").to_pylist()
    twin = next(
        (a, b)
        for a in table
        for b in table
        if a["id"] != b["id"] and set(a["documents"]) & set(b["documents"])
    )[0]
    twin["split"] = "validation"
    schema = pq.read_schema(folder / "samples.parquet")
    pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / "samples.parquet")
    problems = check_taskset(TaskSet.open(folder, check_sizes=False))
    assert any("two splits" in problem for problem in problems["(task set)"])


def test_a_manifest_without_its_lexicon_is_one_line(taskset, tmp_path: Path):
    manifest = json.loads((taskset.folder / "manifest.json").read_text())
    del manifest["relations"]
    with pytest.raises(DataError, match="lexicon"):
        check_taskset(TaskSet(taskset.folder, manifest))


def test_a_gold_answer_that_its_scorer_does_not_accept_is_caught(taskset, rows, world_kinds):
    row = rows["world_hop2"]
    corpus = corpus_for(row, taskset, world_kinds.lexicon())
    problems = check_passport(row.model_copy(update={"scorer": "numeric"}), corpus)
    assert any("by numeric" in p or "scorer numeric cannot" in p for p in problems)
