"""Task data: found in every layout of a mirror, fetched by one command, and named when missing."""

import json
import zipfile

import pytest
import yaml

from longspan.harness.cli import main
from longspan.harness.datasets import command as data_command
from longspan.harness.datasets import data as data_module
from longspan.harness.datasets import hub
from longspan.harness.datasets.data import Data, find_data, find_locally
from longspan.harness.datasets.state import data_state
from longspan.harness.errors import DataError
from longspan.harness.registry import find_spec, find_task
from longspan.harness.spec import DatasetSpec, SpecFile, TaskSpec

COMMIT, OTHER = "a" * 40, "b" * 40
REPOSITORY = "town-hall/towns.v1"


def spec_file(folder, revision=COMMIT, files=("one/a.jsonl|one_a.jsonl",), member=None, **dataset):
    content = {
        "name": "towns",
        "description": "Questions on towns",
        "dataset": {
            "hub": {
                "repository": REPOSITORY,
                "revision": revision,
                "files": list(files),
                "member": member,
            },
            **dataset,
        },
        "scorer": "cover_exact_match",
    }
    return SpecFile(spec=TaskSpec.model_validate(content), path=folder / "specs" / "towns.yaml")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty LONGSPAN_DATA, no network, and an empty cache."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("LONGSPAN_DATA", str(folder))
    monkeypatch.setattr(hub, "cached_file", lambda *arguments: None)
    monkeypatch.setattr(hub, "download", offline)
    monkeypatch.setattr(hub, "current_commit", offline)
    return folder


def offline(*arguments, **named):
    raise DataError("cannot fetch: offline")


