"""The full-context solver: one call, a declared cut, a question that survives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import system_message

from longspan.agents.full_context import full_context
from longspan.agents.memory import memory_agent
from longspan.harness.datasets.documents import resolve_context
from longspan.harness.datasets.records import Record, make_document, to_sample
from longspan.harness.errors import DataError, SpecError
from longspan.harness.prompts import render_prompt
from longspan.harness.spec import TaskSpec
from tests.harness.scripted import scripted_model
from tests.harness.words import WordTokens

LONG = " ".join(f"w{i}" for i in range(1000))
tokens = WordTokens().count


def echo(_: str) -> str:
    return "Therefore, the answer is 4."


def test_a_text_that_fits_is_shown_whole(run: Any, make_sample: Any) -> None:
    result = run(full_context(), make_sample("It was Ann."), echo, window=256)
    (call,) = result.calls
    assert call.prompt == render_prompt("It was Ann.", "Who won?", "End with the answer.")
    assert call.identity == {"sample": "s/1", "epoch": 1, "turn": 0}
    assert result.truncation["tokens_dropped"] == 0
    assert result.sample.output.completion == "Therefore, the answer is 4."


@pytest.mark.parametrize(
    ("side", "first", "last"), [("middle", 0, 999), ("left", None, 999), ("right", 0, None)]
)
def test_a_long_text_is_cut_on_the_declared_side(
    run: Any, make_sample: Any, side: Any, first: int | None, last: int | None
) -> None:
    result = run(full_context(truncation=side), make_sample(LONG), echo, window=256, max_tokens=32)
    words = re.findall(r"\bw\d+\b", result.calls[0].prompt)
    assert ("w0" in words) == (first == 0)
    assert ("w999" in words) == (last == 999)
    ledger = result.truncation
    assert ledger["side"] == side
    assert ledger["tokens_before"] == 1000
    assert ledger["tokens_kept"] == len(words)
    assert ledger["tokens_kept"] + ledger["tokens_dropped"] == 1000


@pytest.mark.parametrize("window", [80, 81, 100, 255, 256])
@pytest.mark.parametrize("limit", [None, 16, 10_000])
def test_prompt_and_output_fit_the_window_and_fill_it(
    run: Any, make_sample: Any, window: int, limit: int | None
) -> None:
    settings = {} if limit is None else {"max_tokens": limit}
    result = run(full_context(), make_sample(LONG), echo, window=window, **settings)
    (call,) = result.calls
    output = {None: window // 4, 16: 16, 10_000: window // 2}[limit]
    assert "Who won?" in call.prompt and "End with the answer." in call.prompt
    assert window - output - 16 <= tokens(call.prompt) <= window - output
    if limit is not None:
        assert tokens(call.prompt) + call.config.max_tokens <= window


def test_max_input_tokens_caps_the_prompt_of_a_model_without_a_known_window(
    run: Any, make_sample: Any
) -> None:
    result = run(full_context(max_input_tokens=100), make_sample(LONG), echo)
    assert 80 <= tokens(result.calls[0].prompt) <= 100
    assert run(full_context(), make_sample(LONG), echo).truncation["tokens_dropped"] == 0


def test_a_question_that_alone_exceeds_the_window_is_refused_in_one_line(
    run: Any, make_sample: Any
) -> None:
    sample = make_sample("short", question="why " * 400)
    result = run(full_context(), sample, echo, window=256)
    assert result.log.status == "error"
    assert "the question alone exceeds the window" in result.log.error.message
    assert result.calls == []


def test_a_plain_sample_is_asked_as_it_is(run: Any) -> None:
    messages = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="2+2?")]
    result = run(full_context(), Sample(id=7, input=messages), echo, window=256)
    (call,) = result.calls
    assert (call.prompt, len(call.messages)) == ("2+2?", 2)
    assert call.identity == {"sample": "7", "epoch": 1, "turn": 0}
    assert result.truncation["tokens_dropped"] == 0


def test_a_plain_sample_that_exceeds_the_window_is_refused(run: Any) -> None:
    result = run(full_context(), Sample(input=LONG), echo, window=256)
    assert "declares no context" in result.log.error.message


def test_an_empty_context_is_asked_about_all_the_same(run: Any, make_sample: Any) -> None:
    result = run(full_context(), make_sample({"text": ""}), echo, window=256)
    assert len(result.calls) == 1


@pytest.mark.parametrize(("place", "kept"), [(0, 1.0), (500, 0.0), (999, 1.0)])
def test_the_ledger_says_whether_evidence_survived(
    run: Any, make_sample: Any, place: int, kept: float
) -> None:
    quote = f"w{place}"
    text = LONG
    start = re.search(rf"\b{quote}\b", text).start()  # type: ignore[union-attr]
    span = {"document": "d", "start": start, "end": start + len(quote), "quote": quote}
    step = {"subject": "a", "relation": "b", "object": "c", "document": "d"}
    card = {"evidence": [span], "proof": {"type": "path", "steps": [step]}}
    sample = make_sample(text, passport=card)
    result = run(full_context(), sample, echo, window=256)
    assert result.truncation["evidence_kept"] == kept


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown truncation 'top'"):
        full_context(truncation="top")  # type: ignore[arg-type]


CHAT = [
    {"role": "system", "content": "You keep poems."},
    {"role": "user", "content": "Write a poem"},
    {"role": "assistant", "content": "  w0 w1 w2"},
    {"role": "user", "content": "Repeat it after the hash."},
]


def chat_sample(chat: Any, question: str = "Repeat it after the hash.") -> Sample:
    """A sample as a benchmark with a chat of its own makes it."""
    turns = [m for m in chat[:-1] if m["role"] != "system"]
    documents = tuple(make_document(m["role"].capitalize(), m["content"]) for m in turns)
    record = Record("m1", {"question": question}, ("x",), documents, messages=tuple(chat))
    return to_sample(record, CHAT_SPEC, "m1")


CHAT_SPEC = TaskSpec.model_validate(
    {"name": "m", "description": "d", "dataset": {}, "scorer": "letter", "instructions": ""}
)


def test_a_chat_of_the_benchmark_is_sent_unchanged(run: Any) -> None:
    sample = chat_sample(CHAT)
    for window in (None, 256):
        result = run(full_context(), sample, echo, window=window)
        (call,) = result.calls
        assert [{"role": m.role, "content": m.text} for m in call.messages] == CHAT
        assert call.identity == {"sample": "m1", "epoch": 1, "turn": 0}
        assert (result.truncation["form"], result.truncation["tokens_dropped"]) == ("chat", 0)


def test_a_chat_that_does_not_fit_is_shown_as_text_and_cut_in_the_middle(run: Any) -> None:
    chat = [*CHAT[:2], {"role": "assistant", "content": LONG}, CHAT[3]]
    result = run(full_context(), chat_sample(chat), echo, window=256, max_tokens=32)
    (call,) = result.calls
    assert [m.role for m in call.messages] == ["system", "user"]
    assert "User Write a poem Assistant w0" in call.prompt and call.prompt.endswith(
        CHAT[3]["content"]
    )
    assert "w999" in call.prompt and "w500" not in call.prompt
    assert result.truncation["form"] == "text"
    assert result.truncation["tokens_before"] > 1000 > result.truncation["tokens_kept"] > 100
    assert tokens(call.prompt) <= 256 - 32


def test_the_memory_agent_reads_the_text_of_a_chat(run: Any) -> None:
    chat = [*CHAT[:2], {"role": "assistant", "content": LONG}, CHAT[3]]
    result = run(memory_agent(), chat_sample(chat), echo, window=256)
    prompts = " ".join(call.prompt for call in result.calls)
    assert len(result.calls) > 4 and all(len(call.messages) == 1 for call in result.calls)
    assert "Assistant" in prompts and "w0 " in prompts and "w999" in prompts
    assert all(CHAT[3]["content"] in call.prompt for call in result.calls)


def test_the_text_of_a_chat_is_kept_once(run: Any) -> None:
    sample = chat_sample(CHAT)
    assert sample.input == CHAT[-1]["content"]
    assert resolve_context(sample.metadata) == "User\nWrite a poem\n\nAssistant\nw0 w1 w2"
    assert repr(sample.metadata).count("w0 w1 w2") == 1
    stripped = {key: value for key, value in sample.metadata.items() if key != "messages"}
    with pytest.raises(DataError, match="refers to a chat that is not there"):
        resolve_context(stripped)


def test_documents_that_do_not_stand_in_the_chat_are_kept_as_text() -> None:
    record = Record("m1", {"question": "q"}, ("x",), (make_document("", "Else."),), messages=CHAT)
    assert to_sample(record, CHAT_SPEC, "m1").metadata["context"] == {"text": "Else."}


def test_a_prompt_of_the_benchmark_frames_the_context_and_only_the_context_is_cut(
    run: Any, make_sample: Any
) -> None:
    frame = {"before": "Read this.\n", "after": "\nNow: who won? Answer:"}
    short = run(full_context(), make_sample("It was Ann.", frame=frame), echo, window=256)
    assert short.calls[0].prompt == "Read this.\nIt was Ann.\nNow: who won? Answer:"
    long = run(full_context(), make_sample(LONG, frame=frame), echo, window=256, max_tokens=32)
    prompt = long.calls[0].prompt
    assert prompt.startswith(frame["before"] + "w0 ") and prompt.endswith("w999" + frame["after"])
    assert long.truncation["tokens_dropped"] > 0 and tokens(prompt) <= 256 - 32


@pytest.mark.parametrize(
    ("options", "name"),
    [({"max_input_tokens": 0}, "max_input_tokens"), ({"tokenizer": 3}, "tokenizer")],
)
def test_options_of_a_wrong_type_are_refused(options: Any, name: str) -> None:
    with pytest.raises(SpecError, match=f"{name} must be"):
        full_context(**options)


def test_system_messages_of_the_task_stand_in_front_of_a_chat(tmp_path: Any) -> None:
    model = scripted_model("x", "chat", window=256, token_counter=WordTokens())
    french = system_message("Answer in French.")
    task = Task(dataset=[chat_sample(CHAT)], solver=full_context(), setup=french)
    eval(task, model, display="none", log_dir=str(tmp_path))
    (call,) = model.api.calls  # type: ignore[attr-defined]
    assert [m.text for m in call.messages] == ["Answer in French.", *(m["content"] for m in CHAT)]
