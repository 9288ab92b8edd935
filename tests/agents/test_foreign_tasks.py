"""Samples of other packages: asked as they are, with options and system messages, or read."""

from __future__ import annotations

from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    get_model,
    modelapi,
)
from inspect_ai.scorer import choice
from inspect_ai.solver import Generate, Solver, TaskState, solver, system_message, use_tools
from inspect_ai.tool import Tool, tool

from longspan.agents.full_context import full_context
from longspan.agents.map_reduce import map_reduce
from longspan.agents.memory import memory_agent
from longspan.agents.retrieval import retrieval
from longspan.agents.run import RunOptions, open_run
from longspan.harness.prompts import render_question
from tests.harness.scripted import SCRIPTS, Request, scripted_model
from tests.harness.words import WordTokens

DOCUMENT = "The harbour lay quiet. " * 200 + "Brem is the mayor of Kukton."
QUESTION = "Who is the mayor of Kukton?"
AGENTS = [memory_agent, map_reduce, retrieval]


@solver
def reader(plain_tokens: int | None = None, max_calls: int | None = None, **options: Any) -> Solver:
    """Reads every chunk with one call and answers; the shortest agent that there can be."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        run = await open_run(
            state, "reader", RunOptions(max_calls=max_calls, **options), [], plain_tokens
        )
        if run.is_whole:
            return await run.ask_whole(generate)
        chunks = run.chunks(plain_tokens or 64)
        if max_calls is None:
            for turn, chunk in enumerate(chunks):
                await run.ask(f"Read: {run.text(chunk)}", turn, 8, [chunk])
        prompt = f"Asked: {render_question(run.query.question, run.query.instructions)}"
        return await run.answer(prompt, generate, len(chunks))

    return solve


def evaluate(
    samples: Any, agent: Solver, say: Any, tmp_path: Any, window: int | None = 512, **task: Any
) -> tuple[EvalLog, list[Request]]:
    model = scripted_model(say, "foreign", window=window, token_counter=WordTokens())
    made = Task(dataset=samples, solver=agent, **task)
    (log,) = eval(made, model, display="none", log_dir=str(tmp_path / "logs"))
    return log, model.api.calls  # type: ignore[attr-defined]


def only(log: EvalLog) -> EvalSample:
    assert log.status == "success", log.error
    assert log.samples is not None
    return log.samples[0]


@pytest.mark.parametrize("agent", [reader, *AGENTS])
def test_a_short_input_is_asked_as_it_is(agent: Any, tmp_path: Any) -> None:
    chat: list[ChatMessage] = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content="Write a poem about tapirs."),
        ChatMessageAssistant(content="Tapirs walk."),
        ChatMessageUser(content="Now repeat it."),
    ]
    solver = agent(state_dir=str(tmp_path / "states"))
    log, (call,) = evaluate([Sample(id=7, input=chat)], solver, lambda _: "Tapirs.", tmp_path)
    assert [(m.role, m.text) for m in call.messages] == [(m.role, m.text) for m in chat]
    assert call.identity == {"sample": "7", "epoch": 1, "turn": 0}
    sample = only(log)
    assert [m.text for m in sample.messages] == [*(m.text for m in chat), "Tapirs."]
    cost = sample.store["longspan:agent"]
    assert cost["query_by"] == "whole_input"
    assert (cost["num_calls"], cost["sequential_calls"], cost["replayed_calls"]) == (1, 1, 0)
    again, calls = evaluate([Sample(id=7, input=chat)], solver, lambda _: "Other.", tmp_path)
    assert calls == [] and only(again).output.completion == "Tapirs."
    assert only(again).store["longspan:agent"]["replayed_calls"] == 1


def test_an_input_longer_than_the_chunk_that_was_asked_for_is_taken_apart(tmp_path: Any) -> None:
    text = f"<text>\n{DOCUMENT[-400:]}\n</text>\n\n{QUESTION}"
    whole, calls = evaluate([Sample(input=text)], reader(), lambda _: "Brem", tmp_path)
    assert len(calls) == 1 and only(whole).store["longspan:agent"]["query_by"] == "whole_input"
    read, calls = evaluate([Sample(input=text)], reader(plain_tokens=32), lambda _: "B", tmp_path)
    assert len(calls) > 2 and only(read).store["longspan:agent"]["query_by"] == "rule"
    long = [Sample(input=f"<text>\n{DOCUMENT}\n</text>\n\n{QUESTION}")]
    read, calls = evaluate(long, reader(plain_tokens=10_000), lambda _: "B", tmp_path)
    assert len(calls) == 2, "half of the window is the most in any case"


def test_the_output_limit_leaves_room_for_the_input(tmp_path: Any) -> None:
    SCRIPTS["foreign"] = lambda _: "Brem"
    model = get_model("scripted/foreign", config=GenerateConfig(max_tokens=100), memoize=False)
    vars(model.api).update(window=128, token_counter=WordTokens())
    task = Task(dataset=[Sample(input="word " * 60)], solver=reader())
    eval(task, model, display="none", log_dir=str(tmp_path))
    (call,) = model.api.calls  # type: ignore[attr-defined]
    assert 0 < call.config.max_tokens <= 128 - 60


CHOICES = ["Ann", "Brem", "Cole"]


@pytest.mark.parametrize("agent", [full_context, reader, *AGENTS])
@pytest.mark.parametrize(("target", "says"), [("B", "ANSWER: B"), (["A", "C"], "ANSWER: A, C")])
def test_options_are_shown_and_the_answer_is_marked(
    agent: Any, target: Any, says: str, tmp_path: Any
) -> None:
    sample = Sample(input="Who is the mayor?", choices=CHOICES, target=target)
    log, (call,) = evaluate([sample], agent(), lambda _: says, tmp_path, scorer=choice())
    assert "Who is the mayor?\n\nA) Ann\nB) Brem\nC) Cole" in call.prompt
    assert ("ANSWER: $LETTERS" in call.prompt) == (target != "B")
    scored = only(log)
    assert scored.scores is not None and scored.scores["choice"].value == "C"


@pytest.mark.parametrize("says", ["ANSWER: A", "Brem, I think."])
def test_a_wrong_answer_and_none_are_not_marked_as_right(says: str, tmp_path: Any) -> None:
    sample = Sample(input="Who is the mayor?", choices=CHOICES, target="B")
    log, _ = evaluate([sample], reader(), lambda _: says, tmp_path, scorer=choice())
    assert only(log).scores["choice"].value == "I"  # type: ignore[index]


def test_options_of_a_long_input_stand_in_its_question(tmp_path: Any) -> None:
    text = f"<text>\n{DOCUMENT}\n</text>\n\n{QUESTION}"
    sample = Sample(input=text, choices=CHOICES, target="B")
    log, calls = evaluate([sample], reader(), lambda _: "ANSWER: B", tmp_path, scorer=choice())
    assert f"{QUESTION}\n\nA) Ann\nB) Brem\nC) Cole" in calls[-1].prompt
    assert "one of A,B,C." in calls[-1].prompt
    assert only(log).scores["choice"].value == "C"  # type: ignore[index]


def test_options_that_are_shown_already_are_shown_once(tmp_path: Any) -> None:
    shown = "Who?\nA) Ann\nB) Brem\nC) Cole\nAnswer as 'ANSWER: B'."
    sample = Sample(input=shown, choices=CHOICES, target="B")
    log, (call,) = evaluate([sample], reader(), lambda _: "ANSWER: B", tmp_path, scorer=choice())
    assert call.prompt == shown
    assert only(log).scores["choice"].value == "C"  # type: ignore[index]


@pytest.mark.parametrize("agent", [reader, *AGENTS])
def test_system_messages_of_the_task_stand_in_front_of_every_prompt(
    agent: Any, make_sample: Any, tmp_path: Any
) -> None:
    french = system_message("Answer in French.")
    foreign = Sample(input=f"<text>\n{DOCUMENT}\n</text>\n\n{QUESTION}")
    for sample in (foreign, make_sample(DOCUMENT)):
        _, calls = evaluate([sample], agent(), lambda _: "Brem", tmp_path, setup=french)
        assert calls
        for call in calls:
            assert [m.role for m in call.messages] == ["system", "user"]
            assert call.messages[0].text == "Answer in French."


@pytest.mark.parametrize("agent", AGENTS)
def test_system_messages_count_in_the_window(agent: Any, make_sample: Any, tmp_path: Any) -> None:
    long = system_message("word " * 200)
    log, calls = evaluate([make_sample(DOCUMENT)], agent(), lambda _: "B", tmp_path, setup=long)
    assert log.status == "success", log.error
    sizes = [sum(WordTokens().count(m.text) for m in call.messages) for call in calls]
    assert max(sizes) < 512
    none = system_message("word " * 600)
    log, calls = evaluate([make_sample(DOCUMENT)], agent(), lambda _: "B", tmp_path, setup=none)
    assert log.error is not None and "system messages fill" in log.error.message and not calls


def test_of_a_long_chat_the_last_message_is_the_question(tmp_path: Any) -> None:
    chat: list[ChatMessage] = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content="Read this. " + DOCUMENT),
        ChatMessageAssistant(content="I have read it."),
        ChatMessageUser(content=QUESTION),
    ]
    log, calls = evaluate([Sample(input=chat)], reader(), lambda _: "Brem", tmp_path)
    assert only(log).store["longspan:agent"]["query_by"] == "rule"
    read = "".join(call.prompt.removeprefix("Read: ") for call in calls[:-1])
    assert read.startswith("user: Read this.") and "assistant: I have read it." in read
    assert QUESTION not in read and calls[-1].prompt == f"Asked: {QUESTION}"


def test_a_last_message_that_is_itself_long_is_taken_apart(tmp_path: Any) -> None:
    chat: list[ChatMessage] = [
        ChatMessageUser(content="Who won?"),
        ChatMessageAssistant(content="Ann."),
        ChatMessageUser(content=f"<text>\n{DOCUMENT}\n</text>\n\n{QUESTION}"),
    ]
    log, calls = evaluate([Sample(input=chat)], reader(), lambda _: "Brem", tmp_path)
    assert only(log).store["longspan:agent"]["query_by"] == "rule"
    read = "".join(call.prompt.removeprefix("Read: ") for call in calls[:-1])
    assert "user: Who won?" in read and "Brem is the mayor" in read
    assert calls[-1].prompt == f"Asked: {QUESTION}"


@pytest.mark.parametrize("max_calls", [1, 2])
def test_the_call_that_asks_for_the_question_counts(max_calls: int, tmp_path: Any) -> None:
    sample = Sample(input=f"{DOCUMENT}\n\n{QUESTION}")
    log, calls = evaluate([sample], reader(max_calls=max_calls), lambda _: "Brem", tmp_path)
    assert len(calls) == 1
    cost = only(log).store["longspan:agent"]
    assert (cost["query_by"], cost["num_calls"]) == ("last_paragraph", 1)
    log, calls = evaluate([sample], reader(max_calls=3), lambda _: "Brem", tmp_path)
    assert "<beginning>" in calls[0].prompt


@tool
def weather() -> Tool:
    """Says the weather."""

    async def execute(place: str) -> str:
        """Says the weather.

        Args:
            place: Where.
        """
        return f"Rain in {place}."

    return execute


OUTPUTS: dict[str, Any] = {}
"""What the models `any-output/<name>` return, call by call."""


@modelapi(name="any-output")
class AnyOutputAPI(ModelAPI):
    """Returns what a test gives, also what our scripted model cannot say."""

    async def count_text_tokens(self, text: str) -> int:
        """Returns a figure: Inspect's own count would need the network."""
        return len(text)

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Returns the test's output for the messages."""
        output: ModelOutput = OUTPUTS[self.model_name](input)
        return output


