"""The gold answer of every kind scores 1 through the task's own scorer, and nothing scores 0."""

import json
from pathlib import Path

import pytest
from inspect_ai import eval, task_with
from inspect_ai.dataset import MemoryDataset
from inspect_ai.util import store

from longspan.harness.harvest import read_value
from longspan.harness.registry import find_task
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from tests.harness.scripted import scripted_model
from tests.synth_templates.conftest import film_documents
from tests.tasks.test_gold import SAID, remember_what_to_say

VERBATIM = {"mrcr", "sequence_ratio"}
"""Scorers of whole replies; for the others the gold answer is said as the recipe asks for it."""
SAMPLES_OF_A_KIND = 2
"""How many samples of a kind are answered."""


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Pages with triples, a table and sources, for the kinds over documents."""
    folder = tmp_path / "documents"
    folder.mkdir()
    pages = [
        {
            "title": document.title,
            "text": document.text,
            "triples": [[t.subject, t.relation, t.object] for t in document.triples],
        }
        for document in film_documents()
    ]
    (folder / "films.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
    for year in (2019, 2020):
        rows = [
            f"Team{letter},{'red' if i % 2 else 'blue'},{(i * 37 + year) % 101 + 3},{i * 11 + 5.25}"
            for i, letter in enumerate("ABCDEFGHIJKL")
        ]
        text = "\n".join(["name,league,points,cost", *rows]) + "\n"
        (folder / f"league {year}.csv").write_text(text)
    (folder / "store.py").write_text("LIMIT = 99\n\n\ndef find(key, depth=3):\n    return key\n")
    (folder / "shop.py").write_text(
        "from store import find\n\n\ndef sell(a, b, price=7):\n    return find(a)\n"
    )
    return folder


def made(source: str, documents: Path, out: Path) -> TaskSet:
    """A small task set with all the kinds of a source."""
    content: dict[str, object] = {"splits": {"test": {1500: 150}}, "source": {"type": source}}
    if source == "documents":
        shares = {"test": 1.0}
        content["source"] = {"type": source, "path": str(documents), "shares": shares}
        content["max_statement_uses"] = 50
    return synthesize(parse_plan(content, "test"), out, quiet=True)


@pytest.mark.parametrize("source", ["world", "fiction", "documents"])
def test_the_gold_answer_of_every_kind_scores_one_and_an_empty_one_zero(
    source, documents, tmp_path
):
    taskset = made(source, documents, tmp_path / "set")
    task = find_task("taskset", path=str(taskset.folder), split="test")
    said = []
    num_of: dict[str, int] = {}
    for sample in task.dataset:
        kind, scorer = sample.metadata["kind"], sample.metadata["scorer"]
        num_of[kind] = num_of.get(kind, 0) + 1
        if num_of[kind] > SAMPLES_OF_A_KIND:
            continue
        form = "{}" if scorer in VERBATIM else "Therefore, the answer is {}"
        for place, text in enumerate((form.format(sample.target), "")):
            metadata = {**sample.metadata, SAID: text}
            changes = {"id": f"{sample.id}/{place}", "metadata": metadata}
            said.append(sample.model_copy(update=changes))
    task = task_with(task, dataset=MemoryDataset(said), setup=remember_what_to_say())
    model = scripted_model(lambda request: store().get(SAID), "gold")
    (log,) = eval(
        task, model=model, log_dir=str(tmp_path / "logs"), display="none", log_realtime=False
    )
    assert log.status == "success", log.error
    wrong = []
    for sample in log.samples:
        (score,) = sample.scores.values()
        text, value = sample.metadata[SAID], read_value(score.value)
        if sample.error or value != (1.0 if text else 0.0):
            wrong.append((sample.metadata["kind"], text, value, sample.error))
    assert wrong == []
    kinds = load_kinds(source).by_name()
    if source == "documents":
        assert {kinds[name].shape for name in num_of} >= {"path", "sql", "select"}
    else:
        assert set(num_of) == set(kinds)
