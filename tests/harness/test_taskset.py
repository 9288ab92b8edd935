import json
from pathlib import Path

import pytest

from longspan.harness.datasets.documents import Document, Triple, resolve_context
from longspan.harness.errors import DataError, SpecError
from longspan.harness.passport import EvidenceSpan, Passport, PathProof, ProofStep
from longspan.harness.resolve import named_task
from longspan.harness.taskset import SampleRow, TaskSet, write_taskset

DOCUMENT = Document(
    id="d1",
    title="Karo",
    text="Karo's rival is Belo.",
    triples=(Triple(subject="Karo", relation="rival", object="Belo"),),
)
PASSPORT = Passport(
    evidence=(EvidenceSpan(document="d1", start=0, end=21, quote=DOCUMENT.text),),
    proof=PathProof(
        steps=(ProofStep(subject="Karo", relation="rival", object="Belo", document="d1"),)
    ),
)


def row(name: str = "s1", **changes: object) -> SampleRow:
    content = {
        "id": name,
        "split": "test",
        "kind": "hop1",
        "task_type": "multi_hop",
        "question": "What is Karo's rival?",
        "target": ("Belo",),
        "scorer": "cover_exact_match",
        "documents": ("d1",),
        "document_group": "w1",
        "seed": 2**55,
        "passport": PASSPORT,
    }
    return SampleRow.model_validate({**content, **changes})


def write(folder: Path, *rows: SampleRow) -> TaskSet:
    return write_taskset(folder, rows or [row()], [("w1", DOCUMENT)], {"name": "mine"}, "# card\n")


def test_rows_come_back_as_they_were_written(tmp_path: Path):
    rows = [row(), row("s2", split="train", passport=None, target=("A", "B"), hops=2)]
    taskset = write(tmp_path / "set", *rows)
    assert taskset.rows() == rows
    assert taskset.rows("train") == rows[1:]
    assert taskset.documents == {"d1": DOCUMENT}
    assert taskset.document_groups() == {"w1": ["d1"]}


def test_samples_are_what_the_contract_says(tmp_path: Path):
    (sample,) = write(tmp_path / "set").samples("test")
    assert sample.input.startswith("What is Karo's rival?\n\n")
    assert (sample.id, sample.target, sample.choices) == ("s1", "Belo", None)
    metadata = sample.metadata
    assert metadata["context"] == {"taskset": str(tmp_path / "set"), "documents": ["d1"]}
    assert metadata["advantage_group"] == "multi_hop/cover_exact_match"
    assert metadata["passport"]["proof"]["type"] == "path"
    assert resolve_context(metadata) == "Karo\nKaro's rival is Belo."
    assert DOCUMENT.text not in str(sample.input)


def test_several_targets_are_a_list(tmp_path: Path):
    (sample,) = write(tmp_path / "set", row(target=("A", "B"))).samples()
    assert sample.target == ["A", "B"]


def test_samples_can_be_chosen(tmp_path: Path):
    rows = [row("a", target_tokens=10), row("b", target_tokens=20), row("c", kind="other")]
    taskset = write(tmp_path / "set", *rows)
    assert [s.id for s in taskset.samples(target_tokens=20)] == ["b"]
    assert [s.id for s in taskset.samples(kinds=["other"])] == ["c"]
    assert [s.id for s in taskset.samples("test", limit=2)] == ["a", "b"]
    with pytest.raises(DataError, match="no samples"):
        taskset.samples("train")
    with pytest.raises(DataError, match="unknown split 'tset'"):
        taskset.rows("tset")  # type: ignore[arg-type]


def test_nothing_is_there_until_all_is_written(tmp_path: Path):
    def failing():
        yield row()
        raise OSError("no space left")

    with pytest.raises(OSError):
        write_taskset(tmp_path / "set", failing(), [("w1", DOCUMENT)], {"name": "x"}, "")
    assert not (tmp_path / "set").exists()
    assert write(tmp_path / "set").rows() == [row()]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path: Path):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    with pytest.raises(DataError, match="exists already"):
        write(tmp_path / "set")


def test_what_is_not_a_whole_task_set_is_one_line(tmp_path: Path):
    with pytest.raises(DataError, match="no task set"):
        TaskSet.open(tmp_path)
    write(tmp_path / "set")
    samples = tmp_path / "set" / "samples.parquet"
    samples.write_bytes(samples.read_bytes()[:-3])
    with pytest.raises(DataError, match="not whole: samples.parquet"):
        TaskSet.open(tmp_path / "set")
    samples.unlink()
    with pytest.raises(DataError, match="not whole: samples.parquet"):
        TaskSet.open(tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(DataError, match="damaged manifest"):
        TaskSet.open(tmp_path / "set")


def test_a_task_set_of_another_format_is_refused(tmp_path: Path):
    write(tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        TaskSet.open(tmp_path / "set")


def test_the_hash_is_of_the_content_and_not_of_the_place(tmp_path: Path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    other = write(tmp_path / "other", row(target=("Karo",)))
    assert one.hash == two.hash != other.hash


def test_a_file_in_the_place_of_a_task_set_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file, not a task set"):
        TaskSet.open(tmp_path / "file")


def test_a_split_is_an_option_or_an_argument_but_not_two_values(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(folder, row("a"), row("b", split="train"), row("c", split="train"))
    train = {"split": "train"}
    for split, arguments in (("train", {}), (None, train), ("train", train)):
        assert len(named_task(str(folder), split, arguments).dataset) == 2
    assert len(named_task(str(folder), None, {}).dataset) == 1
    with pytest.raises(SpecError, match="split is given twice: test and train"):
        named_task(str(folder), "test", train)
    with pytest.raises(SpecError, match="path is given twice"):
        named_task(str(folder), None, {"path": "elsewhere"})