def run_outputs(outputs: Any, agent: Solver, samples: Any, tmp_path: Any, **task: Any) -> EvalLog:
    OUTPUTS["test"] = outputs
    model = get_model("any-output/test", memoize=False)
    vars(model.api).update(window=512, token_counter=WordTokens())
    made = Task(dataset=samples, solver=agent, **task)
    (log,) = eval(made, model, display="none", log_dir=str(tmp_path))
    return log


def call_tools(agent: Solver, sample: Sample, tmp_path: Any, **task: Any) -> EvalSample:
    """Runs an agent with a model that calls a tool five times before it says anything."""
    left = ["call"] * 5

    def say(_: Any) -> ModelOutput:
        if left:
            left.pop()
            return ModelOutput.for_tool_call("test", "weather", {"place": "Kukton"})
        return ModelOutput.from_content("test", "Rain.")

    return only(run_outputs(say, agent, [sample], tmp_path, **task))


def num_calls(sample: EvalSample) -> int:
    return sum(event.event == "model" for event in sample.events)


@pytest.mark.parametrize("agent", [full_context, reader, *AGENTS])
def test_a_call_of_a_tool_that_is_not_there_is_an_answer(
    agent: Any, make_sample: Any, tmp_path: Any
) -> None:
    sample = call_tools(agent(), make_sample("Brem won."), tmp_path)
    expected = {full_context: 1, retrieval: 1}.get(agent, 2)
    assert num_calls(sample) == expected


