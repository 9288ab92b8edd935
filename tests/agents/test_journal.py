"""Calls on disk: a killed run goes on where it stopped, and each call is paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.model import _generate_config as generate_config

from longspan.agents.dry_model import DryModelAPI, dry_model
from longspan.agents.identity import model_identity, stable
from longspan.agents.journal import Entry, Journal, journal_key
from longspan.agents.map_reduce import map_reduce
from longspan.agents.memory import memagent, memory_agent
from longspan.agents.run import RunOptions
from longspan.harness.errors import SpecError
from longspan.harness.resuming import resuming_in
from longspan.harness.rollout import recording
from tests.harness.scripted import scripted_model
from tests.harness.words import WordTokens

TEXT = "".join(f"Fact {i} is here. The harbour lay quiet all day long. " for i in range(60))


def note_taker(prompt: str) -> str:
    """Notes how many texts it has seen."""
    if "<text>" not in prompt:
        return "Therefore, the answer is " + prompt.split("<memory>\n")[1].split("\n")[0]
    seen = prompt.split("<memory>\n")[1].split("\n")[0]
    count = 0 if seen == "empty" else int(seen)
    return f"<memory>{count + 1}</memory><plan>go on</plan>"


@pytest.mark.parametrize("die_at", [1, 2, 5])
@pytest.mark.parametrize("agent", [memory_agent, memagent])
def test_a_killed_run_goes_on_where_it_stopped(
    run: Any, make_sample: Any, tmp_path: Path, die_at: int, agent: Any
) -> None:
    sample, folder = make_sample(TEXT), tmp_path / "states"
    whole = run(agent(chunk_tokens=40), sample, note_taker, window=256)
    solver = agent(chunk_tokens=40, state_dir=str(folder))
    killed = run(solver, sample, note_taker, window=256, die_at=die_at)
    assert killed.log.status == "error"
    resumed = run(solver, sample, note_taker, window=256)
    assert len(killed.calls) - 1 + len(resumed.calls) == len(whole.calls)
    assert resumed.sample.output.completion == whole.sample.output.completion
    assert resumed.memory == whole.memory | {"resumed_at": die_at - 1}
    assert [call.identity["turn"] for call in resumed.calls] == list(
        range(die_at - 1, len(whole.calls))
    )
    costs = ("num_calls", "input_tokens", "output_tokens", "sequential_calls")
    assert [resumed.cost[name] for name in costs] == [whole.cost[name] for name in costs]
    assert resumed.cost["replayed_calls"] == die_at - 1
    paid_here = sum(one.input_tokens for one in resumed.sample.model_usage.values())
    assert resumed.cost["replayed_input_tokens"] == whole.cost["input_tokens"] - paid_here


def test_a_kill_between_the_answer_and_the_log_pays_nothing_twice(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    """Inspect writes finished samples in batches: the answer must not be lost with the log."""
    sample, solver = make_sample(TEXT), memory_agent(state_dir=str(tmp_path / "states"))
    whole = run(solver, sample, note_taker, window=256)
    again = run(solver, sample, note_taker, window=256)
    assert again.calls == []
    assert again.sample.output.completion == whole.sample.output.completion
    assert again.sample.messages[-1].text == whole.sample.output.completion


def test_parallel_notes_are_paid_once(run: Any, make_sample: Any, tmp_path: Path) -> None:
    sample, folder = make_sample(TEXT), str(tmp_path / "states")
    whole = run(map_reduce(chunk_tokens=40), sample, note_taker, window=256)
    solver = map_reduce(chunk_tokens=40, state_dir=folder)
    killed = run(solver, sample, note_taker, window=256, die_at=4, max_connections=1)
    resumed = run(solver, sample, note_taker, window=256)
    assert resumed.sample.output.completion == whole.sample.output.completion
    assert resumed.cost["num_calls"] == whole.cost["num_calls"]
    assert resumed.cost["replayed_calls"] + len(resumed.calls) == len(whole.calls)
    assert resumed.cost["replayed_calls"] >= 3
    assert killed.log.status == "error"


def test_a_log_says_what_an_earlier_process_was_told(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    sample, solver = make_sample(TEXT), memory_agent(state_dir=str(tmp_path / "states"))
    run(solver, sample, note_taker, window=256, die_at=3)
    resumed = run(solver, sample, note_taker, window=256)
    told = [
        e.data for e in resumed.sample.events if getattr(e, "source", "") == "longspan:replayed"
    ]
    assert [one["turn"] for one in told] == [0, 1]
    assert told[1]["completion"] == "<memory>2</memory><plan>go on</plan>"


def test_other_settings_start_afresh(run: Any, make_sample: Any, tmp_path: Path) -> None:
    folder = str(tmp_path / "states")
    run(memory_agent(state_dir=folder), make_sample(TEXT), note_taker, window=256, die_at=3)
    other = run(
        memory_agent(chunk_tokens=30, state_dir=folder), make_sample(TEXT), note_taker, window=256
    )
    assert other.memory["resumed_at"] == 0
    document = run(
        memory_agent(state_dir=folder), make_sample(TEXT + "More."), note_taker, window=256
    )
    assert document.memory["resumed_at"] == 0
    agent = run(memagent(state_dir=folder), make_sample(TEXT), note_taker, window=256)
    assert agent.memory["resumed_at"] == 0


def test_an_evaluation_of_ours_resumes_by_itself(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    with resuming_in(tmp_path / "calls"):
        run(memory_agent(), make_sample(TEXT), note_taker, window=256, die_at=3)
        assert run(memory_agent(), make_sample(TEXT), note_taker, window=256).memory["resumed_at"]
    assert not run(memory_agent(), make_sample(TEXT), note_taker, window=256).memory["resumed_at"]


def test_a_trainer_gets_every_turn_anew(run: Any, make_sample: Any, tmp_path: Path) -> None:
    """Its records hold token ids, which are not on disk."""
    solver = memory_agent(state_dir=str(tmp_path / "states"))
    with recording():
        run(solver, make_sample(TEXT), note_taker, window=256, die_at=3)
        assert run(solver, make_sample(TEXT), note_taker, window=256).memory["resumed_at"] == 0
    assert not (tmp_path / "states").exists()


def test_an_output_survives_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a" / "b", {"sample": "../../x"})
    output = ModelOutput.from_content("m", "note \ud800 é", "max_tokens")
    assert journal.find(0, "p") is None
    journal.add(0, "p \udfff", Entry(output, 1.5))
    found = Journal(tmp_path / "a" / "b", {"sample": "../../x"}).find(0, "p \udfff")
    assert found is not None and found.seconds == 1.5
    assert found.output.completion == "note \ud800 é"
    assert found.output.stop_reason == "max_tokens"
    assert journal.find(1, "p \udfff") is None and journal.find(0, "q") is None
    assert [path.parent for path in tmp_path.rglob("*.jsonl")] == [tmp_path / "a" / "b"]


@pytest.mark.parametrize("torn", [1, 9, 40])
def test_half_a_line_is_dropped_and_does_not_spoil_the_next(tmp_path: Path, torn: int) -> None:
    journal = Journal(tmp_path, {"sample": 1})
    for turn in range(3):
        journal.add(turn, "p", Entry(ModelOutput.from_content("m", f"note {turn}"), 0.1))
    journal.path.write_bytes(journal.path.read_bytes()[:-torn])
    again = Journal(tmp_path, {"sample": 1})
    assert again.find(1, "p") is not None and again.find(2, "p") is None
    again.add(2, "p", Entry(ModelOutput.from_content("m", "anew"), 0.1))
    found = Journal(tmp_path, {"sample": 1}).find(2, "p")
    assert found is not None and found.output.completion == "anew"


def test_a_line_that_is_no_call_is_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"sample": 1})
    journal.add(0, "p", Entry(ModelOutput.from_content("m", "note"), 0.1))
    with journal.path.open("a") as file:
        file.write('{"call": 3}\n[]\nnull\n')
    assert Journal(tmp_path, {"sample": 1}).find(0, "p") is not None


def test_the_key_depends_on_every_part() -> None:
    base = {"sample": "1", "epoch": 1, "document": "d"}
    keys = {journal_key(base)} | {journal_key(base | {name: "other"}) for name in base}
    assert len(keys) == 4
    assert journal_key(base) == journal_key(dict(reversed(base.items())))


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.5}, {"seed": 3}, {"system_message": "Be brief."}, {"max_tokens": 9}],
)
def test_settings_of_the_evaluation_start_afresh(
    run: Any, make_sample: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    solver, sample = memory_agent(state_dir=str(tmp_path / "states")), make_sample(TEXT)
    first = run(solver, sample, note_taker, window=256)
    assert len(run(solver, sample, note_taker, window=256, **settings).calls) == len(first.calls)
    again = run(solver, sample, note_taker, window=256, max_retries=9, max_connections=3)
    assert again.calls == [], "the same settings resume, however calls are made"


def test_settings_of_the_task_start_afresh(make_sample: Any, tmp_path: Path) -> None:
    paid = []
    for temperature in (0.1, 0.2, 0.1):
        model = scripted_model(
            lambda call: note_taker(call.prompt), "mine", window=256, token_counter=WordTokens()
        )
        solver = memory_agent(state_dir=str(tmp_path / "states"))
        config = GenerateConfig(temperature=temperature)
        task = Task(dataset=[make_sample(TEXT)], solver=solver, config=config)
        (log,) = inspect_eval(task, model, display="none", log_dir=str(tmp_path / "logs"))
        assert log.status == "success"
        paid.append(len(model.api.calls))  # type: ignore[attr-defined]
    assert paid[0] == paid[1] > 0 == paid[2]


def identity(**changes: Any) -> str:
    model = scripted_model("x", "mine")
    vars(model).update(changes)
    return journal_key(model_identity(model))


@pytest.fixture
def no_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect's settings of an evaluation outlive it in its thread; here there is none."""
    monkeypatch.setattr(generate_config, "active_generate_config", GenerateConfig)


