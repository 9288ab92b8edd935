"""Readings on disk: a killed run goes on where it stopped, and each call is paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from longspan.agents.memory import memory_agent
from longspan.agents.memory_state import Reading, ReadingFile, Step, reading_key

TEXT = "".join(f"Fact {i} is here. The harbour lay quiet all day long. " for i in range(60))


def note_taker(prompt: str) -> str:
    """Notes how many texts it has seen."""
    if "<text>" not in prompt:
        return "Therefore, the answer is " + prompt.split("<memory>\n")[1].split("\n")[0]
    seen = prompt.split("<memory>\n")[1].split("\n")[0]
    count = 0 if seen == "empty" else int(seen)
    return f"<memory>{count + 1}</memory><plan>go on</plan>"


@pytest.mark.parametrize("die_at", [1, 2, 5])
def test_a_killed_run_goes_on_where_it_stopped(
    run: Any, make_sample: Any, tmp_path: Path, die_at: int
) -> None:
    sample, folder = make_sample(TEXT), tmp_path / "states"
    whole = run(memory_agent(chunk_tokens=60), sample, note_taker, window=256)
    solver = memory_agent(chunk_tokens=60, state_dir=str(folder))
    killed = run(solver, sample, note_taker, window=256, die_at=die_at)
    assert killed.log.status == "error"
    resumed = run(solver, sample, note_taker, window=256)
    assert len(killed.calls) - 1 + len(resumed.calls) == len(whole.calls)
    assert resumed.sample.output.completion == whole.sample.output.completion
    assert resumed.memory == whole.memory | {"resumed_at": die_at - 1}
    assert [call.identity["turn"] for call in resumed.calls] == list(
        range(die_at - 1, len(whole.calls))
    )
    assert list(folder.iterdir()) == []


def test_a_kill_before_the_last_turn_costs_the_last_turn_only(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    sample, solver = make_sample(TEXT), memory_agent(state_dir=str(tmp_path / "states"))
    num_calls = len(run(memory_agent(), sample, note_taker, window=256).calls)
    run(solver, sample, note_taker, window=256, die_at=num_calls)
    assert len(run(solver, sample, note_taker, window=256).calls) == 1


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


def test_a_reading_survives_the_disk(tmp_path: Path) -> None:
    file = ReadingFile(tmp_path / "a" / "b", {"sample": "../../x"})
    reading = Reading(
        next_chunk=3, memory="m \ud800 é", plan="p", trace=(Step(in_chunk=(0,), in_memory=(1, 2)),)
    )
    assert file.load() == Reading()
    file.save(reading)
    assert file.load().next_chunk == 3
    assert file.load().trace == reading.trace
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "a" / "b"]
    file.remove()
    file.remove()
    assert file.load() == Reading()


def test_half_a_file_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    file = ReadingFile(tmp_path, {"sample": 1})
    file.save(Reading(next_chunk=7, memory="long enough"))
    file.path.write_bytes(file.path.read_bytes()[:-9])
    assert file.load() == Reading()


def test_the_key_depends_on_every_part() -> None:
    base = {"sample": "1", "epoch": 1, "document": "d"}
    keys = {reading_key(base)} | {reading_key(base | {name: "other"}) for name in base}
    assert len(keys) == 4
    assert reading_key(base) == reading_key(dict(reversed(base.items())))