def put(path, text='{"id": "1"}\n'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


LAYOUTS = {
    "town-hall/towns.v1/one/a.jsonl": "unknown",
    "towns.v1/one/a.jsonl": "unknown",
    "one/a.jsonl": "unknown",
    "one_a.jsonl": "unknown",
    "a.jsonl": "unknown",
    f"datasets--town-hall--towns.v1/snapshots/{COMMIT}/one/a.jsonl": COMMIT,
}


@pytest.mark.parametrize(("place", "revision"), LAYOUTS.items())
def test_a_file_is_found_in_every_layout_of_a_mirror(mirror, tmp_path, place, revision):
    path = put(mirror / place)
    found = find_data(spec_file(tmp_path))
    assert found == Data((path,), None, REPOSITORY, revision)
    assert found.facts() == {
        "data": path.name,
        "data_repository": REPOSITORY,
        "data_revision": revision,
    }


def test_a_cached_snapshot_of_another_commit_is_not_taken_for_the_pinned_one(mirror, tmp_path):
    cache = mirror / "datasets--town-hall--towns.v1"
    put(cache / "snapshots" / OTHER / "one/a.jsonl")
    put(cache / "refs/main", OTHER)
    assert find_locally(spec_file(tmp_path)) is None
    assert find_locally(spec_file(tmp_path, revision=None)).revision == OTHER
    (cache / "refs/main").unlink()
    assert find_locally(spec_file(tmp_path, revision=None)).revision == OTHER
    put(cache / "snapshots" / COMMIT / "one/a.jsonl")
    assert find_locally(spec_file(tmp_path, revision=None)) is None, "which one is meant?"


def test_all_files_of_a_task_must_be_there(mirror, tmp_path):
    file = spec_file(tmp_path, files=["a.jsonl", "b.jsonl|b2.jsonl"])
    put(mirror / "a.jsonl")
    assert find_locally(file) is None
    second = put(mirror / "towns.v1/b2.jsonl", '{"id": "2"}\n')
    found = find_data(file)
    assert [path.name for path in found.paths] == ["a.jsonl", second.name]
    assert found.names == "a.jsonl, b2.jsonl"
    before = found.hash()
    put(second, '{"id": "3"}\n')
    assert find_data(file).hash() != before


def test_files_by_name_and_beside_the_spec_are_found_as_well(mirror, tmp_path):
    content = spec_file(tmp_path).spec.dataset.model_dump() | {"files": ["old.jsonl"]}
    dataset = DatasetSpec.model_validate(content)
    file = spec_file(tmp_path)
    file = SpecFile(spec=file.spec.model_copy(update={"dataset": dataset}), path=file.path)
    beside = put(file.path.parent / "old.jsonl")
    assert find_data(file).paths == (beside,)
    old = put(mirror / "old.jsonl")
    assert find_data(file).paths == (old,)
    layout = put(mirror / "one_a.jsonl")
    assert find_data(file).paths == (layout,), "the hub's own files before others"


def test_files_without_a_hub_keep_their_order(tmp_path, monkeypatch):
    data, specs = tmp_path / "data", tmp_path / "specs"
    data.mkdir(), specs.mkdir()
    content = {"files": ["first.jsonl", "second.jsonl"], "source": "the town hall"}
    spec = TaskSpec.model_validate(
        {"name": "towns", "description": "d", "dataset": content, "scorer": "letter"}
    )
    file = SpecFile(spec=spec, path=specs / "towns.yaml")
    monkeypatch.delenv("LONGSPAN_DATA", raising=False)
    with pytest.raises(DataError, match="needs first.jsonl or second.jsonl .the town hall.: .*not"):
        find_data(file)
    (specs / "first.jsonl").touch()
    assert find_data(file).paths == (specs / "first.jsonl",)
    monkeypatch.setenv("LONGSPAN_DATA", str(data))
    (data / "second.jsonl").touch()
    assert find_data(file).paths == (data / "second.jsonl",)
    (data / "first.jsonl").touch()
    assert find_data(file).paths == (data / "first.jsonl",)
    assert find_data(file, str(specs / "first.jsonl")).paths == (specs / "first.jsonl",)
    with pytest.raises(DataError, match="no data file at"):
        find_data(file, str(tmp_path / "none"))


def test_files_and_folders_may_be_given(mirror, tmp_path):
    file = spec_file(tmp_path)
    path = put(tmp_path / "mine" / "one" / "a.jsonl")
    assert find_data(file, str(path)).paths == (path,)
    assert find_data(file, [str(path), str(path)]).paths == (path, path)
    assert find_data(file, str(tmp_path / "mine")).paths == (path,)
    with pytest.raises(DataError, match="does not hold one/a.jsonl of town-hall/towns.v1 at aaaaa"):
        find_data(file, str(tmp_path / "mirror"))
    with pytest.raises(DataError, match="no data file at"):
        find_data(file, [str(path), str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("revision", "commit"), [(COMMIT, "at aaaaaaaa"), (None, r"\(no pinned commit\)")]
)
def test_missing_data_are_named_with_repository_commit_and_command(
    mirror, tmp_path, revision, commit
):
    needs = f"task towns needs one/a.jsonl of {REPOSITORY} {commit}"
    with pytest.raises(DataError, match=needs) as caught:
        find_data(spec_file(tmp_path, revision))
    message = str(caught.value)
    for part in (
        REPOSITORY,
        "LONGSPAN_DATA=",
        "offline",
        "`longspan data fetch towns`",
        "-T data=",
    ):
        assert part in message
    assert "\n" not in message


def test_the_hub_really_refuses_offline_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("LONGSPAN_DATA", raising=False)
    names = [f"{place}/{'long-' * 12}{place}.jsonl" for place in range(6)]
    with pytest.raises(DataError, match="longspan data fetch towns.*, or pass -T") as caught:
        find_data(spec_file(tmp_path, files=names))
    assert "\n" not in str(caught.value)
    with pytest.raises(
        DataError, match="cannot fetch a or 1 other spellings of no/such: it is not in"
    ):
        hub.download("no/such", ["a", "b"], None)


def test_spellings_are_tried_until_the_hub_has_one(tmp_path, monkeypatch):
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    asked = []

    def get(repository, name, **arguments):
        asked.append(name)
        if name == "lost":
            raise LocalEntryNotFoundError("no connection")
        if name != "b":
            response = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
            raise RemoteEntryNotFoundError("no such file", response=response)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", get)
    assert hub.download("x/y", ["a", "b", "c"], None) == tmp_path / "b" and asked == ["a", "b"]
    with pytest.raises(DataError, match="cannot fetch a or 1 other spellings of x/y: no such file"):
        hub.download("x/y", ["a", "c"], None)
    asked.clear()
    with pytest.raises(DataError, match="the hub cannot be reached"):
        hub.download("x/y", ["lost", "b"], None)
    assert asked == ["lost"]


@pytest.fixture
def online(mirror, tmp_path, monkeypatch):
    """A hub that has one repository, at OTHER on its main branch."""
    asked = []

    def download(repository, spellings, revision, folder=None):
        asked.append(revision)
        folder = folder or tmp_path / "cache" / "snapshots" / revision
        return put(folder / spellings[-1])

    monkeypatch.setattr(hub, "download", download)
    monkeypatch.setattr(hub, "current_commit", lambda repository: OTHER)
    return asked


@pytest.mark.parametrize(("revision", "commit"), [(COMMIT, COMMIT), (None, OTHER)])
def test_what_is_fetched_is_found_and_its_commit_known(
    online, mirror, tmp_path, capsys, revision, commit
):
    file = spec_file(tmp_path, revision)
    (path,) = data_command.fetch(file)
    assert path == mirror / REPOSITORY / "one_a.jsonl" and online == [commit]
    assert f"{REPOSITORY}@{commit[:8]}" in capsys.readouterr().out
    assert find_data(file).revision == commit
    record = json.loads((mirror / REPOSITORY / data_module.RECORD_FILE).read_text())
    assert record["files"]["one_a.jsonl"] == {"revision": commit, "bytes": 12}
    put(path, "something else of another size")
    assert find_data(file).revision == "unknown"


def test_a_damaged_record_of_commits_says_nothing(online, mirror, tmp_path):
    data_command.fetch(spec_file(tmp_path))
    put(mirror / REPOSITORY / data_module.RECORD_FILE, "[")
    assert find_data(spec_file(tmp_path)).revision == "unknown"


def test_fetching_offline_is_one_line_with_file_repository_and_commit(mirror, tmp_path):
    with pytest.raises(
        DataError, match="task towns needs town-hall/.* at aaaa.*; check the network"
    ):
        data_command.fetch(spec_file(tmp_path))


def test_data_that_are_not_on_the_hub_cannot_be_fetched(capsys):
    assert main(["data", "fetch", "musique"]) == 2
    line = capsys.readouterr().err
    assert "the data of task musique are not on the hub: get musique_ans" in line
    assert "github.com/StonyBrookNLP/musique" in line and line.count("\n") == 1


def test_the_command_says_which_files_a_task_uses(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LONGSPAN_DATA", str(tmp_path))
    assert main(["data", "path", "musique"]) == 1
    assert "musique: missing" in capsys.readouterr().out
    path = put(tmp_path / "musique_ans_v1.0_dev.jsonl")
    assert main(["data", "path", "musique"]) == 0
    assert f"musique: {path}  (unknown)" in capsys.readouterr().out
    assert main(["data", "path", "nosuch"]) == 2
    assert main(["data", "steal", "musique"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_name_of_a_repository_cannot_leave_the_mirror(tmp_path):
    content = yaml.safe_load(
        "{name: t, description: d, scorer: letter, "
        "dataset: {hub: {repository: ../x, revision: null, files: [a]}}}"
    )
    with pytest.raises(ValueError, match="repository"):
        TaskSpec.model_validate(content)


def test_a_data_argument_that_is_no_path_is_one_line():
    with pytest.raises(DataError, match="no data file at 5; check the path given with -T data="):
        find_task("musique", data=5)


@pytest.mark.parametrize("name", ["town-hall/towns", "towns", "datasets--town-hall--towns"])
def test_a_mirror_may_hold_a_data_set_under_another_of_its_names(mirror, tmp_path, name):
    inside = f"snapshots/{COMMIT}/one/a.jsonl" if name.startswith("datasets") else "one/a.jsonl"
    path = put(mirror / name / inside)
    assert find_locally(spec_file(tmp_path)) is None
    found = find_locally(spec_file(tmp_path, aliases=["town-hall/towns"]))
    assert found.paths == (path,)
    assert found.revision == (COMMIT if name.startswith("datasets") else "unknown")


@pytest.mark.parametrize(
    ("task", "place"),
    [
        ("corpusqa_4m", "Tongyi-Zhiwen/CorpusQA/4m_4domains.jsonl"),
        ("corpusqa_4m", "CorpusQA/4m_4domains.jsonl"),
        ("corpusqa_4m", "datasets--Tongyi-Zhiwen--CorpusQA/snapshots/c0/4m_4domains.jsonl"),
        ("longbench_qasper", "zai-org/LongBench/data/qasper.jsonl"),
        ("longbench_v2", "zai-org/LongBench-v2/data.json"),
    ],
)
def test_files_are_found_where_their_data_set_would_have_them(mirror, task, place):
    path = put(mirror / place)
    assert find_locally(find_spec(task)).paths == (path,)


def test_the_remedy_fits_the_task(mirror, capsys):
    put(mirror / "essays.jsonl")
    assert main(["data", "path", "ruler", "niah", "taskset"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "ruler: generated: there is nothing to fetch",
        f"ruler: essays: {mirror / 'essays.jsonl'}",
        "ruler: squad: not here; for tasks that are made of squad pass -T squad=FILE",
        "ruler: hotpotqa: not here; for tasks that are made of hotpotqa pass -T hotpotqa=FILE",
        "niah: generated: there is nothing to fetch",
        f"niah: essays: {mirror / 'essays.jsonl'}",
        "taskset: a task set of yours: pass -T path=DIR (build one with `longspan synth`)",
    ]
    assert main(["data", "path", "musique", "frames"]) == 1
    musique, frames = capsys.readouterr().out.splitlines()
    assert "musique: missing, and not on the hub; put musique_ans_v1.0_dev.jsonl" in musique
    assert "or pass -T data=FILE" in musique and "fetch" not in musique
    assert frames == "frames: missing; run: longspan data fetch frames"


@pytest.mark.parametrize("task", ["ruler", "niah", "taskset"])
def test_there_is_nothing_to_fetch_where_nothing_is_read(task, capsys):
    assert main(["data", "fetch", task]) == 2
    assert f"task {task} has nothing to fetch; see: longspan data path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.json", b'[{"id": "1"}, {"id"', "is cut off"),
        ("a.parquet", b"PAR1 and no end", "is cut off"),
        ("a.zip", b"PK no archive", "cannot be read"),
    ],
)
def test_a_damaged_file_is_said_and_not_passed_for_data(mirror, tmp_path, name, content, what):
    file = spec_file(tmp_path, files=[name])
    put(mirror / name)
    (mirror / name).write_bytes(content)
    state = data_state(file)
    assert not state.is_usable and state.cell.startswith(f"damaged: {name}: {what}")
    assert what in state.lines[0]


@pytest.mark.parametrize("content", ['[{"id": 1}]\n', '{"id": 1}\n{"id": 2}\n'])
def test_a_whole_file_is_no_damaged_one(mirror, tmp_path, content):
    put(mirror / "a.json", content)
    assert data_state(spec_file(tmp_path, files=["a.json"])).cell == "a.json"


def test_an_archive_without_its_member_is_damaged(mirror, tmp_path):
    with zipfile.ZipFile(mirror / "a.zip", "w") as archive:
        archive.writestr("wrapped/one.jsonl", "{}")
    assert data_state(spec_file(tmp_path, files=["a.zip"], member="one.jsonl")).is_usable
    lacking = data_state(spec_file(tmp_path, files=["a.zip"], member="two.jsonl"))
    assert "lacks two.jsonl" in lacking.cell
