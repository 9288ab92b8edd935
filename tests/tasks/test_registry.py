"""The shipped tasks: light to import, and gold scores 1 and nothing 0 on real records."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longspan.harness.datasets.documents import Document, resolve_context
from longspan.harness.datasets.generators import GENERATORS
from longspan.harness.errors import DataError, SpecError
from longspan.harness.registry import EXTERNALS, PROBLEMS, SPECS, find_task, register
from longspan.harness.scoring.grading import grade
from longspan.harness.spec import read_spec
from longspan.harness.taskset import SampleRow, write_taskset
from longspan.tasks import registry

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
FROM_FILES = ["musique", "hotpotqa", "nq_distractors", "kv_retrieval"]
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the records in {DATA}")


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setenv("LONGSPAN_DATA", str(DATA))


@functools.cache
def made(name):
    """Returns a task over the real records; made once, tests only look at it."""
    return find_task(name)


def test_importing_the_registry_is_light():
    """What it adds to Inspect's own import, which every user of a task pays, is a third at most."""
    code = (
        "import time, sys\n"
        "start = time.process_time()\n"
        "import inspect_ai\n"
        "between = time.process_time()\n"
        "import longspan.tasks.registry\n"
        "print((time.process_time() - between) / (between - start))\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    heavy = {"torch", "transformers", "scipy", "pandas", "pyarrow", "datasets", "sklearn", "peft"}
    heavy |= {"matplotlib", "statsmodels", "ray", "vllm", "trafilatura", "bm25s", "lm_eval"}
    shares = []
    for _ in range(3):  # CPU time of a whole process; the smallest, since machines are busy
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        share, loaded = result.stdout.splitlines()
        assert not set(loaded.split()) & heavy
        shares.append(float(share))
    assert min(shares) < 1 / 3


def test_every_spec_loads_and_every_shipped_task_is_registered():
    names = {path.stem for path in (ROOT / "tasks").glob("*.yaml")}
    assert {*FROM_FILES, *GENERATORS, "taskset"} < names
    assert names <= {*SPECS, *EXTERNALS} and PROBLEMS == []
    assert set(registry.SOLVERS) == {
        "full_context",
        "memory_agent",
        "memagent",
        "retrieval",
        "map_reduce",
    }


def test_providers_are_declared_without_their_engine():
    assert callable(registry.longspan_local) and callable(registry.longspan_rl)


def test_every_spec_documents_itself():
    for name in [*FROM_FILES, *GENERATORS]:
        spec = SPECS[name].spec
        assert spec.paper and spec.licence and spec.contamination and spec.notes


@needs_data
@pytest.mark.parametrize("name", FROM_FILES)
def test_gold_scores_one_and_nothing_scores_zero_on_real_records(name, data):
    task = made(name)
    assert len(task.dataset) >= 50 and task.metadata["num_rows_left_out"] == 0
    for sample in task.dataset:
        targets = [sample.target] if isinstance(sample.target, str) else list(sample.target)
        scorer = sample.metadata["scorer"]
        for target in targets:
            right = f"Therefore, the answer is {target}."
            assert grade(scorer, right, targets).value == 1.0, target
        nothing = grade(scorer, "", targets)
        assert (nothing.value, nothing.validity) == (0.0, "no_answer")


@needs_data
@pytest.mark.parametrize("name", FROM_FILES)
def test_samples_have_what_agents_need(name, data):
    for sample in list(made(name).dataset)[:20]:
        context = resolve_context(sample.metadata)
        assert len(context) > 100 and context not in sample.input
        assert sample.input.startswith(sample.metadata["question"])
        assert sample.input.endswith(sample.metadata["instructions"])
        assert isinstance(sample.metadata["document_group"], str)


@needs_data
def test_answers_stand_in_the_contexts_of_extractive_tasks(data):
    for name, share in {"kv_retrieval": 1.0, "nq_distractors": 1.0, "musique": 0.9}.items():
        samples = list(made(name).dataset)[:100]
        found = sum(
            any(gold.lower() in resolve_context(s.metadata).lower() for gold in _golds(s))
            for s in samples
        )
        assert found >= share * len(samples), name


@needs_data
def test_parameters_set_the_length(data):
    short = find_task("nq_distractors", num_documents=2).dataset[0]
    long = find_task("nq_distractors", num_documents=8).dataset[0]
    assert short.id == long.id
    assert len(resolve_context(short.metadata)) < len(resolve_context(long.metadata))
    assert (
        resolve_context(find_task("kv_retrieval", num_pairs=3).dataset[0].metadata).count(":") == 3
    )


@needs_data
def test_the_version_names_data_and_spec(data):
    versions = {name: made(name).version for name in FROM_FILES}
    assert len(set(versions.values())) == len(versions)


@pytest.fixture
def taskset(tmp_path):
    documents = [("w", Document(id="d1", title="Karo", text="Karo's mayor is Tomi."))]
    rows = [
        SampleRow(
            id=f"s{number}",
            split="test",
            kind="lookup",
            task_type=task_type,
            question="Who is Karo's mayor?",
            target=(target,),
            scorer=scorer,
            documents=("d1",),
            document_group="w",
            seed=0,
            target_tokens=length,
        )
        for number, (task_type, scorer, target, length) in enumerate(
            [
                ("multi_hop", "cover_exact_match", "Tomi", 128),
                ("multiple_choice", "letter", "B", 256),
                ("corpus_numeric", "numeric", "12", 256),
            ]
        )
    ]
    return write_taskset(tmp_path / "set", rows, documents, {"name": "mini", "seed": 0}, "# Mini")


def test_a_task_set_is_a_task_of_several_types(taskset, tmp_path, monkeypatch):
    task = find_task("taskset", path=str(taskset.folder))
    assert task.metadata["taskset"] == "mini" and task.metadata["taskset_hash"] == taskset.hash
    for sample in task.dataset:
        right = f"Therefore, the answer is {sample.target}."
        assert grade(sample.metadata["scorer"], right, [sample.target]).value == 1.0
        assert resolve_context(sample.metadata) == "Karo\nKaro's mayor is Tomi."


def test_samples_of_a_task_set_are_chosen_by_parameters(taskset):
    path = str(taskset.folder)
    assert len(find_task("taskset", path=path, target_tokens=256).dataset) == 2
    assert len(find_task("taskset", path=path, task_types="multi_hop,letter").dataset) == 1
    assert len(find_task("taskset", path=path, kinds=["lookup"], limit=2).dataset) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": "abc"}, "task taskset: limit: .*valid integer.*got 'abc'"),
        ({"limit": -1}, "limit: .*greater than or equal to 1 .got -1"),
        ({"limit": 0}, "limit: .*greater than or equal to 1"),
        ({"target_tokens": "long"}, "target_tokens: .*got 'long'"),
        ({"split": "tset"}, "split: .*'train', 'validation' or 'test' .got 'tset'"),
        ({"kinds": ","}, "kinds: .*at least 1 item"),
    ],
)
def test_options_of_a_task_set_that_cannot_be_are_one_line(taskset, options, message):
    with pytest.raises(SpecError, match=message):
        find_task("taskset", path=str(taskset.folder), **options)
    with pytest.raises(DataError, match="limit must be at least 1: got -1"):
        taskset.samples(limit=-1)


