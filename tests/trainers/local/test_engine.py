"""Engine: right tokens, and results that depend on the request alone."""

import asyncio
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from longspan.harness.errors import ModelError, WindowError
from longspan.trainers.local.decoders import LlamaDecoder, ModuleDecoder
from longspan.trainers.local.engine import Engine, GenerationRequest, default_threads
from longspan.trainers.local.schedule import DivergedError
from tests.trainers.tiny import SIZES, tiny_model, tiny_tokenizer

MODEL = tiny_model()
ENGINE = Engine(MODEL, tiny_tokenizer())
END = ENGINE.tokenizer.eos_token_id


def prompt(length, seed=0):
    rng = random.Random(seed)
    return tuple(rng.randrange(6, 60) for _ in range(length))


def request(length=20, new=12, temperature=1.0, top_p=1.0, seed=0, text=0):
    return GenerationRequest(prompt(length, text), new, temperature, top_p, seed)


def reference(model, asked):
    """Greedy continuation by transformers."""
    ids = torch.tensor([asked.prompt_ids])
    limit = min(asked.max_new_tokens, 256 - len(asked.prompt_ids))
    out = model.generate(ids, max_new_tokens=limit, do_sample=False, eos_token_id=END)
    return out[0, ids.shape[1] :].tolist()


def small(config_class, model_class, **more):
    """A random model of another architecture, sized like the tiny Llama."""
    torch.manual_seed(1)
    config = config_class(
        **{
            "vocab_size": 80,
            **SIZES,
            "max_position_embeddings": 256,
            "initializer_range": 0.3,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": END,
            **more,
        }
    )
    return model_class(config).eval()


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_result_is_bitwise_the_same_alone_in_a_batch_and_in_another_order(data):
    number = st.integers(0, 3)
    asked = data.draw(
        st.lists(
            st.builds(
                request,
                length=st.sampled_from([1, 7, 100, 192]),
                new=st.sampled_from([1, 5, 70]),
                temperature=st.sampled_from([0.0, 0.7, 1.0]),
                top_p=st.sampled_from([0.8, 1.0]),
                seed=number,
                text=number,
            ),
            min_size=2,
            max_size=70,
        )
    )
    together = ENGINE.generate(asked)
    order = data.draw(st.permutations(range(len(asked))))
    assert ENGINE.generate([asked[i] for i in order]) == [together[i] for i in order]
    for i in order[:3]:
        assert ENGINE.generate([asked[i]]) == [together[i]]


def test_rows_refill_and_rows_outgrow_their_part_without_changing_results():
    asked = [request(length=3, new=80, seed=i, text=i % 5) for i in range(20)]
    narrow = Engine(MODEL, ENGINE.tokenizer, max_batch_rows=8)
    together = narrow.generate(asked)
    assert max(len(result.token_ids) for result in together) > 64
    assert [narrow.generate([one])[0] for one in asked[::9]] == together[::9]


@pytest.mark.parametrize("length", [1, 100, 220])
def test_greedy_tokens_are_those_of_transformers_to_the_windows_end(length):
    asked = [request(length, 300, 0.0, text=i) for i in range(2)]
    for one, result in zip(asked, ENGINE.generate(asked), strict=True):
        assert list(result.token_ids) == reference(MODEL, one)
        ended = result.token_ids[-1] == END
        assert result.stop_reason == ("stop" if ended else "max_tokens")
        assert ended or len(result.token_ids) == 256 - length


@pytest.mark.parametrize(
    ("model", "decoder"),
    [
        (small(Qwen2Config, Qwen2ForCausalLM), LlamaDecoder),
        (small(Qwen3Config, Qwen3ForCausalLM), LlamaDecoder),
        (small(MistralConfig, MistralForCausalLM, sliding_window=None), LlamaDecoder),
        (small(MistralConfig, MistralForCausalLM, sliding_window=16), ModuleDecoder),
    ],
    ids=["qwen2", "qwen3", "mistral", "mistral-sliding"],
)
def test_other_architectures_decode_as_transformers_does(model, decoder):
    engine = Engine(model, ENGINE.tokenizer)
    assert isinstance(engine._scheduler.decoder, decoder)
    asked = [request(n, 20, 0.0, text=n) for n in (5, 30, 31)]
    for one, result in zip(asked, engine.generate(asked), strict=True):
        assert list(result.token_ids) == reference(model, one)


