"""A user's own spec folder: the same spec evaluates, and trains, unchanged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log

from longspan.harness.datasets.documents import render_context
from longspan.harness.prompts import render_prompt
from longspan.harness.taskset import TaskSet
from tests.trainers.tiny import tiny_model, tiny_tokenizer

SPEC = {
    "name": "contracts",
    "description": "Clauses of made-up contracts.",
    "task_type": "reading_comprehension",
    "dataset": {
        "reader": "fields",
        "files": ["contracts.jsonl"],
        "fields": {"id": "id", "question": "q", "target": "a", "context": "text"},
    },
    "scorer": "cover_exact_match",
    "licence": "ours",
}
RECIPE = {
    "name": "own",
    "checkpoint": "./tiny",
    "stages": [
        {
            "name": "only",
            "tasks": [{"task": "longspan/contracts", "args": {"require_phrase": False}}],
            "num_steps": 1,
            "sampling": {"batch_size": 3, "group_size": 2, "max_output_tokens": 12},
            "optimizer": {"learning_rate": 1.0e-4},
        }
    ],
}


@pytest.fixture
def run(tmp_path: Path):
    """Runs `longspan` in a process of its own that sees the folder of specs."""
    (tmp_path / "contracts.yaml").write_text(yaml.safe_dump(SPEC))
    rows = [
        {"id": f"c{i}", "q": "Who is the seller?", "a": name, "text": f"The seller is {name}."}
        for i, name in enumerate(("Arnor", "Karo", "Lima"))
    ]
    (tmp_path / "contracts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    _save_reader(tmp_path / "tiny", [render_prompt(r["text"], r["q"]) for r in rows])
    environment = os.environ | {"LONGSPAN_TASKS": str(tmp_path)}

    def longspan(*arguments: str) -> str:
        code = "import sys; from longspan.harness.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    return longspan


def _save_reader(folder: Path, texts: list[str]) -> None:
    """Writes a checkpoint whose vocabulary holds the words of some texts."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(sorted(set(re.findall(r"\w+|[^\w ]", " ".join(texts)))))
    tokenizer.save_pretrained(folder)
    tiny_model(vocab_size=len(tokenizer)).save_pretrained(folder)


def test_a_spec_of_the_users_own_is_listed_evaluates_and_trains(run, tmp_path):
    assert "contracts.jsonl" in run("tasks")
    limit = ("--max-tokens", "12", "-T", "require_phrase=false")
    run("eval", "contracts", "--model", "longspan-local/./tiny", "--log-dir", "logs", *limit)
    (log,) = list_eval_logs(str(tmp_path / "logs"))
    evaluated = read_eval_log(log)
    assert evaluated.status == "success" and len(evaluated.samples or []) == 3
    run("train", "run/recipe.yaml", "--out", "run/out", "--quiet")
    (metrics,) = (tmp_path / "run" / "out").rglob("metrics.jsonl")
    (step,) = map(json.loads, metrics.read_text().splitlines())
    assert (step["num_rollouts"], step["num_invalid"]) == (6, 0)
    assert set(step["reward_by_type"]) == {"reading_comprehension"}
    assert (tmp_path / "run" / "out" / "final" / "model.safetensors").is_file()


PLAIN_TASK = """
import json

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def plain():
    rows = map(json.loads, open("contracts.jsonl"))
    samples = [Sample(id=r["id"], input=r["prompt"], target=r["a"]) for r in rows]
    return Task(dataset=samples, solver=generate(), scorer=includes())
"""


def test_the_embedded_policy_trains_on_a_users_spec_and_on_a_plain_task_of_a_file(run, tmp_path):
    """Over texts of words that this policy knows; it answers some of them, so rewards vary."""
    world = tmp_path / "world.yaml"
    plan = {"kinds": {"world_hop1": 1}, "splits": {"test": {170: 24}}, "tokenizer": "nano"}
    world.write_text(yaml.safe_dump(plan))
    run("synth", "world.yaml", "--out", "world")
    taskset = TaskSet.open(tmp_path / "world")
    texts = {
        row.id: render_context(map(taskset.documents.get, row.documents)) for row in taskset.rows()
    }
    rows = [
        {
            "id": row.id,
            "q": row.question,
            "a": row.target[0],
            "text": texts[row.id],
            "prompt": render_prompt(texts[row.id], row.question),
        }
        for row in taskset.rows()
    ]
    (tmp_path / "contracts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.py").write_text(PLAIN_TASK)
    (stage,) = RECIPE["stages"]
    sources = [{"task": "longspan/contracts"}, {"task": "mine.py@plain"}]
    sampling = {"batch_size": 8, "group_size": 4, "max_output_tokens": 48}
    recipe = {**RECIPE, "checkpoint": "nano"}
    recipe["stages"] = [{**stage, "tasks": sources, "num_steps": 2, "sampling": sampling}]
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run("train", "run/recipe.yaml", "--out", "run/out", "--quiet")
    (metrics,) = (tmp_path / "run" / "out").rglob("metrics.jsonl")
    steps = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [(s["num_rollouts"], s["num_invalid"]) for s in steps] == [(32, 0), (32, 0)]
    assert {name for s in steps for name in s["reward_by_type"]} == {
        "reading_comprehension",
        "untyped",
    }
    assert all(0 < s["reward_mean"] < 1 and s["gradient_norm"] > 0 for s in steps)
