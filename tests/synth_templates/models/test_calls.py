import asyncio
import json
from pathlib import Path

import pytest
from inspect_ai.model import ChatMessageUser, ModelOutput

from longspan.harness.errors import ModelError
from longspan.harness.scoring.answers import MAX_COMPLETION_CHARS
from longspan.synth_templates.models.calls import (
    MAX_FAILURES_IN_ROW,
    Journal,
    identity,
    open_caller,
)
from longspan.synth_templates.models.model_plan import ModelPlan
from tests.harness.scripted import scripted_model
from tests.synth_templates.scripted_models import Script


def ask(script: Script, path: Path, *labels: str, **plan: object) -> list[ModelOutput | str]:
    caller = open_caller(ModelPlan(model=script.name, **plan), Journal(path))

    async def run():
        said = [ChatMessageUser(content="Say it.", metadata=identity(label)) for label in labels]
        return await asyncio.gather(*(caller.reply([message]) for message in said))

    return asyncio.run(run())


def test_a_call_that_stands_in_the_journal_is_not_paid_for_again(tmp_path: Path):
    script = Script("echo", lambda request: request.identity["sample"])
    first = ask(script, tmp_path / "calls.jsonl", "a", "b")
    again = ask(script, tmp_path / "calls.jsonl", "a", "b", "c")
    assert script.num_calls == 3
    assert [one.completion for one in again] == ["a", "b", "c"]
    assert [one.usage for one in first] == [one.usage for one in again[:2]]
    assert again[0].stop_reason == "stop"


def test_other_settings_and_another_model_are_other_calls(tmp_path: Path):
    script, other = Script("one", "1"), Script("two", "2")
    path = tmp_path / "calls.jsonl"
    ask(script, path, "a")
    ask(script, path, "a", temperature=0.5)
    ask(script, path, "a", max_tokens=7)
    assert script.num_calls == 3
    assert ask(other, path, "a")[0].completion == "2"
    ask(script, path, "a", timeout_seconds=5, max_connections=2)
    assert script.num_calls == 3


def test_a_torn_last_line_costs_one_call_and_harms_no_later_line(tmp_path: Path):
    script, path = Script("torn", lambda request: request.identity["sample"]), tmp_path / "c.jsonl"
    ask(script, path, "a", "b", "c")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    ask(script, path, "a", "b", "c")
    assert script.num_calls == 4
    lines = path.read_text().splitlines()
    assert len(lines) == 3 and all(json.loads(line) for line in lines)
    ask(script, path, "a", "b", "c")
    assert script.num_calls == 4


@pytest.mark.parametrize("bad", ['{"key": 3, "output": {}}', "[]", "not json", '{"key": "x"}', ""])
def test_lines_that_are_no_records_are_passed_over(tmp_path: Path, bad: str):
    script, path = Script("bad", "fine"), tmp_path / "c.jsonl"
    ask(script, path, "a")
    path.write_text(bad + "\n" + path.read_text())
    assert ask(script, path, "a")[0].completion == "fine"
    assert script.num_calls == 1


def test_a_kept_record_that_is_no_output_is_asked_again(tmp_path: Path):
    script, path = Script("odd", "fine"), tmp_path / "c.jsonl"
    ask(script, path, "a")
    record = json.loads(path.read_text())
    record["output"] = {"choices": "none"}
    path.write_text(json.dumps(record) + "\n")
    assert ask(script, path, "a")[0].completion == "fine"
    assert script.num_calls == 2


def test_a_failed_call_is_a_reason_and_is_not_kept(tmp_path: Path):
    answers = iter(["!no network", "back"])
    script, path = Script("flaky", lambda _: next(answers)), tmp_path / "c.jsonl"
    assert ask(script, path, "a") == ["RuntimeError: no network"]
    assert ask(script, path, "a")[0].completion == "back"


def test_a_model_that_only_fails_stops_the_step_with_one_line(tmp_path: Path):
    script = Script("down", "!no network")
    labels = [str(i) for i in range(MAX_FAILURES_IN_ROW)]
    with pytest.raises(ModelError, match=r"failed 20 times in a row: RuntimeError: no network"):
        ask(script, tmp_path / "c.jsonl", *labels)


def test_a_call_that_takes_too_long_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(type(scripted_model("any").api), "generate", never)
    said = ask(Script("slow", "late"), tmp_path / "c.jsonl", "a", timeout_seconds=0.05)[0]
    assert isinstance(said, str) and said.startswith("TimeoutError")
    assert not (tmp_path / "c.jsonl").exists()


def test_a_huge_reply_is_cut_and_counts_as_cut_off(tmp_path: Path):
    script, path = Script("huge", "x" * (MAX_COMPLETION_CHARS + 9)), tmp_path / "c.jsonl"
    for _ in range(2):
        output = ask(script, path, "a")[0]
        assert len(output.completion) == MAX_COMPLETION_CHARS
        assert output.stop_reason == "max_tokens"
    assert path.stat().st_size < 2 * MAX_COMPLETION_CHARS


def test_a_reply_with_a_lone_surrogate_is_kept_as_it_is(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    Journal(path).add("k", ModelOutput.from_content("m", "a\ud800b"))
    kept = Journal(path).find("k")
    assert kept is not None and kept.completion == "a\ud800b"


def test_an_unknown_model_is_one_line(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot use model nowhere/x"):
        open_caller(ModelPlan(model="nowhere/x"), Journal(tmp_path / "c.jsonl"))
