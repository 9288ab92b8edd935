"""Providers: Inspect's terms, seeds by identity, one-line refusals."""

import asyncio

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    get_model,
    modelapi,
)
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, solver
from inspect_ai.tool import ToolInfo

from longspan.harness.errors import ModelError, VocabularyError, WindowError
from longspan.harness.prompts import user_message
from longspan.harness.references import StoredText, refer
from longspan.harness.rollout import CALLS, pop_call, recording
from longspan.trainers.local.chat import split_thinking
from longspan.trainers.local.engine import Engine
from longspan.trainers.local.provider import (
    LocalModelAPI,
    PolicyModelAPI,
    register_policy,
    unregister_policy,
)
from tests.trainers.tiny import save_tiny, tiny_model, tiny_tokenizer

QUESTION = "Question : who is the mayor of Kukton ?"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture
def local(checkpoint):
    return LocalModelAPI(str(checkpoint))


async def ask(api, text=QUESTION, tag=None, tools=(), **config):
    metadata = {"longspan": tag} if tag else None
    messages = [ChatMessageUser(content=text, metadata=metadata)]
    config = GenerateConfig(**{"max_tokens": 8, "temperature": 1.0, **config})
    return await api.generate(messages, list(tools), "none", config)


def run(coroutine):
    return asyncio.run(coroutine)


def test_output_has_text_usage_stop_reason_and_no_call_unless_recording(local):
    output = run(ask(local))
    assert output.stop_reason in ("stop", "max_tokens")
    assert output.usage.output_tokens <= 8
    assert output.usage.input_tokens == len(local.tokenizer.encode(QUESTION)) + 3
    assert output.metadata == {"policy_version": 0}
    assert not CALLS


def test_a_trainer_gets_the_text_and_the_seed_of_a_message_that_refers_to_it(local):
    tag = {"sample": "s", "epoch": 1, "turn": 0}
    document = StoredText(QUESTION)
    plain = ChatMessageUser(content=QUESTION, metadata={"longspan": tag})
    referring = refer(plain, document, [(0, len(QUESTION))])
    assert QUESTION not in referring.text
    config = GenerateConfig(max_tokens=8, temperature=1.0)
    with recording():
        outputs = [run(local.generate([m], [], "none", config)) for m in (plain, referring)]
        calls = [pop_call(output.metadata) for output in outputs]
    assert calls[0] == calls[1]


def test_a_recorded_call_holds_the_exact_tokens(local):
    with recording():
        output = run(ask(local, max_tokens=5))
        call = pop_call(output.metadata)
        assert not CALLS
    assert len(call.token_ids) == len(call.logprobs) == output.usage.output_tokens
    assert len(call.prompt_ids) == output.usage.input_tokens
    assert local.tokenizer.decode(call.prompt_ids).endswith("<|assistant|>")
    assert call.stop_reason == output.stop_reason


def test_a_call_repeats_by_identity_whatever_came_before(local, checkpoint):
    tag = {"sample": "s1", "epoch": 2, "turn": 0}
    first = run(ask(local, tag=tag))
    for other in ({**tag, "epoch": 3}, {**tag, "turn": 1}, {**tag, "sample": "s2"}):
        assert run(ask(local, tag=other)).completion != first.completion
    assert run(ask(local, tag=tag)).completion == first.completion
    assert run(ask(LocalModelAPI(str(checkpoint)), tag=tag)).completion == first.completion
    assert run(ask(local, tag=tag, seed=7)).completion != first.completion


@solver
def vote():
    """Asks the same three times."""

    async def solve(state, generate):
        state.messages = [user_message(QUESTION, state)]
        answers = [(await get_model().generate(state.messages)).completion for _ in range(3)]
        state.store.set("answers", answers)
        return state

    return solve


def test_equal_calls_of_one_sample_differ_and_every_run_repeats_them(checkpoint, tmp_path):
    config = GenerateConfig(max_tokens=8, temperature=1.0)
    model = get_model(f"longspan-local/{checkpoint}", config=config)
    task = Task(dataset=[Sample(id="s1", input=QUESTION)], solver=vote(), scorer=includes())
    answers = []
    for _ in range(2):
        (log,) = eval(task, model, seed=1, display="none", log_dir=str(tmp_path))
        answers.append(log.samples[0].store["answers"])
    assert len(set(answers[0])) == 3
    assert answers[1] == answers[0]


def test_equal_untagged_prompts_differ_and_a_fresh_provider_repeats_them(local, checkpoint):
    texts = [run(ask(local)).completion for _ in range(3)]
    assert len(set(texts)) == 3
    fresh = LocalModelAPI(str(checkpoint))
    assert [run(ask(fresh)).completion for _ in range(3)] == texts


def test_logprobs_come_with_the_choice_when_asked_for(local):
    output = run(ask(local, logprobs=True))
    content = output.choices[0].logprobs.content
    assert len(content) == output.usage.output_tokens
    assert all(entry.logprob < 0 for entry in content)


def test_texts_are_counted_by_one_counter_which_follows_the_policy():
    engines = [Engine(tiny_model(), tiny_tokenizer()) for _ in range(2)]
    register_policy("counted", engines[0])
    try:
        api = PolicyModelAPI("counted")
        assert api.token_counter is api.token_counter
        assert api.token_counter.tokenizer is engines[0].tokenizer
        register_policy("counted", engines[1])
        assert api.token_counter.tokenizer is engines[1].tokenizer
    finally:
        unregister_policy("counted")


