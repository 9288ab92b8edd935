import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from longspan.harness.cli import load_command
from longspan.harness.datasets.documents import resolve_context
from longspan.harness.errors import DataError, LongspanError, SynthesisError, describe
from longspan.harness.scoring.rules import RULES
from longspan.harness.taskset import TaskSet
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.generate import prepare_work
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.parts import Part
from longspan.synth_templates.pipeline import open_counter, synth_command, synthesize
from longspan.synth_templates.plan import Plan, parse_plan
from longspan.synth_templates.verify import check_taskset
from tests.full_disk import full_disk

WIKI = Path(__file__).parents[3] / "shared" / "data" / "wiki_passages_with_triples.jsonl.gz"
needs_wiki = pytest.mark.skipif(
    not WIKI.exists(), reason="../shared/data/wiki_passages_with_triples.jsonl.gz is missing"
)


def plan_of(**content: object) -> Plan:
    return parse_plan({"name": "t", **content}, "test")


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    plan = plan_of(splits={"train": {300: 60}, "validation": {300: 10}, "test": {300: 30, 900: 10}})
    return synthesize(plan, tmp_path_factory.mktemp("pipeline") / "set", quiet=True)


def test_every_sample_that_was_asked_for_is_there(built: TaskSet):
    counts = Counter((row.split, row.target_tokens) for row in built.rows())
    assert counts == {
        ("train", 300): 60,
        ("validation", 300): 10,
        ("test", 300): 30,
        ("test", 900): 10,
    }
    types = Counter(row.task_type for row in built.rows("train"))
    assert set(types.values()) == {12}


def test_lengths_are_exact_and_contexts_resolve(built: TaskSet):
    counter = EstimatedTokens()
    for sample in built.samples("test"):
        text = resolve_context(sample.metadata)
        target = sample.metadata["target_tokens"]
        assert counter.count(text) == sample.metadata["input_tokens"]
        assert 0.9 * target < sample.metadata["input_tokens"] <= target
        for span in sample.metadata["passport"]["evidence"]:
            assert span["quote"] in text


def test_splits_share_no_document_and_no_question(built: TaskSet):
    documents = {split: set() for split in ("train", "validation", "test")}
    for row in built.rows():
        documents[row.split] |= set(row.documents)
    assert not documents["train"] & documents["test"]
    assert not documents["validation"] & (documents["train"] | documents["test"])
    asked = [(row.question, row.target) for row in built.rows()]
    assert len(set(asked)) == len(asked)


def test_yields_and_counts_are_in_the_manifest(built: TaskSet):
    step = built.manifest["yields"]["train/300"]
    assert (step["wanted"], step["accepted"]) == (60, 60)
    assert step["drawn"] == 60 + sum(step["rejected"].values())
    assert sum(built.manifest["counts"]["train"].values()) == 60
    assert "| train/300 | 60 |" in (built.folder / "card.md").read_text()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    small = {"test": {300: 12}}
    one = synthesize(plan_of(splits=small, seed=5), tmp_path / "one", quiet=True)
    two = synthesize(plan_of(splits=small, seed=5), tmp_path / "elsewhere" / "two", quiet=True)
    other = synthesize(plan_of(splits=small, seed=6), tmp_path / "other", quiet=True)
    assert digest(one.folder) == digest(two.folder)
    assert one.hash == two.hash != other.hash


KILLED = """
import sys
from pathlib import Path
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
plan = parse_plan({"name": "t", "splits": {"train": {300: 120}}}, "test")
synthesize(plan, Path(sys.argv[1]), quiet=True)
"""


def test_a_killed_run_is_resumed_to_the_same_bytes(tmp_path: Path):
    whole = synthesize(plan_of(splits={"train": {300: 120}}), tmp_path / "whole", quiet=True)
    out, work = tmp_path / "killed", tmp_path / "killed.work"
    for num_parts in (2, 5):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)])
        deadline = time.monotonic() + 120
        while len(list(work.glob("*.part.json"))) < num_parts and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists() and len(list(work.glob("*.part.json"))) >= 5
    resumed = synthesize(plan_of(splits={"train": {300: 120}}), out, quiet=True)
    assert digest(resumed.folder) == digest(whole.folder)
    assert not work.exists()


FICTION = {"source": {"type": "fiction", "samples_per_world": 10}, "splits": {"train": {1500: 60}}}
KILLED_FICTION = f"""
import sys
from pathlib import Path
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
synthesize(parse_plan({{"name": "t", **{FICTION!r}}}, "test"), Path(sys.argv[1]), quiet=True)
"""


def test_a_killed_run_over_fiction_is_resumed_to_the_same_bytes(tmp_path: Path):
    plan = plan_of(**FICTION)
    whole = synthesize(plan, tmp_path / "whole", quiet=True)
    assert len(whole.rows()) == 60 and check_taskset(whole) == {}
    out, work = tmp_path / "killed", tmp_path / "killed.work"
    process = subprocess.Popen([sys.executable, "-c", KILLED_FICTION, str(out)])
    deadline = time.monotonic() + 120
    while len(list(work.glob("*.part.json"))) < 3 and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists() and len(list(work.glob("*.part.json"))) >= 3
    resumed = synthesize(plan, out, quiet=True)
    assert digest(resumed.folder) == digest(whole.folder)


