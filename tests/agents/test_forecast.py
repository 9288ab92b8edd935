"""Forecasts: the agent's own calls, counted before any is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, Model, ModelOutput, ModelUsage
from inspect_ai.solver import SolverSpec

from longspan.agents.forecast import ModelFacts, forecast, forecast_command
from longspan.agents.recorded_calls import (
    RecordedCall,
    check_recording,
    measured_rates,
    recorded_runs,
)
from longspan.agents.room import chat_tokens
from longspan.harness.cli import main
from longspan.harness.errors import DataError, ModelError, SpecError
from longspan.harness.resolve import resolve_solver
from longspan.harness.scoring.scorers import find_scorer
from tests.harness.scripted import scripted_model
from tests.harness.words import WordTokens

WINDOW = 256
NANO = Path(__file__).parents[2] / "trainers" / "checkpoints" / "nano"
FACTS = ModelFacts(WordTokens(), WINDOW, GenerateConfig(max_tokens=48))


def samples(num: int, num_sentences: int) -> list[Sample]:
    found = []
    for i in range(num):
        text = "".join(
            f"Clerk{i} noted item{j} today. The harbour lay quiet. " for j in range(num_sentences)
        )
        metadata = {
            "question": "Who noted it?",
            "instructions": "Be brief.",
            "context": {"text": text},
        }
        found.append(Sample(id=f"s/{i}", input="Who noted it?", target="Clerk", metadata=metadata))
    return found


def task(num: int = 4, num_sentences: int = 40) -> Task:
    return Task(samples(num, num_sentences), scorer=find_scorer("cover_exact_match")(), name="t")


def growing(prompt: str) -> str:
    """A memory that fills, as real ones do."""
    if "<text>" not in prompt or "<memory>" not in prompt:
        return "Therefore, the answer is Clerk."
    memory = prompt.split("<memory>\n")[1].split("\n</memory>")[0]
    kept = "" if memory == "empty" else memory + " "
    item = prompt.split("noted ")[1].split()[0] if "noted item" in prompt else "nothing"
    return f"<memory>{kept}Saw {item}.</memory><plan>look for more</plan>"


def counting(model: Model) -> Model:
    """Makes a model report its usage in its own tokenizer's tokens, as real providers do."""
    its_own = model.api.generate

    async def generate(input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        output = await its_own(input, tools, tool_choice, config)
        assert isinstance(output, ModelOutput)
        num = chat_tokens([{"role": m.role, "content": m.text} for m in input], WordTokens())
        written = WordTokens().count(output.completion) + 1
        output.usage = ModelUsage(
            input_tokens=num, output_tokens=written, total_tokens=num + written
        )
        output.time = 0.01 + num / 1000 + written / 100
        return output

    vars(model.api).update(generate=generate, window=WINDOW, token_counter=WordTokens())
    return model


def used(num: int, num_sentences: int, folder: Path, solver: SolverSpec) -> tuple[int, int, Path]:
    """Calls and prompt tokens of a real run, and its log."""
    model = counting(scripted_model(lambda call: growing(call.prompt), "growing", max_tokens=48))
    (log,) = eval(
        task(num, num_sentences), model, solver=solver, display="none", log_dir=str(folder)
    )
    assert log.status == "success"
    usage = [one for sample in log.samples or [] for one in sample.model_usage.values()]
    calls = len(model.api.calls)  # type: ignore[attr-defined]
    return calls, sum(one.input_tokens for one in usage), Path(log.location)


AGENTS = ["memory_agent", "memagent", "map_reduce", "full_context"]


@pytest.mark.parametrize("agent", AGENTS)
def test_with_a_log_of_two_samples_calls_and_prompt_tokens_are_within_five_percent(
    tmp_path: Path, agent: str
) -> None:
    solver = resolve_solver(agent)
    _, _, log = used(2, 40, tmp_path / "few", solver)
    calls, tokens, _ = used(8, 40, tmp_path / "all", solver)
    (foreseen, _) = forecast(task(8, 40), FACTS, solver, runs=recorded_runs(log))
    assert len(foreseen) == calls
    assert sum(call.input_tokens for call in foreseen) == pytest.approx(tokens, rel=0.05)


def test_a_log_of_shorter_documents_tells_of_longer_ones(tmp_path: Path) -> None:
    solver = resolve_solver("memory_agent")
    _, _, log = used(2, 60, tmp_path / "few", solver)
    calls, tokens, _ = used(3, 160, tmp_path / "all", solver)
    (foreseen, _) = forecast(task(3, 160), FACTS, solver, runs=recorded_runs(log))
    assert len(foreseen) == calls
    assert sum(call.input_tokens for call in foreseen) == pytest.approx(tokens, rel=0.05)


@pytest.mark.parametrize("agent", AGENTS)
def test_without_a_log_the_forecast_is_a_range_that_holds_what_is_used(
    tmp_path: Path, agent: str
) -> None:
    solver = resolve_solver(agent)
    calls, tokens, _ = used(3, 40, tmp_path, solver)
    low, high = forecast(task(3, 40), FACTS, solver)
    assert len(low) <= calls <= len(high)
    least, most = (sum(call.input_tokens for call in one) for one in (low, high))
    assert least <= tokens <= most


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("max_tokens", [None, 48])
def test_no_output_goes_beyond_the_window(agent: str, max_tokens: int | None) -> None:
    facts = ModelFacts(WordTokens(), WINDOW, GenerateConfig(max_tokens=max_tokens))
    low, high = forecast(task(2), facts, resolve_solver(agent))
    assert sum(call.output_tokens for call in low) < sum(call.output_tokens for call in high)
    for call in [*low, *high]:
        assert 0 < call.output_tokens <= max(1, WINDOW - call.input_tokens)


def test_what_waits_for_what_is_seen() -> None:
    chunks = len(forecast(task(1), FACTS, resolve_solver("memory_agent"))[0]) - 1
    for agent, depth in (("memory_agent", chunks + 1), ("map_reduce", 2), ("full_context", 1)):
        low, _ = forecast(task(1), FACTS, resolve_solver(agent))
        assert max(call.depth for call in low) == depth


def test_nothing_is_asked_of_the_model(tmp_path: Path) -> None:
    model = scripted_model("never", "never", window=WINDOW, token_counter=WordTokens())
    facts = ModelFacts(WordTokens(), WINDOW, GenerateConfig(), model.api)
    assert forecast(task(1), facts, resolve_solver("memory_agent"))[0]
    assert model.api.calls == []  # type: ignore[attr-defined]


def test_what_the_agent_refuses_the_forecast_refuses() -> None:
    with pytest.raises(ModelError, match="chunk_tokens must be below the model's window"):
        forecast(task(1), FACTS, resolve_solver("memory_agent", {"chunk_tokens": 999}))


def test_rates_are_measured_from_calls() -> None:
    calls = [
        RecordedCall(i, "", n, k, 0.5 + n / 1000 + k / 50)
        for i, (n, k) in enumerate([(100, 5), (900, 5), (400, 60), (2000, 30), (50, 90)])
    ]
    rates = measured_rates([calls])
    assert rates is not None
    assert rates.prefill == pytest.approx(1000, rel=0.01)
    assert rates.decode == pytest.approx(50, rel=0.01)
    assert rates.seconds(1000, 50) == pytest.approx(2.5, rel=0.01)
    assert measured_rates([]) is None
    assert measured_rates([[RecordedCall(0, "replayed")]]) is None


def test_the_command_prints_a_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longspan.agents.forecast.named_task", lambda *_: task(2))
    code = main(
        ["forecast", "eval", "t", "--model", "nano", "--solver", "memory_agent", "--json"]
        + ["--prefill-rate", "1000", "--decode-rate", "100", "--at-once", "2", "--max-tokens", "48"]
    )
    assert code == 0
    low, high = json.loads(capsys.readouterr().out)["forecast"]
    assert low["num_samples"] == 2 and low["num_calls"] == high["num_calls"] > 4
    assert low["input_tokens"] < high["input_tokens"]
    expected = low["input_tokens"] / 1000 + low["output_tokens"] / 100
    assert low["total_seconds"] == pytest.approx(expected / 2, rel=0.02)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A task set, and logs of two of its samples that `longspan eval` made with nano."""
    folder = tmp_path_factory.mktemp("evaluated")
    synth = ["--out", str(folder / "ts"), "--tokens", "300", "--tokenizer", "nano"]
    assert main(["synth", *synth, "--num-samples", "20", "--workers", "1", "--quiet"]) == 0
    found = {"taskset": str(folder / "ts")}
    for name, options in {
        "agent": ["--solver", "memory_agent", "--checkpoint", "Mine"],
        "own": [],
    }.items():
        logs = ["--log-dir", str(folder / name), "--limit", "2", "--quiet", *options]
        assert main(["eval", found["taskset"], "--model", "nano", *logs]) == 0
        (log,) = (folder / name).rglob("*.eval")
        found[name] = str(log)
    return found


def foresee(evaluated: dict[str, str], log: str, *options: str) -> int:
    """Forecasts the task set with a log: the exit status."""
    return main(["forecast", "eval", evaluated["taskset"], "--log", evaluated[log], *options])


@pytest.mark.parametrize("model", ["nano", "longspan-local/nano"])
def test_a_log_of_the_same_evaluation_is_taken(
    evaluated: dict[str, str], capsys: pytest.CaptureFixture[str], model: str
) -> None:
    for solver in ("memory_agent", "longspan/memory_agent"):
        assert foresee(evaluated, "agent", "--model", model, "--solver", solver) == 0
        assert " to " not in capsys.readouterr().out.split("calls one after")[0]
    assert foresee(evaluated, "own", "--model", model) == 0
    assert foresee(evaluated, "own", "--model", model, "--solver", "full_context") == 0
    tokenizer = ["--tokenizer", str(NANO), "--window", "512", "--solver", "memory_agent"]
    assert foresee(evaluated, "agent", *tokenizer) == 0


@pytest.mark.parametrize(
    ("log", "options", "message"),
    [
        ("agent", [], "is of another solver: got memory_agent, the forecast is of full_context"),
        ("agent", ["--solver", "memagent"], "another solver: got memory_agent, the forecast is of"),
        ("own", ["--solver", "memory_agent"], "another solver: got full_context, the forecast is"),
        (
            "agent",
            ["--solver", "memory_agent", "-S", "chunk_tokens=24"],
            'got memory_agent with {}, the forecast is of memory_agent with {"chunk_tokens": 24}',
        ),
        ("own", ["--model", "nano-ceiling"], "is of another model: got longspan-local/nano of"),
    ],
)
def test_a_log_of_another_evaluation_is_refused_in_one_line(
    evaluated: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    log: str,
    options: list[str],
    message: str,
) -> None:
    model = [] if "--model" in options else ["--model", "nano"]
    assert foresee(evaluated, log, *model, *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert "give a log of the same evaluation, or leave --log out" in error


def test_a_log_of_another_task_is_refused(evaluated: dict[str, str], tmp_path: Path) -> None:
    log = Path(evaluated["own"])
    with pytest.raises(SpecError, match="another task: got longspan/taskset, the forecast is of t"):
        check_recording(log, task(), None)
    named = Task(samples(1, 2), name="taskset")
    check_recording(log, named, None)
    other_set = Task(samples(1, 2), name="taskset", metadata={"taskset_hash": "0" * 16})
    with pytest.raises(SpecError, match="another task set: got one of hash .* of hash 0000"):
        check_recording(log, other_set, None)
    with pytest.raises(SpecError, match="another model: got longspan-local/nano, the .* of x/y"):
        check_recording(log, named, None, "x/y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prefill-rate", "inf"], "--prefill-rate must be a finite number: got inf; change it"),
        (["--decode-rate", "inf"], "--decode-rate must be a finite number: got inf; change it"),
        (["--prefill-rate", "5"], "--prefill-rate alone tells no time: got no --decode-rate; give"),
        (["--decode-rate", "5"], "--decode-rate alone tells no time: got no --prefill-rate; give"),
    ],
)
def test_rates_that_tell_nothing_are_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["forecast", "eval", "t", "--model", "nano", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="either --model or --tokenizer"):
        forecast_command("taskset")
    with pytest.raises(DataError, match="cannot read log"):
        recorded_runs(tmp_path / "none.eval")
    assert main(["forecast"]) == 2