@pytest.mark.usefixtures("no_evaluation")
def test_another_checkpoint_or_server_of_the_same_name_starts_afresh() -> None:
    keys = [
        identity(),
        identity(model_args={"model_path": "a"}),
        identity(model_args={"model_path": Path("b")}),
        identity(_explicit_base_url="http://localhost:1/v1"),
        identity(_explicit_base_url="http://localhost:2/v1"),
        identity(config=GenerateConfig(seed=1)),
    ]
    assert len(set(keys)) == len(keys)
    assert identity(model_args={"api_key": "k", "model_path": "a"}) == keys[1]
    assert identity(config=GenerateConfig(timeout=5, max_connections=2)) == keys[0]


def test_a_server_that_a_provider_starts_may_have_any_port() -> None:
    model = scripted_model("x", "mine")
    before = journal_key(model_identity(model))
    vars(model.api)["base_url"] = "http://localhost:40001/v1"
    assert journal_key(model_identity(model)) == before
    vars(model.api)["base_url"] = "https://models.example/v1"
    assert journal_key(model_identity(model)) != before


def test_values_of_an_identity_say_the_same_in_every_process() -> None:
    class Engine:
        pass

    value = {"a": Engine(), "b": {"x", "y"}, "c": (1, None), "d": journal_key}
    assert stable(value) == {
        "a": f"{__name__}.{Engine.__qualname__}",
        "b": ["x", "y"],
        "c": [1, None],
        "d": "longspan.agents.journal.journal_key",
    }


