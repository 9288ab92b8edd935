"""A scripted policy behind Inspect's own interface, and a run of one task with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Solver

from tests.harness.scripted import SCRIPTS, Request
from tests.harness.words import WordTokens


@dataclass
class Run:
    """One sample after a run, with the calls that it made."""

    log: EvalLog
    sample: EvalSample
    calls: list[Request]

    @property
    def memory(self) -> dict[str, Any]:
        return self.sample.store["longspan:memory"]

    @property
    def cost(self) -> dict[str, Any]:
        return self.sample.store["longspan:agent"]

    @property
    def truncation(self) -> dict[str, Any]:
        return self.sample.store["longspan:truncation"]


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    def make(context: Any = None, question: str = "Who won?", **metadata: Any) -> Sample:
        fields = {"question": question, "instructions": "End with the answer.", **metadata}
        if context is not None:
            fields["context"] = context if isinstance(context, dict) else {"text": context}
        return Sample(id="s/1", input=f"{question}\n\nEnd with the answer.", metadata=fields)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Runs a solver on one sample with a scripted policy."""

    def run_one(
        solver: Solver,
        sample: Sample,
        policy: Callable[[str], str],
        window: int | None = None,
        die_at: int | None = None,
        max_tokens: int | None = None,
        expands: bool = False,
        **settings: Any,
    ) -> Run:
        """`die_at`: number of the call at which the process "dies"; `expands`: by reference."""

        def script(call: Request) -> str:
            return "!killed" if len(calls) == die_at else policy(call.prompt)

        SCRIPTS["policy"] = script
        config = GenerateConfig(max_tokens=max_tokens)
        name = "longspan-ref/scripted/policy" if expands else "scripted/policy"
        model = get_model(name, config=config, memoize=False)
        vars(model.api).update(
            window=window,
            token_counter=WordTokens(),
            checkpoint_hash="policy",
        )
        calls = model.api.calls
        task = Task(dataset=[sample], solver=solver)
        (log,) = eval(task, model, display="none", log_dir=str(tmp_path / "logs"), **settings)
        assert log.samples is not None
        return Run(log, log.samples[0], calls)

    return run_one
