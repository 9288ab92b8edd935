"""Limits end a reading with the best answer so far, recorded as cut off."""

from __future__ import annotations

import time
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.model import ModelCost, ModelInfo, set_model_info

from longspan.agents.limits import Need, Reserve, Spent, limit_reached
from longspan.agents.map_reduce import map_reduce
from longspan.agents.memory import memagent, memory_agent
from longspan.harness.scoring.scorers import find_scorer
from tests.harness.scripted import scripted_model
from tests.harness.words import WordTokens

TEXT = "Fact 0: Brem won. " + "The harbour lay quiet all day long. " * 200


def note_taker(prompt: str) -> str:
    if "<text>" not in prompt:
        return "Therefore, the answer is Brem." if "Brem" in prompt else "I do not know."
    found = "Brem won." if "Brem" in prompt else "empty"
    return f"<memory>{found}</memory><plan>go on</plan>"


@pytest.mark.parametrize("agent", [memory_agent, memagent, map_reduce])
def test_the_call_limit_is_kept_and_the_best_answer_given(
    run: Any, make_sample: Any, agent: Any
) -> None:
    result = run(agent(max_calls=4), make_sample(TEXT), note_taker, window=256)
    assert len(result.calls) == 4
    assert result.sample.output.completion == "Therefore, the answer is Brem."
    assert result.cost["cut_off"] == "max_calls"
    assert result.sample.store["longspan:cut_off"] == "max_calls"


@pytest.mark.parametrize("agent", [memory_agent, memagent, map_reduce])
def test_a_token_limit_of_the_run_is_never_hit(run: Any, make_sample: Any, agent: Any) -> None:
    """The scripted model counts characters where the agent counts words."""
    result = run(agent(), make_sample(TEXT), note_taker, window=256, token_limit=6_000)
    assert result.sample.limit is None
    assert result.cost["cut_off"] == "token_limit"
    assert 2 < len(result.calls) < 15
    assert result.sample.output.completion == "Therefore, the answer is Brem."
    usage = sum(one.total_tokens for one in result.sample.model_usage.values())
    assert usage <= 6_000


def test_a_turn_limit_leaves_the_answer(run: Any, make_sample: Any) -> None:
    result = run(memory_agent(), make_sample(TEXT), note_taker, window=256, turn_limit=5)
    assert result.sample.limit is None
    assert len(result.calls) == 5 and result.cost["cut_off"] == "turn_limit"
    assert result.sample.output.completion == "Therefore, the answer is Brem."


@pytest.mark.parametrize("limit", ["time_limit", "working_limit"])
def test_a_limit_of_time_leaves_time_for_the_answer(run: Any, make_sample: Any, limit: str) -> None:
    def slow(prompt: str) -> str:
        time.sleep(0.3)
        return note_taker(prompt)

    result = run(memory_agent(), make_sample(TEXT), slow, window=256, **{limit: 4})
    assert result.sample.limit is None
    assert result.cost["cut_off"] == limit
    assert 2 < len(result.calls) < 14
    assert result.sample.output.completion == "Therefore, the answer is Brem."


COST_LIMIT = 0.006
"""Dollars; at a dollar per million, 6,000 characters."""


@pytest.fixture
def prices() -> None:
    """Gives the scripted policy a price: a dollar per million characters."""
    cost = ModelCost(input=1.0, output=1.0, input_cache_write=1.0, input_cache_read=1.0)
    set_model_info("scripted/policy", ModelInfo(cost=cost))


def test_a_cost_limit_leaves_money_for_the_answer(run: Any, make_sample: Any, prices: None) -> None:
    sample = make_sample(TEXT)
    result = run(memory_agent(), sample, note_taker, window=256, cost_limit=COST_LIMIT)
    assert result.sample.limit is None
    assert result.cost["cut_off"] == "cost_limit"
    assert result.sample.store["longspan:cut_off"] == "cost_limit"
    assert result.sample.output.completion == "Therefore, the answer is Brem."
    assert 1 < len(result.calls) < 14
    assert sum(one.total_cost for one in result.sample.model_usage.values()) <= COST_LIMIT


def test_what_a_killed_run_paid_counts(
    run: Any, make_sample: Any, tmp_path: Any, prices: None
) -> None:
    limited = {"window": 256, "cost_limit": COST_LIMIT}
    sample, solver = make_sample(TEXT), memory_agent(state_dir=str(tmp_path / "states"))
    whole = run(memory_agent(), sample, note_taker, **limited)
    run(solver, sample, note_taker, die_at=3, **limited)
    resumed = run(solver, sample, note_taker, **limited)
    assert resumed.cost["replayed_calls"] == 2
    assert abs(resumed.cost["num_calls"] - whole.cost["num_calls"]) <= 1


def test_what_a_killed_run_spent_counts(run: Any, make_sample: Any, tmp_path: Any) -> None:
    sample = make_sample(TEXT)
    whole = run(memory_agent(), sample, note_taker, window=256, token_limit=6_000)
    solver = memory_agent(state_dir=str(tmp_path / "states"))
    run(solver, sample, note_taker, window=256, token_limit=6_000, die_at=3)
    resumed = run(solver, sample, note_taker, window=256, token_limit=6_000)
    assert resumed.cost["num_calls"] == whole.cost["num_calls"]


def test_without_limits_nothing_is_cut(run: Any, make_sample: Any) -> None:
    result = run(memory_agent(), make_sample(TEXT), note_taker, window=256)
    assert result.cost["cut_off"] is None
    assert "longspan:cut_off" not in result.sample.store


def test_outside_of_a_sample_only_the_call_limit_holds() -> None:
    spent = Spent(num_calls=3)
    assert limit_reached(spent, Need(10, Reserve(10, 10)), None) is None
    assert limit_reached(spent, Need(10, Reserve(10, 10)), 4) == "max_calls"
    assert limit_reached(spent, Need(10, Reserve(10, 10)), 5) is None


def test_an_output_is_limited_only_where_the_room_is_small(run: Any, make_sample: Any) -> None:
    """A limit of a hundred thousand tokens would be refused by most providers."""
    for token_limit, is_limited in ((1_000_000, False), (3_000, True)):
        result = run(memory_agent(), make_sample("Brem won."), note_taker, token_limit=token_limit)
        assert (result.calls[-1].config.max_tokens is not None) == is_limited


def test_an_answer_under_a_limit_is_scored_and_recorded_as_cut_off(
    make_sample: Any, tmp_path: Any
) -> None:
    sample = make_sample(TEXT)
    sample.target = "Brem"
    model = scripted_model(
        lambda call: note_taker(call.prompt), "cut", window=256, token_counter=WordTokens()
    )
    scorer = find_scorer("cover_exact_match")()
    task = Task(dataset=[sample], solver=memory_agent(max_calls=3), scorer=scorer)
    (log,) = eval(task, model, display="none", log_dir=str(tmp_path))
    (score,) = log.samples[0].scores.values()  # type: ignore[index,union-attr]
    assert score.value == 1.0
    assert score.metadata["validity"] == "cut_off"