def test_a_model_that_is_not_there_keeps_no_journal(make_sample: Any, tmp_path: Path) -> None:
    folder = tmp_path / "states"
    config = GenerateConfig()
    model = dry_model(WordTokens(), 256, config, lambda *_: "<memory>1</memory>")
    task = Task(dataset=[make_sample(TEXT)], solver=memory_agent(state_dir=str(folder)))
    for _ in range(2):
        (log,) = inspect_eval(task, model, display="none", log_dir=str(tmp_path / "logs"))
        assert log.status == "success"
    assert isinstance(model.api, DryModelAPI)
    assert not folder.exists()
    assert len(model.api.calls) % 2 == 0 and len(model.api.calls) > 4


def test_calls_at_the_same_time_have_one_depth_also_when_replayed(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    sample, solver = make_sample(TEXT), map_reduce(state_dir=str(tmp_path / "states"))
    partial = map_reduce(state_dir=str(tmp_path / "other"))
    first = run(solver, sample, note_taker, window=256)
    assert first.cost["num_calls"] > 4
    assert first.cost["sequential_calls"] < first.cost["num_calls"] - 2
    again = run(solver, sample, note_taker, window=256)
    assert again.calls == []
    assert again.cost["sequential_calls"] == first.cost["sequential_calls"]
    run(partial, sample, note_taker, window=256, die_at=4, max_connections=1)
    resumed = run(partial, sample, note_taker, window=256)
    assert resumed.cost["replayed_calls"] >= 3
    assert resumed.cost["sequential_calls"] == first.cost["sequential_calls"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"call": ["a"], "seconds": 1, "output": {"choices": []}}',
        b"[" * 200_000,
        b'{"call": "0-x", "seconds": 1, "output": {"choices": []}}',
        b'{"call": ["a"]}',
        b'{"call": "0-x", "seconds": NaN, "output": OUTPUT}',
        b'{"call": "0-x", "seconds": 1e999, "output": OUTPUT}',
        b'{"call": "0-x", "seconds": -1, "output": OUTPUT}',
        b'{"call": ["0-x"], "seconds": 1, "output": OUTPUT}',
        b'{"call": {}, "seconds": 1, "output": OUTPUT}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_passed_over(tmp_path: Path, line: bytes) -> None:
    output = ModelOutput.from_content("m", "note").model_dump_json(exclude_none=True)
    journal = Journal(tmp_path, {"sample": 1})
    journal.path.write_bytes(line.replace(b"OUTPUT", output.encode()) + b"\n")
    journal = Journal(tmp_path, {"sample": 1})
    assert journal._entries == {}
    journal.add(0, "p", Entry(ModelOutput.from_content("m", "note"), 0.1))
    assert Journal(tmp_path, {"sample": 1}).find(0, "p") is not None


def test_an_output_without_choices_is_asked_for_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"sample": 1})
    journal.add(0, "p", Entry(ModelOutput(model="m", choices=[]), 0.1))
    assert Journal(tmp_path, {"sample": 1}).find(0, "p") is None


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300, "null\0", "/proc/nowhere"])
def test_a_folder_that_cannot_be_used_is_one_line_before_any_call(
    run: Any, make_sample: Any, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("x")
    folder = str(tmp_path / place)
    result = run(memory_agent(state_dir=folder), make_sample(TEXT), note_taker, window=256)
    assert result.calls == []
    message = result.log.error.message
    assert repr(folder)[1:40] in message and "give state_dir a folder" in message
    assert "\n" not in message.strip()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_calls": 0}, "max_calls"),
        ({"max_calls": "many"}, "max_calls"),
        ({"max_calls": True}, "max_calls"),
        ({"tokenizer": 3}, "tokenizer"),
        ({"state_dir": 3}, "state_dir"),
        ({"state_dir": " "}, "state_dir"),
    ],
)
def test_options_of_a_wrong_type_are_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(SpecError, match=f"{name} must be"):
        RunOptions(**options)