def test_a_sample_that_is_asked_as_it_is_keeps_its_tools(tmp_path: Any) -> None:
    for agent in (reader(), full_context()):
        sample = call_tools(agent, Sample(input="Rain?"), tmp_path, setup=use_tools(weather()))
        assert num_calls(sample) == 6 and sample.output.completion == "Rain."
    assert num_calls(call_tools(reader(), Sample(input="Rain?"), tmp_path)) == 1


def test_half_a_surrogate_pair_ends_no_evaluation(make_sample: Any, tmp_path: Any) -> None:
    """A JSON API can deliver one; Inspect cannot hash it in the next prompt."""
    prompts: list[str] = []

    def say(messages: list[ChatMessage]) -> ModelOutput:
        prompts.extend(message.text for message in messages)
        if "<text>" in messages[-1].text:
            text = "<memory>seen \ud800 here</memory><plan>\udfff</plan>"
        else:
            text = "Therefore, the answer is \ud800."
        return ModelOutput.from_content("test", text)

    samples = [make_sample(DOCUMENT) for _ in range(3)]
    for index, sample in enumerate(samples):
        sample.id = f"s/{index}"
    for agent in (reader(), memory_agent(), map_reduce()):
        log = run_outputs(say, agent, samples, tmp_path)
        assert log.status == "success", log.error
        assert log.samples is not None and len(log.samples) == 3
        assert all("\ufffd" in sample.output.completion for sample in log.samples)
        "".join(sample.output.completion for sample in log.samples).encode()
    assert len(prompts) > 20
    "".join(prompts).encode()


def test_half_a_surrogate_pair_of_a_prompt_is_replaced(make_sample: Any, tmp_path: Any) -> None:
    @solver
    def carrying() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            run = await open_run(state, "carrying", RunOptions())
            await run.ask("carried \ud83d\ude00 \ud800", 0)
            return await run.answer("carried \ud800", generate, 1)

        return solve

    log, calls = evaluate([make_sample("Brem won.")], carrying(), lambda _: "Brem", tmp_path)
    assert only(log).output.completion == "Brem"
    assert [call.prompt for call in calls] == ["carried \U0001f600 \ufffd", "carried \ufffd"]