def test_fiction_gives_all_five_task_types(tmp_path: Path):
    splits = {"train": {1500: 60}, "test": {1500: 20}}
    plan = plan_of(source={"type": "fiction"}, splits=splits)
    taskset = synthesize(plan, tmp_path / "set", quiet=True)
    types = Counter(row.task_type for row in taskset.rows("train"))
    assert len(types) == 5 and min(types.values()) >= 8
    train, test = ({d for row in taskset.rows(s) for d in row.documents} for s in splits)
    assert not train & test


def test_a_sample_of_a_prefixed_repetition_can_be_scored(tmp_path: Path):
    plan = plan_of(
        source={"type": "fiction"},
        kinds={"dialogue_repeat_prefixed": 1, "dialogue_repeat": 1},
        splits={"test": {1500: 6}},
    )
    for sample in synthesize(plan, tmp_path / "set", quiet=True).samples("test"):
        instructions = sample.metadata["instructions"]
        assert "Therefore" not in instructions and instructions in sample.input
        prefix = sample.metadata["random_string_to_prepend"]
        wrong = "x" + str(sample.target)
        rule = RULES[sample.metadata["scorer"]]
        assert rule.strict(str(sample.target), [str(sample.target)], sample.metadata) == 1.0
        assert rule.strict(wrong, [str(sample.target)], sample.metadata) < 1.0
        assert (sample.metadata["scorer"] == "mrcr") == bool(prefix)


def test_finished_parts_are_not_made_again(tmp_path: Path):
    out, work = tmp_path / "set", tmp_path / "set.work"
    plan = plan_of(splits={"train": {300: 32}})
    synthesize(plan, out, quiet=True)
    # A part with a mark in it is put where a killed run would have left it.
    first = TaskSet.open(out).rows()
    marked = [row.model_copy(update={"seed": 1}) for row in first[:16]]
    prepare_work(work, plan, load_kinds("world"), "")
    (work / "train-300-00000.part.json").write_text(Part(rows=marked).to_json())
    for file in out.iterdir():
        file.unlink()
    again = synthesize(plan, out, quiet=True)
    assert [row.seed for row in again.rows()[:16]] == [1] * 16


def test_a_damaged_part_is_made_again(tmp_path: Path):
    work, plan = tmp_path / "set.work", plan_of(splits={"train": {300: 32}})
    prepare_work(work, plan, load_kinds("world"), "")
    (work / "train-300-00000.part.json").touch()
    assert len(synthesize(plan, tmp_path / "set", quiet=True).rows()) == 32


def test_a_finished_task_set_is_returned_and_another_plan_refused(tmp_path: Path):
    plan = plan_of(splits={"test": {300: 5}})
    first = synthesize(plan, tmp_path / "set", quiet=True)
    assert synthesize(plan, tmp_path / "set", quiet=True).hash == first.hash
    with pytest.raises(SynthesisError, match="another plan"):
        synthesize(plan_of(splits={"test": {300: 6}}), tmp_path / "set", quiet=True)


def test_parts_of_another_plan_are_refused_but_an_empty_work_folder_is_not(tmp_path: Path):
    out, work = tmp_path / "set", tmp_path / "set.work"
    with pytest.raises(SynthesisError, match="exceeds a world"):
        synthesize(plan_of(splits={"test": {90000: 1}}), out, quiet=True)
    assert sorted(path.name for path in work.iterdir()) == [".lock", "plan.json"]
    part = work / "test-300-00000.part.json"
    part.write_text(Part().to_json())
    with pytest.raises(SynthesisError, match="another plan"):
        synthesize(plan_of(splits={"test": {300: 5}}), out, quiet=True)
    part.unlink()
    assert len(synthesize(plan_of(splits={"test": {300: 5}}), out, quiet=True).rows()) == 5


def test_a_length_that_no_world_holds_is_one_line(tmp_path: Path):
    with pytest.raises(SynthesisError, match="target length 90000 exceeds a world"):
        synthesize(plan_of(splits={"test": {90000: 1}}), tmp_path / "set", quiet=True)


def test_a_full_disk_is_named_and_the_same_command_goes_on(tmp_path: Path):
    arguments = {"out": tmp_path / "set", "num_samples": 20, "tokens": 300, "quiet": True}
    with full_disk(4000), pytest.raises(OSError) as caught:
        load_command("synth")(**arguments)
    assert (describe(caught.value) or "").startswith(f"File too large: {tmp_path / 'set'}; ")
    assert not (tmp_path / "set").exists()
    assert len(load_command("synth")(**arguments).rows()) == 20