def test_a_spec_with_options_that_cannot_be_is_refused_when_it_is_read(tmp_path):
    text = "name: mine\ndescription: d\ndataset: {reader: taskset}\nscorer: by_sample\n"
    (tmp_path / "mine.yaml").write_text(text + "parameters: {limit: -1}\n")
    with pytest.raises(SpecError, match="task mine: limit: "):
        register(read_spec(tmp_path / "mine.yaml"))


def test_a_relative_path_is_kept_as_an_absolute_one(taskset, monkeypatch):
    monkeypatch.chdir(taskset.folder.parent)
    sample = find_task("taskset", path="set").dataset[0]
    monkeypatch.chdir("/")
    assert resolve_context(sample.metadata).startswith("Karo")


def test_inspect_says_in_one_line_what_a_task_lacks(tmp_path):
    command = [sys.executable, "-m", "inspect_ai", "eval", "longspan/taskset"]
    environment = {**os.environ, "LONGSPAN_TASKS": "", "INSPECT_LOG_DIR": str(tmp_path)}
    result = subprocess.run(
        [*command, "--model", "mockllm/model"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "longspan: error: task taskset needs a task set; pass -T path=DIR" in result.stderr


def test_inspect_says_in_one_line_why_a_task_was_left_out(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine")
    command = [sys.executable, "-m", "inspect_ai", "eval", "longspan/mine"]
    environment = {**os.environ, "LONGSPAN_TASKS": str(tmp_path), "INSPECT_LOG_DIR": str(tmp_path)}
    result = subprocess.run(
        [*command, "--model", "mockllm/model"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "longspan: error: task mine was left out, since its spec is broken" in result.stderr


def _golds(sample):
    return [sample.target] if isinstance(sample.target, str) else list(sample.target)
