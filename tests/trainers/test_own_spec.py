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

from longspan.harness.prompts import render_prompt
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
