"""Small records for tasks of inspect_evals, put where its own code would have fetched them."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.dataset import MemoryDataset

from tests.tasks.small_records import lines, write

CHOICE = {
    "question_id": 70,
    "question": "Which of these is a river?",
    "options": ["Oslo", "The Lima", "Karo", "Bel", "Tomi", "An"],
    "answer": "B",
    "answer_index": 1,
    "cot_content": "A: Let's think step by step. The answer is (B).",
    "category": "Geography",
    "src": "made up",
}
AIME24 = {"ID": "2024-I-1", "Problem": "What is 200 + 4?", "Solution": "It is 204.", "Answer": 204}
AIME25 = {"id": "1", "problem": "What is 60 + 10?", "answer": "70"}
GPQA = {
    "Record ID": "rec1",
    "Question": "Which of these is a river?",
    "Correct Answer": "The Lima",
    **{f"Incorrect Answer {place}": name for place, name in enumerate(("Oslo", "Karo", "Bel"), 1)},
    "High-level domain": "Physics",
    "Subdomain": "Genetics",
}
BFCL = {
    "id": "memory_0-customer-0",
    "question": [[{"role": "user", "content": "What is my name?"}]],
    "involved_classes": ["MemoryAPI"],
    "scenario": "customer",
}
BFCL_GOLD = {"id": "memory_0-customer-0", "ground_truth": ["Ann", "Ann B."]}
BFCL_BEFORE = {
    "id": "memory_prereq_0-customer-0",
    "question": [[{"role": "user", "content": "I am Ann."}]],
    "involved_classes": ["MemoryAPI"],
    "scenario": "customer",
}
HUB = {
    "mmlu_pro": ("mmlu_pro.mmlu_pro", [CHOICE]),
    "aime24": ("aime2024.aime2024", [AIME24]),
    "aime25": ("aime2025.aime2025", [AIME25]),
}
"""Task -> its module in inspect_evals, and the rows that the hub would give it."""


def install(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a task's code find small records instead of fetching its own."""
    if name in HUB:
        place, rows = HUB[name]
        module = importlib.import_module(f"inspect_evals.{place}")

        def from_rows(sample_fields: Any, **arguments: Any) -> MemoryDataset:
            return MemoryDataset([sample_fields(row) for row in rows])

        monkeypatch.setattr(module, "hf_dataset", from_rows)
    elif name == "gpqa_diamond":
        module = importlib.import_module("inspect_evals.gpqa.gpqa")
        path = folder / "gpqa_diamond.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, GPQA.keys(), dialect="unix")
            writer.writeheader()
            writer.writerow(GPQA)
        monkeypatch.setattr(module, "GPQA_DIAMOND_CACHE_PATH", path)
        monkeypatch.setattr(module, "download", lambda *arguments: None)
    else:
        _install_bfcl(folder / "BFCL", monkeypatch)


def _install_bfcl(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "BFCL_v4_simple_python.json", "")
    write(folder / "BFCL_v4_memory.json", lines([BFCL]))
    write(folder / "possible_answer/BFCL_v4_memory.json", lines([BFCL_GOLD]))
    conversations = folder / "memory_prereq_conversation"
    for scenario in ("customer", "finance", "healthcare", "notetaker", "student"):
        row = {**BFCL_BEFORE, "id": f"memory_prereq_0-{scenario}-0", "scenario": scenario}
        write(conversations / f"memory_{scenario}.json", lines([row]))
    (folder / "model_results/small/agentic").mkdir(parents=True)
    (folder / "func_source_code").mkdir()
    for backend in ("kv", "vector", "rec_sum"):
        write(folder / f"multi_turn_func_doc/memory_{backend}.json", "")
    for place in ("bfcl", "prereqs"):
        module = importlib.import_module(f"inspect_evals.bfcl.{place}")
        monkeypatch.setattr(module, "DATASET_LOCATION", folder)
        monkeypatch.setattr(module, "FUNC_SOURCE_LOCATION", folder / "func_source_code")
        monkeypatch.setattr(module, "setup_backend_classes", lambda folder: None)