def test_instances_of_one_checkpoint_share_its_engine(local, checkpoint):
    assert LocalModelAPI(str(checkpoint)).engine is local.engine
    assert LocalModelAPI(str(checkpoint), window=100).engine is not local.engine
    assert LocalModelAPI(str(checkpoint), window=100).window == 100
    assert len(local.checkpoint_hash) == 16
    assert run(local.count_text_tokens("the mayor of Kukton")) == 4


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"text": "Paris is a wonderful city"}, VocabularyError, "does not know.*'Paris'"),
        ({"text": "town " * 253}, WindowError, "256 tokens but the policy's window is 256"),
        ({"stop_seqs": ["x"]}, ModelError, "does not support stop_seqs"),
        ({"top_k": 5}, ModelError, "does not support top_k"),
        ({"num_choices": 2}, ModelError, "num_choices must be 1"),
        ({"tools": [ToolInfo(name="bash", description="runs")]}, ModelError, "no tool calls"),
    ],
)
def test_refusals_are_one_line_and_never_retried(local, asked, error, words):
    with pytest.raises(error, match=words) as caught:
        run(ask(local, **asked))
    assert "\n" not in str(caught.value)
    assert local.should_retry(caught.value) is False


def test_the_longest_prompt_that_fits_gets_one_token(local):
    output = run(ask(local, text="town " * 252, max_tokens=100))
    assert (output.usage.input_tokens, output.usage.output_tokens) == (255, 1)


def test_media_are_refused_and_reasoning_of_past_turns_is_left_out(local):
    image = ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AA==")])
    with pytest.raises(ModelError, match="only text: got image"):
        run(local.generate([image], [], "none", GenerateConfig()))
    past = ChatMessageAssistant(content=split_thinking("<think>the lamp</think>the town"))
    with recording():
        chat = [ChatMessageSystem(content="the"), ChatMessageUser(content="who ?"), past]
        output = run(local.generate(chat, [], "none", GenerateConfig(max_tokens=1)))
        shown = local.tokenizer.decode(pop_call(output.metadata).prompt_ids)
    assert "town" in shown and "lamp" not in shown


def test_thinking_is_split_from_the_answer():
    assert split_thinking("plain") == "plain"
    for text in ("<think>a b</think>c", "a b\n</think>\nc"):
        thought, answer = split_thinking(text)
        assert (thought.reasoning, answer.text) == ("a b", "c")
    thought, answer = split_thinking("<think>cut off")
    assert (thought.reasoning, answer) == ("cut off", ContentText(text=""))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("no-such-name", {}, "no packaged checkpoint or folder 'no-such-name'"),
        ("/no/such/folder", {}, "no such checkpoint folder"),
        (None, {"speed": 3}, "unknown model option: speed"),
        (None, {"dtype": "int4"}, "unknown dtype: int4"),
        (None, {"window": 1000}, r"window must be in \[2, 256\]"),
        (None, {"device": "tpu"}, "unknown device: tpu"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(checkpoint, name, options, words):
    with pytest.raises(ModelError, match=words) as caught:
        LocalModelAPI(name or str(checkpoint), **options)
    assert "\n" not in str(caught.value)


def test_a_policy_is_served_while_it_is_registered():
    engine = Engine(tiny_model(), tiny_tokenizer(), policy_version=4)
    register_policy("test-policy", engine)
    api = PolicyModelAPI("test-policy")
    assert run(ask(api)).metadata == {"policy_version": 4}
    register_policy("test-policy", Engine(tiny_model(), tiny_tokenizer(), policy_version=5))
    assert run(ask(api)).metadata == {"policy_version": 5}
    unregister_policy("test-policy")
    with pytest.raises(ModelError, match="no policy 'test-policy'"):
        PolicyModelAPI("test-policy")


@solver
def tagged():
    async def solve(state, generate):
        state.messages = [user_message(state.input_text, state)]
        return await generate(state)

    return solve


def evaluate(checkpoint, tmp_path, texts, **settings):
    modelapi(name="longspan-local-test")(LocalModelAPI)
    task = Task(
        dataset=[Sample(input=text, target="a", id=i) for i, text in enumerate(texts)],
        solver=settings.pop("solver", generate()),
        scorer=includes(),
    )
    model = get_model(f"longspan-local-test/{checkpoint}", memoize=False)
    options = {"display": "none", "log_dir": str(tmp_path), "fail_on_error": False}
    return eval(task, model=model, **options, **settings)[0]


def test_two_evaluations_in_one_process_repeat_whatever_the_concurrency(checkpoint, tmp_path):
    texts = [f"{QUESTION} {'the town ' * i}" for i in range(6)]
    answers = []
    for connections in (None, 2):
        log = evaluate(
            checkpoint,
            tmp_path,
            texts,
            solver=tagged(),
            epochs=3,
            max_tokens=6,
            max_connections=connections,
        )
        assert log.status == "success"
        answers.append(
            {(sample.id, sample.epoch): sample.output.completion for sample in log.samples}
        )
    assert answers[0] == answers[1]
    assert len(set(answers[0].values())) > 6


def test_a_refused_sample_fails_at_once_and_alone(checkpoint, tmp_path):
    log = evaluate(checkpoint, tmp_path, [QUESTION, "Paris wonderful city"], max_tokens=4)
    fine, refused = sorted(log.samples, key=lambda sample: sample.id)
    assert fine.error is None and fine.scores
    assert "does not know" in refused.error.message
    assert sum(event.event == "model" for event in refused.events) == 1
