"""Calls on disk: a killed run goes on where it stopped, and each call is paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ModelOutput

from longspan.agents.journal import Entry, Journal, journal_key
from longspan.agents.map_reduce import map_reduce
from longspan.agents.memory import memagent, memory_agent
from longspan.harness.resuming import resuming_in
from longspan.harness.rollout import recording

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
    whole = run(agent(chunk_tokens=60), sample, note_taker, window=256)
    solver = agent(chunk_tokens=60, state_dir=str(folder))
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
    whole = run(map_reduce(chunk_tokens=60), sample, note_taker, window=256)
    solver = map_reduce(chunk_tokens=60, state_dir=folder)
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
        memory_agent(chunk_tokens=40, state_dir=folder), make_sample(TEXT), note_taker, window=256
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
