"""Every shipped task, through its dataset and scorer: the gold answer scores 1, nothing 0."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai import eval, task_with
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.solver import Generate, TaskState, solver
from inspect_ai.util import store

from longspan.harness.datasets import hub
from longspan.harness.errors import DataError
from longspan.harness.external import is_installed
from longspan.harness.harvest import read_value
from longspan.harness.registry import EXTERNALS, SPECS, find_task, tasks_folder
from tests.harness.scripted import scripted_model
from tests.tasks.small_externals import install
from tests.tasks.small_records import ARGUMENTS, write_benchmarks, write_the_others

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    name for name, file in {**SPECS, **EXTERNALS}.items() if file.path.parent == tasks_folder()
)
RECIPE = "Therefore, the answer is {}."
EXCEPTIONS: dict[tuple[str, ...], tuple[str, str, str]] = {
    ("mrcr_2needle", "mrcr_4needle", "mrcr_8needle"): (
        "{}",
        "the gold text alone",
        "the whole output is compared",
    ),
    ("ruler",): (
        RECIPE,
        "all references in one answer, with commas",
        "the score is their share; qa_1 and qa_2 want any of them",
    ),
    ("mmlu_pro", "gpqa_diamond", "aime24", "aime25"): (
        "ANSWER: {}",
        "`ANSWER: GOLD`",
        "the form that inspect_evals asks for",
    ),
    ("bfcl_memory",): (
        "{}",
        "the gold text alone, asked without the memory's tools",
        "the tools are fetched with the data",
    ),
    ("bfcl_memory_prereqs",): (
        "{}",
        "anything",
        "fills the memory and has neither gold answer nor score",
    ),
}
"""Tasks -> what the gold answer is said in, where it is not the recipe's form; how docs/scorers.md
says it; why."""
FORMS = {name: how[0] for names, how in EXCEPTIONS.items() for name in names}
SAID = "said"


@solver
def remember_what_to_say():
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.store.set(SAID, state.metadata[SAID])
        return state

    return solve


@solver
def ask_without_tools():
    """BFCL's own solver runs tools that are fetched with its data."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.messages = [ChatMessageUser(content=str(state.metadata["turns"]))]
        return await generate(state)

    return solve


def golds(name: str, sample: Sample) -> list[str]:
    """The answers of which each alone is worth 1."""
    metadata = sample.metadata or {}
    if name == "bfcl_memory":
        return metadata["raw_ground_truth"]
    targets = [sample.target] if isinstance(sample.target, str) else list(sample.target)
    shares = metadata.get("scorer") == "ruler" and metadata.get("reference_rule") != "part"
    return [", ".join(targets)] if shares else targets


def saying(name: str, sample: Sample) -> list[Sample]:
    """A copy of the sample for everything that is said about it, the empty answer last."""
    texts = [*(FORMS.get(name, RECIPE).format(gold) for gold in golds(name, sample)), ""]
    return [
        sample.model_copy(
            update={
                "id": f"{sample.id}/{place}",
                "metadata": {**(sample.metadata or {}), SAID: text},
            }
        )
        for place, text in enumerate(texts)
    ]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    def no_hub(*arguments, **named):
        raise DataError("cannot fetch: offline")

    folder = tmp_path / "mirror"
    write_benchmarks(folder)
    write_the_others(folder)
    monkeypatch.setenv("LONGSPAN_DATA", str(folder))
    monkeypatch.setattr(hub, "cached_file", lambda *arguments: None)
    monkeypatch.setattr(hub, "download", no_hub)
    return folder


def evaluated(name, mirror, tmp_path, monkeypatch):
    """The finished samples of a task over its small records."""
    if name not in ARGUMENTS:
        pytest.fail(f"task {name} has no small records; add them to tests/tasks/small_records.py")
    if name in EXTERNALS:
        if not is_installed(EXTERNALS[name].spec):
            pytest.skip(f"{EXTERNALS[name].spec.external} needs its package")
        install(name, tmp_path, monkeypatch)
    arguments = {
        key: value.format(mirror=mirror) if isinstance(value, str) else value
        for key, value in ARGUMENTS[name].items()
    }
    task = find_task(name, **arguments)
    samples = [one for sample in task.dataset for one in saying(name, sample)]
    plain = {"solver": ask_without_tools()} if name.startswith("bfcl") else {}
    task = task_with(
        task, dataset=MemoryDataset(samples), setup=remember_what_to_say(), epochs=1, **plain
    )
    model = scripted_model(lambda request: store().get(SAID), "gold")
    (log,) = eval(
        task, model=model, log_dir=str(tmp_path / "logs"), display="none", log_realtime=False
    )
    assert log.status == "success", log.error
    assert len(log.samples) == len(samples) > 0
    assert [sample.error for sample in log.samples] == [None] * len(samples)
    return log.samples


@pytest.mark.parametrize("name", SHIPPED)
def test_the_gold_answer_of_every_task_scores_one_and_an_empty_one_zero(
    name, mirror, tmp_path, monkeypatch
):
    for sample in evaluated(name, mirror, tmp_path, monkeypatch):
        if name == "bfcl_memory_prereqs":
            assert not sample.scores
            continue
        (score,) = sample.scores.values()
        said, value = sample.metadata[SAID], read_value(score.value)
        assert value == (1.0 if said else 0.0), (said, score)
        assert (score.metadata or {}).get("strict", value) == value


def test_the_document_shows_the_exceptions():
    text = (ROOT / "docs" / "scorers.md").read_text()
    rows = [
        f"| {', '.join(f'`{name}`' for name in names)} | {said} | {reason} |"
        for names, (_, said, reason) in EXCEPTIONS.items()
    ]
    assert "\n".join(rows) in text


def test_exceptions_and_records_are_of_tasks_that_exist():
    assert set(FORMS) <= set(SHIPPED) and set(ARGUMENTS) == set(SHIPPED)