def test_both_decoders_give_the_same_tokens():
    modules = Engine(MODEL, ENGINE.tokenizer)
    modules._scheduler.decoder = ModuleDecoder(MODEL)
    asked = [request(50, 30, seed=i, text=i // 4) for i in range(16)]
    for one, other in zip(ENGINE.generate(asked), modules.generate(asked), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_attention_that_the_decoders_do_not_have_is_refused_in_one_line():
    eager = {"attn_implementation": "eager"}  # the others leave the cap out, like our decoders
    capped = small(Gemma2Config, Gemma2ForCausalLM, attn_logit_softcapping=0.1, **eager)
    with pytest.raises(ModelError, match=r"cannot run architecture Gemma2.*vLLM"):
        Engine(capped, ENGINE.tokenizer)


def test_logprobs_are_those_of_the_plain_forward_at_the_sampling_temperature():
    (result,) = ENGINE.generate([request(40, 10, temperature=0.5, top_p=0.9)])
    ids = torch.tensor([[*prompt(40), *result.token_ids]])
    logits = MODEL(ids).logits[0, 39:-1].double() / 0.5
    expected = logits.log_softmax(-1).gather(-1, ids[0, 40:, None])[:, 0]
    assert result.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_weights_changed_in_place_are_used_at_once():
    model = tiny_model(seed=3)
    engine = Engine(model, ENGINE.tokenizer)
    before = engine.generate([request()])
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(-1)
    after = engine.generate([request()])
    assert before != after
    assert after == Engine(model, ENGINE.tokenizer).generate([request()])


def test_concurrent_callers_are_served_together_and_equal_the_synchronous_result():
    sizes = []
    engine = Engine(MODEL, ENGINE.tokenizer)
    plain = engine.generate
    engine._gatherer._work = lambda requests: (sizes.append(len(requests)), plain(requests))[1]
    asked = [request(seed=i) for i in range(40)]

    async def all_at_once():
        return await asyncio.gather(*(engine.submit(one) for one in asked))

    assert asyncio.run(all_at_once()) == plain(asked)
    assert sizes == [40]
    assert asyncio.run(all_at_once()) == plain(asked)  # a second event loop


def test_a_cancelled_caller_does_not_disturb_the_others():
    async def main():
        tasks = [asyncio.create_task(ENGINE.submit(request(seed=i))) for i in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert isinstance(results.pop(2), asyncio.CancelledError)
    assert results == ENGINE.generate([request(seed=i) for i in (0, 1, 3, 4)])


def test_an_engine_error_reaches_every_waiting_caller_and_later_calls_work():
    model = tiny_model(seed=4)
    engine = Engine(model, ENGINE.tokenizer)
    weight = model.model.norm.weight.detach().clone()

    async def main():
        return await asyncio.gather(
            *(engine.submit(request(seed=i)) for i in range(3)), return_exceptions=True
        )

    model.model.norm.weight.data.fill_(float("nan"))
    errors = asyncio.run(main())
    assert [type(error) for error in errors] == [DivergedError] * 3
    assert "not finite" in str(errors[0])
    model.model.norm.weight.data.copy_(weight)
    assert asyncio.run(main()) == engine.generate([request(seed=i) for i in range(3)])


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (request(256), WindowError, "1 to 255 tokens: got 256"),
        (request(0), WindowError, "got 0"),
        (request(new=0), ModelError, "max_new_tokens must be at least 1: got 0"),
        (request(temperature=-1.0), ModelError, "temperature"),
        (request(temperature=float("nan")), ModelError, "temperature"),
        (request(top_p=0.0), ModelError, "top_p"),
        (GenerationRequest((80,), 4, 1.0, 1.0, 0), ModelError, r"\[0, 80\)"),
    ],
)
def test_malformed_requests_are_refused_in_one_line(bad, error, words):
    with pytest.raises(error, match=words) as caught:
        ENGINE.generate([request(), bad])
    assert "\n" not in str(caught.value)


def test_threads_follow_size_and_environment(monkeypatch):
    monkeypatch.delenv("LONGSPAN_THREADS", raising=False)
    assert default_threads(800_000) == 1
    monkeypatch.setenv("LONGSPAN_THREADS", "3")
    assert default_threads(800_000) == 3
    monkeypatch.setenv("LONGSPAN_THREADS", "many")
    with pytest.raises(ModelError, match="LONGSPAN_THREADS"):
        default_threads(1)
