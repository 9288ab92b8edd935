from pathlib import Path

import pytest

from longspan.harness.errors import DataError
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.curation.derive import count_kinds, derive
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    plan = {"splits": {"train": {200: 40}, "test": {200: 4}}}
    return synthesize(parse_plan(plan, "test"), tmp_path_factory.mktemp("derive") / "p", quiet=True)


def test_samples_keep_their_passports_and_whole_groups_their_documents(parent, tmp_path: Path):
    rows = [parent.rows("train")[0], *parent.rows("test")]
    made = derive(parent, tmp_path / "new", rows, {"operation": "select", "why": "test"})
    assert made.rows() == rows
    assert check_taskset(made) == {}
    used = {row.document_group for row in rows}
    groups = parent.document_groups()
    assert made.document_groups() == {name: groups[name] for name in groups if name in used}
    assert made.manifest["num_documents"] == len(made.documents) < len(parent.documents)


def test_the_manifest_tells_the_lineage_through_two_steps(parent, tmp_path: Path):
    one = derive(parent, tmp_path / "one", parent.rows("train"), {"operation": "a"})
    two = derive(one, tmp_path / "two", one.rows()[:3], {"operation": "b", "drawn": 3})
    steps = two.manifest["lineage"]
    assert [(step["operation"], step["parent"]["hash"]) for step in steps] == [
        *(("a", parent.hash), ("b", one.hash)),
    ]
    assert two.manifest["counts"] == count_kinds(one.rows()[:3])
    assert two.manifest["num_samples"] == 3
    assert "Made by b from taskset" in (two.folder / "card.md").read_text()


def test_a_folder_that_is_taken_is_refused(parent, tmp_path: Path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").touch()
    with pytest.raises(DataError, match="exists already"):
        derive(parent, tmp_path / "new", parent.rows(), {"operation": "a"})
