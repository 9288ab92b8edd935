"""Canaries: pairs beyond dispute, error rates by hand, one measurement per judge and prompt."""

import asyncio
import math
from collections import Counter
from pathlib import Path

import anyio
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import GenerateConfig, Model
from inspect_ai.scorer import SampleScore, Score
from inspect_ai.solver import generate

from longspan.harness.scoring import canaries as module
from longspan.harness.scoring.canaries import canaries, judge_quality, measure, quality
from longspan.harness.scoring.judge import Verdict, ask
from longspan.harness.scoring.judge_prompts import FORMS, neutralise, prompt
from longspan.harness.scoring.scorers import SCORERS
from tests.harness.scripted import Request, scripted_model

ALL = [one for form in FORMS for one in canaries(form)]
RIGHT = {prompt(one.request).user: one.meets for one in ALL}


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(module, "_verdicts", {})


def perfect(request: Request) -> str:
    return "As I see it.\n" + ("[[YES]]" if RIGHT[request.prompt] else "[[NO]]")


def measured(script, form="equivalence"):
    model = scripted_model(script, name="grader")
    return asyncio.run(measure(model, form)), model


def test_there_are_canaries_of_both_verdicts_for_every_form():
    assert len(canaries("equivalence")) >= 24
    for form in FORMS:
        counts = Counter(one.meets for one in canaries(form))
        assert min(counts[True], counts[False]) >= 3
    assert len(RIGHT) == len(ALL), "no pair stands there twice"


def test_the_page_on_the_judge_tells_how_many_there_are():
    page = (Path(__file__).parents[3] / "docs" / "judge.md").read_text(encoding="utf-8")
    for form in FORMS:
        num_positive = sum(one.meets for one in canaries(form))
        num_negative = len(canaries(form)) - num_positive
        assert f"| `{form}` | {num_positive} | {num_negative} |" in page


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.request.form}/{one.kind}")
def test_a_canary_is_a_request_of_texts(one):
    texts = [one.request.question, *one.request.gold, one.request.answer]
    assert all(isinstance(text, str) for text in texts) and one.request.gold
    assert isinstance(one.meets, bool) and one.request.question and one.request.gold[0]


def test_some_canaries_speak_to_the_judge_and_are_neutralised():
    answers = [one.request.answer for one in ALL if not one.meets]
    assert any("[[YES]]" in answer for answer in answers)
    assert any("</answer>" in answer for answer in answers)
    assert not any("[[" in neutralise(answer) for answer in answers)


def test_the_ideal_judge_has_no_errors():
    for form in FORMS:
        found, model = measured(perfect, form)
        assert (found.false_positive_rate, found.false_negative_rate) == (0.0, 0.0)
        assert found.num_failed == 0
        assert found.num_positive + found.num_negative == len(model.api.calls)


def test_judges_that_always_say_the_same_have_one_error_each():
    yes, _ = measured("[[YES]]")
    assert (yes.false_positive_rate, yes.false_negative_rate) == (1.0, 0.0)
    module._verdicts.clear()
    no, _ = measured("[[NO]]")
    assert (no.false_positive_rate, no.false_negative_rate) == (0.0, 1.0)


@pytest.mark.parametrize("script", ["I cannot say", "!down", "[[YES]] and so..."])
def test_a_judge_that_says_nothing_has_no_rates(script):
    found, _ = measured(script)
    assert (found.false_positive_rate, found.false_negative_rate) == (None, None)
    assert found.num_failed == found.num_positive + found.num_negative


def test_rates_by_hand():
    positives = [one for one in ALL if one.meets][:4]
    negatives = [one for one in ALL if not one.meets][:5]
    values = [True, True, False, None, True, False, False, False, None]
    said = {
        canary: Verdict(value, "", 0, 0, "m", "h")
        for canary, value in zip([*positives, *negatives], values, strict=True)
    }
    found = quality(said)
    assert (found.num_positive, found.num_negative, found.num_failed) == (4, 5, 2)
    assert found.false_negative_rate == 1 / 3  # one no among three spoken positives
    assert found.false_positive_rate == 1 / 4


