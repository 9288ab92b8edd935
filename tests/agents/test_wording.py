"""Whose words a memory turn has: the caller's, the checkpoint's, or the default."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inspect_ai.model import get_model

from longspan.agents.memory import memory_agent
from longspan.agents.memory_format import BRIEF_INSTRUCTION, TURN_INSTRUCTION
from longspan.agents.wording import Wording, wording_for
from longspan.harness.errors import SpecError
from longspan.trainers.local.checkpoint import CHECKPOINTS


def declaring(reading: Any) -> Any:
    return SimpleNamespace(api=SimpleNamespace(reading=reading), model_args={})


def test_a_model_that_declares_nothing_gets_the_papers_order_and_the_form() -> None:
    assert wording_for(declaring(None), None, None) == Wording("question_first", TURN_INSTRUCTION)
    chosen = wording_for(declaring(None), "chunk_first", "Note it.")
    assert chosen == Wording("chunk_first", "Note it.")


@pytest.mark.parametrize("name", ["nano", "nano-ceiling"])
def test_the_packaged_policies_declare_the_words_that_they_were_trained_with(name: str) -> None:
    trained = Wording("chunk_first", BRIEF_INSTRUCTION)
    assert wording_for(get_model(f"longspan-local/{name}"), None, None) == trained
    content = json.loads((CHECKPOINTS / name / "config.json").read_text())["longspan_reading"]
    assert Wording(**content) == trained


def test_a_caller_has_the_last_word() -> None:
    model = declaring({"layout": "chunk_first", "instruction": "Note it."})
    assert wording_for(model, "question_first", None) == Wording("question_first", "Note it.")


def test_a_provider_that_stands_in_for_another_is_asked_for_that_one() -> None:
    inner = SimpleNamespace(reading={"layout": "chunk_first"})
    model: Any = SimpleNamespace(api=SimpleNamespace(inner=inner), model_args={})
    assert wording_for(model, None, None).layout == "chunk_first"


@pytest.mark.parametrize("where", ["name", "model_path"])
def test_a_folder_that_another_provider_serves_is_looked_into(tmp_path: Path, where: str) -> None:
    reading = {"layout": "chunk_first", "instruction": "Note it."}
    (tmp_path / "config.json").write_text(json.dumps({"longspan_reading": reading}))
    name, arguments = (
        (str(tmp_path), {}) if where == "name" else ("local", {"model_path": tmp_path})
    )
    model: Any = SimpleNamespace(api=SimpleNamespace(model_name=name), model_args=arguments)
    assert wording_for(model, None, None) == Wording(**reading)
    (tmp_path / "config.json").write_text("no json")
    assert wording_for(model, None, None) == Wording("question_first", TURN_INSTRUCTION)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "sideways"}, "layout must be one of .* got 'sideways'"),
        ({"instruction": " "}, "instruction must be a text: got ' '"),
        ({"instruction": 5}, "instruction must be a text: got 5"),
        ({"chunk_tokens": "64"}, "chunk_tokens must be a positive whole number: got '64'"),
        ({"memory_tokens": 20.5}, "memory_tokens must be a positive whole number: got 20.5"),
        ({"max_turn_tokens": True}, "max_turn_tokens must be a positive whole number: got True"),
    ],
)
def test_wrong_options_are_one_line_before_anything_runs(options: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        memory_agent(**options)


def test_a_checkpoint_that_declares_nonsense_is_one_line() -> None:
    with pytest.raises(SpecError, match="layout must be one of"):
        wording_for(declaring({"layout": 3}), None, None)
