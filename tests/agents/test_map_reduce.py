"""The map-reduce baseline: chunks at the same time, notes that fit, rounds that end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.log import EvalSample
from inspect_ai.model import ModelOutput, ModelUsage
from inspect_ai.solver import Solver

from longspan.agents.map_reduce import map_reduce
from longspan.harness.errors import SpecError
from tests.harness.scripted import Script, scripted_model
from tests.harness.words import TOKEN, WordTokens

FILLER = "The weather was mild and the harbour lay quiet. "
TEXT = FILLER * 40 + "Kukton's mayor is Tastal. " + FILLER * 40
tokens = WordTokens().count


def note_taker(prompt: str) -> str:
    text = re.search(r"<text>\n(.*)\n</text>", prompt, re.DOTALL)
    if not text:
        return f"Therefore, the answer is {'Tastal' if 'Tastal' in prompt else 'unknown'}."
    found = [s for s in re.findall(r"[^.]+\.", text.group(1)) if "'s " in s]
    return f"<memory>{' '.join(found) or 'empty'}</memory><plan>none</plan>"


def wordy(prompt: str) -> str:
    if "<text>" not in prompt:
        return "Therefore, the answer is Tastal."
    return f"<memory>{'word ' * 200}</memory><plan>none</plan>"


def record(result: Any) -> dict[str, Any]:
    sample = getattr(result, "sample", result)
    return dict(sample.store["longspan:map_reduce"])


def limited(
    solver: Solver, sample: Any, script: Script, folder: Path, token_limit: int | None = None
) -> tuple[EvalSample, int]:
    """A sample read with no known window, and the tokens that it used: words, as providers count.

    Outputs end at the limit of their call.
    """
    model = scripted_model(script, "words", window=None, token_counter=WordTokens())
    its_own = model.api.generate

    async def generate(input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        output = await its_own(input, tools, tool_choice, config)
        assert isinstance(output, ModelOutput)
        ends = [one.end() for one in TOKEN.finditer(output.completion)][: config.max_tokens]
        num, written = sum(tokens(m.text) + 12 for m in input), len(ends)
        output.completion = output.completion[: ends[-1]]
        output.usage = ModelUsage(
            input_tokens=num, output_tokens=written, total_tokens=num + written
        )
        return output

    vars(model.api).update(generate=generate)
    task = Task(dataset=[sample], solver=solver)
    (log,) = eval(
        task, model, display="none", log_dir=str(folder), token_limit=token_limit, max_retries=0
    )
    assert log.status == "success" and log.samples
    (found,) = log.samples
    return found, sum(one.total_tokens for one in found.model_usage.values())


LONG = FILLER * 85 + "Kukton's mayor is Tastal. " + FILLER * 85


def test_a_token_limit_that_holds_all_calls_reads_everything(
    make_sample: Any, tmp_path: Path
) -> None:
    def script(call: Any) -> str:
        return note_taker(call.prompt)

    solver = map_reduce(chunk_tokens=300, note_tokens=50)
    sample, used = limited(solver, make_sample(LONG), script, tmp_path)
    assert record(sample)["num_chunks"] == 6 and 2_000 < used < 3_000
    # What notes, plans and the answer may have at most: 6 chunks of 50 + 12, and a quarter.
    for token_limit in (4_400, 30_000):
        sample, again = limited(solver, make_sample(LONG), script, tmp_path, token_limit)
        assert record(sample)["cut_off"] is None
        assert again == used
        assert sample.output.completion == "Therefore, the answer is Tastal."


@pytest.mark.parametrize("token_limit", [700, 1_500, 2_500, 4_000, 8_000, 30_000])
@pytest.mark.parametrize("note_tokens", [50, 150])
def test_a_token_limit_is_kept_whatever_the_model_writes(
    make_sample: Any, tmp_path: Path, token_limit: int, note_tokens: int
) -> None:
    solver = map_reduce(chunk_tokens=300, note_tokens=note_tokens)

    def script(call: Any) -> str:
        if "<text>" not in call.prompt:
            return "Therefore, the answer is Tastal."
        return f"<memory>{'word ' * 3_000}"

    sample, used = limited(solver, make_sample(LONG), script, tmp_path, token_limit)
    assert sample.limit is None and sample.output.completion
    assert used <= token_limit


def test_notes_that_a_limit_leaves_no_call_for_are_kept_as_they_are(
    run: Any, make_sample: Any
) -> None:
    def noting(prompt: str) -> str:
        return wordy(prompt).replace("<memory>word", "<memory>Kukton")

    num_chunks = record(run(map_reduce(chunk_tokens=40), make_sample(TEXT), noting, window=256))[
        "num_chunks"
    ]
    solver = map_reduce(chunk_tokens=40, max_calls=num_chunks + 1)
    result = run(solver, make_sample(TEXT), noting, window=256, max_tokens=32)
    assert len(result.calls) == num_chunks + 1
    assert record(result)["cut_off"] == "max_calls" and record(result)["num_final_cuts"] == 1
    assert "Kukton" in result.calls[-1].prompt and tokens(result.calls[-1].prompt) <= 256 - 32


def test_a_fact_of_any_chunk_reaches_the_answer(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=40), make_sample(TEXT), note_taker, window=256)
    assert result.sample.output.completion == "Therefore, the answer is Tastal."
    assert len(result.calls) == record(result)["num_chunks"] + 1 > 10
    assert record(result)["num_empty_notes"] == record(result)["num_chunks"] - 1
    shown = [re.search(r"<text>\n(.*)\n</text>", c.prompt, re.DOTALL) for c in result.calls[:-1]]
    assert tokens("".join(match.group(1) for match in shown if match)) == tokens(TEXT)


def test_chunks_are_noted_at_the_same_time(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=40), make_sample(TEXT), note_taker, window=256)
    assert result.cost["sequential_calls"] == 2
    assert all("<memory>\nempty\n</memory>" in call.prompt for call in result.calls[:-1])


def test_notes_that_do_not_fit_are_noted_again_until_they_do(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=40), make_sample(TEXT), wordy, window=256, max_tokens=32)
    assert record(result)["num_rounds"] > 1
    assert record(result)["num_final_cuts"] == 0
    assert tokens(result.calls[-1].prompt) <= 256 - 32


def test_an_empty_document_is_answered_from_nothing(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(), make_sample(" \n "), note_taker, window=256)
    assert len(result.calls) == 1 and record(result)["num_chunks"] == 0
    assert "<memory>\nempty\n</memory>" in result.calls[0].prompt


def test_a_model_that_says_nothing_is_counted(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(), make_sample(TEXT), lambda _: "", window=256)
    assert result.log.status == "success"
    assert record(result)["num_malformed"] == record(result)["num_chunks"]


def test_what_does_not_fit_is_refused_before_any_call(run: Any, make_sample: Any) -> None:
    result = run(map_reduce(chunk_tokens=512), make_sample(TEXT), note_taker, window=256)
    assert "chunk_tokens must be below the model's window" in result.log.error.message
    assert result.calls == []
    with pytest.raises(SpecError, match="layout must be one of"):
        map_reduce(layout="upside_down")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["chunk_tokens", "note_tokens", "max_turn_tokens", "max_calls"])
@pytest.mark.parametrize("value", [0, -1, "64", 64.0, True])
def test_sizes_that_are_none_are_one_line(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"^{name} must be a positive whole number: got .*; leave"):
        map_reduce(**{name: value})
