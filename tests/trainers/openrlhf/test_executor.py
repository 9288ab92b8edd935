"""The executor against the installed OpenRLHF: nothing is cut, no reward fails in silence.

Skipped where OpenRLHF is not installed. The engine is a fake; executors and scorers are real.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Target, mean, scorer
from inspect_ai.solver import TaskState, generate

from longspan.agents.full_context import full_context
from longspan.harness.errors import ModelError
from longspan.harness.rollout import Rollout
from longspan.trainers.local.checkpoint import CHECKPOINTS, load_tokenizer
from longspan.trainers.openrlhf import cpu
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.openrlhf.run_file import RUN_VARIABLE, RunFile, write_run
from longspan.trainers.stages import TaskSource
from tests.harness.scripted import scripted_model
from tests.trainers.openrlhf.test_contract import is_installed
from tests.trainers.tiny import save_tiny, tiny_tokenizer
from tests.trainers.toy import toy_stage

WINDOW = 128

pytestmark = [is_installed, pytest.mark.slow]


@scorer(metrics=[mean()])
def raises_on_long_answers():
    """Fails where the answer has more than two words."""

    async def score(state: TaskState, target: Target) -> Score:
        if len(state.output.completion.split()) > 2:
            raise ValueError("too long for this scorer")
        return Score(value=1.0, answer=state.output.completion)

    return score


@task(name="toy/provoking")
def provoking() -> Task:
    """Returns a task with a sample that fits and one that is longer than the window."""
    samples = [
        Sample(id="fits", input="what is the red lamp?", metadata={"task_type": "multi_hop"}),
        Sample(id="long", input="the lamp " * 200, metadata={"task_type": "multi_hop"}),
    ]
    return Task(MemoryDataset(samples), solver=generate(), scorer=raises_on_long_answers())


@scorer(metrics=[mean()])
def asks_the_judge():
    """Returns what the judge answers."""

    async def score(state: TaskState, target: Target) -> Score:
        verdict = await get_model(role="grader").generate("Is it right?")
        return Score(value=verdict.completion, answer=state.output.completion)

    return score


@task(name="toy/judged")
def judged() -> Task:
    """Returns a task of one sample that a judge scores."""
    sample = Sample(id="one", input="what is the red lamp?", metadata={"task_type": "multi_hop"})
    return Task(MemoryDataset([sample]), solver=generate(), scorer=asks_the_judge())


@task(name="toy/long_context")
def long_context() -> Task:
    """Returns a task whose context, of one sample, is twice the window."""
    content = "gold " + "grey " * 60 + "blue " * 130 + "green " * 60 + "silver"
    metadata = {
        "task_type": "multi_hop",
        "question": "Repeat purple",
        "instructions": "Repeat orange",
        "context": {"text": content},
    }
    sample = Sample(id="long", input="Repeat purple", metadata=metadata)
    return Task(MemoryDataset([sample]), solver=full_context(), scorer=raises_on_long_answers())


class Engine:
    """Notes prompts; answers with two words, or with four every other time."""

    def __init__(self) -> None:
        self.prompts: list[list[int]] = []

    async def generate(self, ids: list[int], settings: Any, multi_modal_data: Any = None) -> Any:
        self.prompts.append(ids)
        words = ["red", "lamp"] * (1 + len(self.prompts) % 2)
        tokens = [tiny_tokenizer().convert_tokens_to_ids(word) for word in [*words, "<|end|>"]]
        logprobs = [{token: SimpleNamespace(logprob=-1.0)} for token in tokens]
        output = SimpleNamespace(
            token_ids=tokens, logprobs=logprobs, finish_reason="stop", text=" ".join(words)
        )
        return SimpleNamespace(outputs=[output])


def executor_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str = "toy/provoking",
    start: Path | None = None,
    **roles: str,
) -> tuple[Any, list[str]]:
    """Returns an executor over a task, and the keys of its samples; by default for a tiny model."""
    cpu.stand_in()
    from longspan.trainers.openrlhf.executor import AgentExecutor

    file = RunFile(
        stage=toy_stage(),
        folder=tmp_path,
        working_directory=Path.cwd(),
        model={},
        start=start or save_tiny(tmp_path / "start"),
        window=WINDOW,
        sources=(TaskSource(task=name),),
        kept=None,
        pools={},
        versions={},
        seed=0,
        model_roles=roles,
        cluster=load_cluster("cpu"),
    )
    write_run(tmp_path / "run.json", file)
    monkeypatch.setenv(RUN_VARIABLE, str(tmp_path / "run.json"))
    executor = AgentExecutor()
    return executor, list(executor._samples)


@pytest.fixture
def rollouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Rollout], Engine]:
    executor, keys = executor_of(tmp_path, monkeypatch)
    engine = Engine()
    return asyncio.run(executor.rollouts(engine, keys, 3)), engine


def test_a_prompt_that_does_not_fit_is_an_invalid_rollout_and_never_cut(
    rollouts: tuple[list[Rollout], Engine],
) -> None:
    found, engine = rollouts
    long = [one for one in found if one.sample_id == "long"]
    assert [(one.validity, one.reward) for one in long] == [("engine_failed", None)] * 4
    assert "window" in (long[0].error or "")
    assert len(engine.prompts) == 4  # those of the sample that fits, whole
    assert len({tuple(prompt) for prompt in engine.prompts}) == 1


def test_a_context_beyond_the_window_loses_its_middle_before_the_engine_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nano = CHECKPOINTS / "nano"  # whose vocabulary has the words of a prompt
    executor, keys = executor_of(tmp_path, monkeypatch, "toy/long_context", nano)
    engine = Engine()
    found = asyncio.run(executor.rollouts(engine, keys, 0))
    assert {one.validity for one in found} <= {"answered", "scorer_failed"}, found[0].error
    assert engine.prompts
    for prompt in engine.prompts:
        words = load_tokenizer(nano).decode(prompt).split()
        assert len(prompt) <= WINDOW - toy_stage().sampling.max_output_tokens
        assert words.index("gold") < words.index("grey") < words.index("green")
        assert words.index("silver") < words.index("purple") < words.index("orange")
        assert words.count("grey") == pytest.approx(words.count("green"), abs=1)
        assert words.count("grey") > 20 and "blue" not in words


def test_a_scorer_that_raises_makes_an_invalid_rollout_with_its_reason(
    rollouts: tuple[list[Rollout], Engine],
) -> None:
    found, _ = rollouts
    fits = sorted(one.validity for one in found if one.sample_id == "fits")
    assert fits == ["answered", "answered", "scorer_failed", "scorer_failed"]
    failed = next(one for one in found if one.validity == "scorer_failed")
    assert failed.reward is None and "too long for this scorer" in (failed.error or "")


def test_turns_are_the_sampled_ids_with_the_weights_version(
    rollouts: tuple[list[Rollout], Engine],
) -> None:
    found, engine = rollouts
    one = next(one for one in found if one.validity == "answered")
    assert one.policy_version == 3
    assert list(one.turns[0].prompt_ids) == engine.prompts[0]
    assert one.turns[0].logprobs == (-1.0,) * len(one.turns[0].sampled_ids)


def test_a_judge_scores_and_is_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = scripted_model("0.25", name="judge")
    executor, keys = executor_of(tmp_path, monkeypatch, "toy/judged", grader="scripted/judge")
    found = asyncio.run(executor.rollouts(Engine(), keys, 0))
    assert [one.reward for one in found] == [0.25] * 4
    assert all(len(one.turns) == 1 and one.role_tokens["grader"] > 0 for one in found)
    del judge


def test_an_engine_that_died_ends_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    async def die(self: Engine, ids: list[int], settings: Any) -> Any:
        raise EngineDeadError()

    executor, keys = executor_of(tmp_path, monkeypatch)
    monkeypatch.setattr(Engine, "generate", die)
    with pytest.raises(ModelError, match=r"a vLLM engine died in step 4 .*run the same command"):
        asyncio.run(executor.rollouts(Engine(), keys, 3))


def test_openrlhfs_own_executor_cuts_on_the_left_and_swallows_errors(tmp_path: Path) -> None:
    """What the patch is for: if this fails, OpenRLHF has changed and the docs are out of date."""
    cpu.stand_in()
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    reward = tmp_path / "reward.py"
    reward.write_text("def reward_func(*args):\n    raise ValueError('broken')\n")
    engine, tokenizer = Engine(), tiny_tokenizer()
    settings = SimpleNamespace(max_tokens=8, logprobs=None)
    text = "the " + "lamp " * 40 + "river"
    made = SingleTurnAgentExecutor(str(reward)).execute(text, "", settings, 24, tokenizer, engine)
    response = asyncio.run(made)
    assert len(engine.prompts[0]) == 16
    assert tokenizer.decode(engine.prompts[0]).split()[0] == "lamp"
    assert response["reward"] is None
