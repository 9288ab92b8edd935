"""Rollout records and the side table of calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import DataError
from longspan.harness.rollout import (
    CALL_KEY,
    CALLS,
    Call,
    Rollout,
    Turn,
    is_recording,
    pop_call,
    read_rollouts,
    record_call,
    recording,
    write_rollouts,
)

ids = st.lists(st.integers(0, 2**31), max_size=5).map(tuple)
logprobs = st.lists(st.floats(-1e6, 0), max_size=5).map(tuple)
turns = st.builds(Turn, ids, ids, logprobs, st.sampled_from(["stop", "max_tokens"]))
rollouts = st.builds(
    Rollout,
    task=st.text(max_size=9),
    task_type=st.none() | st.just("multi_hop"),
    advantage_group=st.text(max_size=9),
    sample_id=st.text(max_size=9),
    epoch=st.integers(1, 64),
    turns=st.lists(turns, max_size=3).map(tuple),
    reward=st.none() | st.floats(0, 1),
    validity=st.just("answered"),
    policy_version=st.integers(0, 9),
    seconds=st.floats(0, 9),
    prompt_tokens=st.integers(0, 9),
    sampled_tokens=st.integers(0, 9),
    error=st.none() | st.text(max_size=9),
)
CALL = Call((1, 2), (3, 4), (-0.1, -0.2), "stop", 7)


@given(rollouts)
def test_a_rollout_survives_json_exactly(rollout):
    line = rollout.to_json()
    assert "\n" not in line
    assert Rollout.from_json(line) == rollout


def test_rollouts_survive_a_file(tmp_path):
    rollout = Rollout("t", None, "t/x", "ü\u2028", 1, (), None, "engine_failed", 0, 0.5, 0, 0, "no")
    write_rollouts(tmp_path / "r.jsonl", [rollout, rollout])
    assert read_rollouts(tmp_path / "r.jsonl") == [rollout, rollout]
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"turns": []}', '{"turns": [{}]}', "nonsense"])
def test_what_is_no_rollout_is_refused(line):
    with pytest.raises(DataError, match="not a rollout record"):
        Rollout.from_json(line)


def test_a_turn_is_the_call_it_was():
    assert Turn.from_call(CALL) == Turn((1, 2), (3, 4), (-0.1, -0.2), "stop")


def test_calls_are_recorded_only_inside_a_recording_block():
    assert record_call(CALL) == {} and not is_recording()
    with recording(), recording():
        metadata = record_call(CALL)
        assert is_recording() and len(CALLS) == 1
        assert pop_call({**metadata, "other": 1}) == CALL
        assert pop_call(metadata) is None, "a call is taken once"
    assert CALLS == {} and not is_recording()


def test_the_table_is_empty_after_recording_even_after_an_error():
    def fail():
        with recording():
            record_call(CALL)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert CALLS == {} and not is_recording()


def test_two_calls_have_two_ids():
    with recording():
        first, second = record_call(CALL), record_call(CALL)
        assert first[CALL_KEY] != second[CALL_KEY]


@pytest.mark.parametrize("metadata", [None, {}, {CALL_KEY: 5}, {CALL_KEY: "call-of-another-run"}])
def test_outputs_without_a_recorded_call_have_none(metadata):
    assert pop_call(metadata) is None
