import gzip
import json
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import get_model

from longspan.harness.cli import main
from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.errors import DataError
from longspan.harness.export import FORMATS, VALUES, export_command, parse_fields
from longspan.harness.passport import EvidenceSpan, Passport, PathProof, ProofStep
from longspan.harness.registry import find_task
from longspan.harness.taskset import SampleRow, TaskSet, write_taskset

DOCUMENTS = [
    Document(id=f"d{i}", title=f"Title {i}", text=f"Karo {i} is tall.\n<b>{{{{ x }}}}</b> | é")
    for i in range(3)
]


def row(name: str, split: str, documents: tuple[str, ...], **changes) -> SampleRow:
    step = ProofStep(subject="Karo", relation="rival", object="Belo", document=documents[0])
    span = EvidenceSpan(document=documents[0], start=0, end=4, quote="Karo")
    content = {
        "id": name,
        "split": split,
        "kind": "hop1",
        "task_type": "multi_hop",
        "question": "Who is Karo's rival?",
        "target": ("Belo", "B."),
        "scorer": "cover_exact_match",
        "documents": documents,
        "document_group": "g",
        "seed": 7,
        "passport": Passport(evidence=(span,), proof=PathProof(steps=(step,))),
    }
    return SampleRow.model_validate({**content, **changes})


@pytest.fixture
def taskset(tmp_path: Path) -> TaskSet:
    rows = [
        row("a", "test", ("d0", "d1")),
        row("b", "test", ("d1", "d0"), instructions="Say it."),
        row("c", "train", ("d2",)),
    ]
    documents = [("g", document) for document in DOCUMENTS]
    return write_taskset(tmp_path / "set", rows, documents, {"name": "mine"}, "# card\n")


def exported(taskset: TaskSet, tmp_path: Path, **options) -> list[dict]:
    out = tmp_path / "out" / "samples.jsonl"
    export_command(taskset.folder, out, quiet=True, **options)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def test_prompts_are_those_that_an_evaluation_sends(taskset: TaskSet, tmp_path: Path):
    task = find_task("taskset", path=str(taskset.folder), split="test")
    model = get_model("mockllm/model")
    (log,) = inspect_eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none")
    sent = {
        str(sample.id): [(m.role, m.text) for m in sample.messages if m.role != "assistant"]
        for sample in log.samples or []
    }
    lines = exported(taskset, tmp_path, split="test", messages=True)
    assert {
        line["id"]: [(m["role"], m["content"]) for m in line["prompt"]] for line in lines
    } == sent
    assert len(sent) == 2


def test_targets_and_scorers_are_those_of_the_samples(taskset: TaskSet, tmp_path: Path):
    first = exported(taskset, tmp_path)[0]
    (sample, _) = taskset.samples("test")
    assert (first["id"], first["target"], first["scorer"], first["task_type"]) == (
        *(sample.id, sample.target, sample.metadata["scorer"], sample.metadata["task_type"]),
    )
    assert render_context(DOCUMENTS[:2]) in first["prompt"]
    assert "passport" not in first


def test_splits_are_chosen_and_passports_added(taskset: TaskSet, tmp_path: Path):
    (line,) = exported(taskset, tmp_path, split="train", passports=True)
    assert line["split"] == "train"
    assert Passport.model_validate(line["passport"]) == taskset.rows("train")[0].passport


@pytest.mark.parametrize(
    ("format", "keys"),
    [
        ("openrlhf", {"prompt", "label", "datasource", "id", "task_type", "scorer"}),
        ("trl", {"prompt", "answer", "id", "task_type", "scorer"}),
        ("verl", {"data_source", "prompt", "ability", "reward_model", "extra_info"}),
    ],
)
def test_other_trainers_find_the_keys_that_they_read(taskset, tmp_path: Path, format, keys):
    line = exported(taskset, tmp_path, format=format)[0]
    assert set(line) == keys
    assert line["prompt"][0]["role"] == "user" and "Karo 0" in line["prompt"][0]["content"]
    if format == "verl":
        assert line["reward_model"] == {"style": "rule", "ground_truth": "Belo"}
        assert line["extra_info"]["index"] == 0
    else:
        assert "Belo" in (line.get("label"), line.get("answer"))


def test_every_declared_field_names_a_value():
    assert {n for fields in FORMATS.values() for n in fields.values() if n[0] != "="} <= set(VALUES)


def test_fields_of_ones_own_are_added(taskset: TaskSet, tmp_path: Path):
    line = exported(taskset, tmp_path, field=["meta.gold=target", "meta.source==ours"])[0]
    assert line["meta"] == {"gold": "Belo", "source": "ours"}


@pytest.mark.parametrize("text", ["label", "=target", "a..b=target", "label=nothing"])
def test_a_field_that_cannot_be_is_one_line(text: str):
    with pytest.raises(DataError, match="field"):
        parse_fields([text])


def test_compressed_exports_are_the_same_bytes_twice(taskset: TaskSet, tmp_path: Path):
    one, two = tmp_path / "one.jsonl.gz", tmp_path / "two.jsonl.gz"
    for out in (one, two):
        export_command(taskset.folder, out, quiet=True)
    assert one.read_bytes() == two.read_bytes()
    assert len(gzip.decompress(one.read_bytes()).splitlines()) == 3


def test_a_split_without_samples_and_an_unknown_one_are_one_line(
    taskset: TaskSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for split, what in (("validation", "no samples"), ("dev", "Invalid value for '--split'")):
        arguments = ["export", str(taskset.folder), "--out", str(tmp_path / "x"), "--split", split]
        assert main(arguments) == 2
        assert what in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_command_says_what_it_wrote(taskset, tmp_path: Path, capsys):
    arguments = ["export", str(taskset.folder), "--out", str(tmp_path / "x.jsonl")]
    assert main([*arguments, "--format", "verl"]) == 0
    assert "3 samples" in capsys.readouterr().out
