"""What passports do not prove is checked too, though the manifest lists the changed files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.harness.errors import DataError
from longspan.harness.files import file_hash
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_command, check_taskset

PLAN = {"name": "small", "splits": {"train": {300: 12}, "test": {300: 6}}}
TABLES = ("samples.parquet", "documents.parquet")
Record = dict[str, Any]


@pytest.fixture(scope="module")
def taskset(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    out = tmp_path_factory.mktemp("declared") / "set"
    return synthesize(parse_plan(PLAN, "test"), out, quiet=True)


def changed(
    taskset: TaskSet, folder: Path, change: Callable[[list[Record], list[Record], Record], None]
) -> TaskSet:
    """A copy in which samples, documents and manifest were changed, and the hashes with them."""
    shutil.copytree(taskset.folder, folder)
    tables = [pq.read_table(folder / name).to_pylist() for name in TABLES]
    manifest = json.loads((folder / "manifest.json").read_text())
    change(*tables, manifest)
    for name, rows in zip(TABLES, tables, strict=True):
        table = pa.Table.from_pylist(rows, schema=pq.read_schema(folder / name))
        pq.write_table(table, folder / name)
        size = (folder / name).stat().st_size
        manifest["files"][name] = {"sha256": file_hash(folder / name), "bytes": size}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return TaskSet.open(folder)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("split", "validation", "id is not that of its split"),
        ("kind", "nosuch", "kind 'nosuch' is not in the manifest"),
        ("scorer", "f1", "scorer is 'f1'"),
        ("task_type", "other", "task_type is 'other'"),
        ("instructions", "Say no.", "instructions is 'Say no.'"),
        ("input_tokens", 1, "input_tokens is 1"),
        ("hops", 5, "hops is 5, but the proof has"),
    ],
)
def test_a_sample_that_is_not_as_declared_is_named(taskset, tmp_path, key, value, problem):
    def change(rows, documents, manifest):
        rows[2][key] = value

    made = changed(taskset, tmp_path / "set", change)
    (found,) = {n: p for n, p in check_taskset(made).items() if n != "(task set)"}.items()
    assert found[0] == taskset.rows()[2].id and any(problem in one for one in found[1])


@pytest.mark.parametrize("edit", ["turned round", "one left out", "one twice"])
def test_a_changed_context_is_named(taskset, tmp_path, edit):
    def change(rows, documents, manifest):
        row = rows[0]
        names = row["documents"]
        evidence = {span["document"] for span in json.loads(row["passport"])["evidence"]}
        other = next(name for name in names if name not in evidence)
        row["documents"] = {
            "turned round": names[::-1],
            "one left out": [name for name in names if name != other],
            "one twice": [*names, other],
        }[edit]

    made = changed(taskset, tmp_path / "set", change)
    assert list(check_taskset(made)) == [taskset.rows()[0].id]


def test_changed_depths_are_named(taskset, tmp_path):
    def change(rows, documents, manifest):
        passport = json.loads(rows[0]["passport"])
        passport["depths"] = [0.987] * len(passport["depths"])
        rows[0]["passport"] = json.dumps(passport)

    problems = check_taskset(changed(taskset, tmp_path / "set", change))
    assert list(problems) == [taskset.rows()[0].id]
    assert "depths are (0.987" in problems[taskset.rows()[0].id][0]


def test_a_lexicon_without_the_relations_of_a_proof_is_noticed(taskset, tmp_path):
    def change(rows, documents, manifest):
        manifest["relations"] = []

    problems = check_taskset(changed(taskset, tmp_path / "set", change))
    assert any("is not in the lexicon" in p for found in problems.values() for p in found)


def test_samples_that_are_missing_and_documents_stored_twice_are_faults_of_the_whole(
    taskset, tmp_path
):
    def change(rows, documents, manifest):
        rows.pop()
        documents.insert(0, documents[0])

    whole = check_taskset(changed(taskset, tmp_path / "set", change))["(task set)"]
    assert any("is stored 2 times" in problem for problem in whole)
    assert "has 17 samples, but the manifest says 18" in whole


def test_a_proof_with_other_parameters_than_its_kind_is_named(taskset, tmp_path):
    def change(rows, documents, manifest):
        (kind,) = (kind for kind in manifest["kinds"] if kind["name"] == "world_hop2")
        kind["hops"] = 3

    problems = check_taskset(changed(taskset, tmp_path / "set", change))
    assert list(problems) == [row.id for row in taskset.rows() if row.kind == "world_hop2"]
    expected = "hops of the proof is 2, but kind world_hop2 says 3"
    assert all(found == [expected] for found in problems.values()) and problems


def test_a_damaged_sample_is_one_line_that_names_it(taskset, tmp_path):
    def change(rows, documents, manifest):
        rows[3]["passport"] = "{}"

    made = changed(taskset, tmp_path / "set", change)
    with pytest.raises(DataError, match=f"sample {taskset.rows()[3].id}: key 'evidence'") as caught:
        made.rows()
    assert "\n" not in str(caught.value)


def test_each_damaged_sample_is_a_problem_and_the_others_are_still_checked(taskset, tmp_path):
    def change(rows, documents, manifest):
        rows[1]["passport"] = '{"evidence": [{"document":'
        rows[3]["split"] = "nowhere"
        rows[5]["target"] = ["Nobody"]
        rows[6]["id"] = None

    folder = tmp_path / "set"
    problems = check_taskset(changed(taskset, folder, change))
    names = [row.id for row in taskset.rows()]
    assert set(problems) == {names[1], names[3], names[5], "in row 7"}
    assert "cannot be read: content: Invalid JSON" in problems[names[1]][0]
    assert "cannot be read: split: Input should be" in problems[names[3]][0]
    with pytest.raises(DataError, match="4 of 18 samples"):
        check_command(folder)


def test_text_that_is_no_text_damages_one_sample_only(taskset, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(taskset.folder, folder)
    table = pq.read_table(folder / "samples.parquet")
    questions = [one.encode() for one in table["question"].to_pylist()]
    questions[4] = b"\xff\xfe"
    raw = pa.array(questions, pa.binary()).buffers()[1:]
    broken = pa.StringArray.from_buffers(len(questions), *raw)
    place = table.column_names.index("question")
    pq.write_table(table.set_column(place, "question", broken), folder / "samples.parquet")
    rows, damaged = TaskSet.open(folder, check_sizes=False).sound_rows()
    assert len(rows) == 17 and "can't decode byte" in damaged["in row 5"]


def test_a_table_without_a_column_is_one_line(taskset, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(taskset.folder, folder)
    table = pq.read_table(folder / "samples.parquet")
    pq.write_table(table.drop_columns(["passport"]), folder / "samples.parquet")
    with pytest.raises(DataError, match="column 'passport' is missing or unknown"):
        check_command(folder)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"card.md": "text"},
        {"samples.parquet": {"sha256": "", "bytes": 0}},
        {"../outside": {"sha256": "", "bytes": 0}},
    ],
)
def test_a_manifest_that_lists_other_files_is_one_line(taskset, tmp_path, files):
    folder = tmp_path / "set"
    shutil.copytree(taskset.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    outside = any("/" in name for name in files)
    manifest["files"] = {**manifest["files"], **files} if outside else files
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="damaged manifest") as caught:
        TaskSet.open(folder)
    assert "\n" not in str(caught.value)