def folder_with(tmp_path: Path, name: str, content: bytes) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", b"Plain text without triples. It is short.", "nothing to ask about 1 documents"),
        ("a.txt", b"", "no documents"),
        ("a.txt", b"\x00\x01\x02", "binary"),
        ("a.jsonl", b"{not json", "not JSON"),
        ("a.exe", b"MZ", "no documents"),
    ],
)
def test_documents_that_cannot_be_used_are_one_line(tmp_path: Path, name, content, what):
    docs = folder_with(tmp_path, name, content)
    with pytest.raises(LongspanError, match=what) as caught:
        synth_command(docs=docs, out=tmp_path / "set", quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists() and not (tmp_path / "set.work").exists()


def test_an_empty_or_missing_folder_is_one_line(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "docs", tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no documents"):
            synth_command(docs=path, out=tmp_path / "set", quiet=True)


def test_tables_in_documents_become_numeric_questions(tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for i in range(60):
        rows = "\n".join(f"| row {j} | {(i * 7 + j * 3) % 50} |" for j in range(6))
        (docs / f"report {i}.md").write_text(
            f"# Report {i}\n\n| item | units |\n|---|---|\n{rows}\n"
        )
    taskset = synth_command(docs=docs, out=tmp_path / "set", num_samples=20, tokens=90, quiet=True)
    assert {row.task_type for row in taskset.rows()} == {"corpus_numeric"}
    assert check_taskset(taskset) == {}


def test_a_plan_file_and_options_make_the_plan(tmp_path: Path):
    file = tmp_path / "plan.yaml"
    file.write_text(json.dumps({"name": "mine", "splits": {"test": {300: 5}}, "seed": 1}))
    taskset = synth_command(file, out=tmp_path / "set", seed=2, quiet=True)
    assert (taskset.name, taskset.manifest["seed"]) == ("mine", 2)
    with pytest.raises(SynthesisError, match="--tokens must be at least 1"):
        synth_command(file, out=tmp_path / "other", tokens=0, quiet=True)


def test_lengths_are_counted_with_a_packaged_checkpoint_by_name():
    pytest.importorskip("transformers")
    try:
        counter = open_counter("nano")
    except LongspanError:
        pytest.skip("the packaged checkpoint is not built")
    assert counter.exact and counter.count("Karo's birthplace is Kukton.") < 8


@needs_wiki
def test_real_passages_with_dirty_triples_give_verified_questions(tmp_path: Path):
    taskset = synth_command(
        docs=WIKI, out=tmp_path / "set", num_samples=150, tokens=1000, quiet=True
    )
    rows = taskset.rows()
    assert len(rows) == 150
    assert {row.task_type for row in rows} >= {
        "multi_hop",
        "reading_comprehension",
        "multiple_choice",
    }
    assert check_taskset(taskset) == {}
    source = taskset.manifest["source"]
    assert source["triples"]["unsupported"] > 0 and source["problems"] > 0


def test_a_hostile_folder_gives_its_good_documents_and_a_report(tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    names = ["Arin", "Belo", "Ceda", "Dorin", "Elva", "Farn", "Gota", "Hesk"]
    rows = [
        {
            "title": f"{name} Harbour",
            "text": f"{name} Harbour was designed by {name} Winterfold in the time of old kings.",
            "triples": [[f"{name} Harbour", "designed by", f"{name} Winterfold"]],
        }
        for name in names
    ]
    rows += [{"title": "Short", "text": "Short."}, {"title": "1", "text": "0123456789 " * 9}]
    (docs / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    secret = tmp_path / "secret.txt"
    secret.write_text("A secret that stands outside of the folder and must not be read.")
    (docs / "b.txt").symlink_to(secret)
    (docs / "c.txt").symlink_to("c.txt")
    os.mkfifo(docs / "d.txt")
    (docs / "e.zip").write_bytes(b"PK\x03\x04")
    (docs / "f.txt").write_bytes(b"\x00" * 100)
    with (docs / "g.txt").open("wb") as file:
        file.truncate(100 << 20)
    (docs / "h\nh.txt").write_bytes(b"")
    before = {path.name for path in tmp_path.iterdir()}
    plan = {
        "source": {"type": "documents", "path": docs, "shares": {"train": 1}},
        "splits": {"train": {60: 4}},
        "kinds": {"triples_hop1": 1},
    }
    taskset = synthesize(plan_of(**plan), tmp_path / "set", quiet=True)
    assert {path.name for path in tmp_path.iterdir()} == before | {"set"}
    source = taskset.manifest["source"]
    assert (source["documents_read"], source["documents"]) == (10, 8)
    assert source["left_out_by_filters"] == {"too short": 1, "few letters": 1}
    places = [line.partition(":")[0] for line in source["first_problems"]]
    assert places == ["b.txt", "c.txt", "d.txt", "e.zip", "f.txt", "g.txt", "h\\x0ah.txt"]
    assert "secret" not in (taskset.folder / "card.md").read_text()
    assert "few letters" in (taskset.folder / "card.md").read_text()
    assert check_taskset(taskset) == {}