def test_concurrent_scorers_share_one_measurement():
    model = scripted_model(perfect, name="grader")

    async def many():
        return await asyncio.gather(*(measure(model) for _ in range(5)))

    found = asyncio.run(many())
    assert len(set(found)) == 1
    asyncio.run(many())  # another event loop, as in the next step of training
    assert len(model.api.calls) == len(canaries("equivalence"))


def test_another_judge_prompt_or_configuration_is_measured_anew():
    model = scripted_model(perfect, name="grader")
    asyncio.run(measure(model, "temporal"))
    asyncio.run(measure(model, "abstention"))
    asyncio.run(measure(Model(model.api, GenerateConfig(temperature=1.0)), "temporal"))
    expected = 2 * len(canaries("temporal")) + len(canaries("abstention"))
    assert len(model.api.calls) == expected


def test_a_measurement_that_is_cut_short_goes_on_where_it_stopped(monkeypatch):
    model = scripted_model(perfect, name="grader")
    answered = 0

    async def slow(model, request):
        nonlocal answered
        if answered == 10:
            await anyio.sleep_forever()
        answered += 1
        return await ask(model, request)

    async def cut_short():
        with anyio.move_on_after(0.2):
            await measure(model)
        monkeypatch.undo()
        monkeypatch.setattr(module, "_verdicts", kept)
        return await measure(model)

    kept = module._verdicts
    monkeypatch.setattr(module, "ask", slow)
    found = asyncio.run(cut_short())
    assert found.num_failed == 0
    assert len(model.api.calls) == len(canaries("equivalence"))


def sample_score(judge):
    return SampleScore(score=Score(value=1.0, metadata=judge and {"judge": judge}))


def test_the_metric_is_the_mean_over_judged_samples():
    first = {"num_positive": 2, "num_negative": 2, "num_failed": 1}
    first |= {"false_positive_rate": 0.5, "false_negative_rate": 0.0}
    second = {"num_positive": 4, "num_negative": 4, "num_failed": 0}
    second |= {"false_positive_rate": 0.2, "false_negative_rate": None}
    judged = [{"quality": first}, {"quality": first}, {"quality": second}, {"model": "m"}, None]
    found = judge_quality()([sample_score(one) for one in judged])
    assert found == {
        "judge_false_positive_rate": pytest.approx((0.5 + 0.5 + 0.2) / 3),
        "judge_false_negative_rate": 0.0,
        "judge_canary_failed_rate": pytest.approx(0.5 / 3),
    }
    assert judge_quality()([sample_score(None)]) == {}


def run(tmp_path, script, **roles):
    names = ["right", "wrong", "broken", "right"]
    samples = [Sample(id=i, input=name, target="right") for i, name in enumerate(names)]
    scorer = SCORERS["cover_exact_match"](require_phrase=False)
    task = Task(dataset=samples, solver=generate(), scorer=scorer)
    policy = scripted_model(lambda request: request.prompt, name="policy")
    log = eval(
        task,
        model=policy,
        model_roles=roles or None,
        log_dir=str(tmp_path),
        display="none",
        epochs=2,
    )[0]
    return read_eval_log(log.location, header_only=True).results.scores[0]


def test_the_log_header_carries_the_judges_error_rates(tmp_path):
    def script(request: Request) -> str:
        if request.prompt in RIGHT:
            return "[[YES]]"
        return "no idea" if "broken" in request.prompt else "[[NO]]"

    grader = scripted_model(script, name="grader")
    score = run(tmp_path, script, grader=grader)
    assert score.metrics["judge_false_positive_rate"].value == 1.0
    assert score.metrics["judge_false_negative_rate"].value == 0.0
    assert score.metrics["judge_canary_failed_rate"].value == 0.0
    # Two of three scored samples are right; the one whose judge failed is in no metric.
    assert score.metrics["mean"].value == pytest.approx(2 / 3)
    assert (score.scored_samples, score.unscored_samples) == (3, 1)
    assert len(grader.api.calls) == len(canaries("equivalence")) + 4


def test_a_run_without_a_judge_has_no_rates(tmp_path):
    score = run(tmp_path, "")
    assert not any(name.startswith("judge_") for name in score.metrics)
    assert not math.isnan(score.metrics["mean"].value)
