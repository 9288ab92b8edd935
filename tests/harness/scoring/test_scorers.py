"""Scorers: one rule, never an exception, failure is no zero."""

import asyncio
import math

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelName, ModelOutput, get_model
from inspect_ai.scorer import SampleScore, Score, Target
from inspect_ai.solver import TaskState, solver

from longspan.harness.errors import SpecError
from longspan.harness.scoring.aggregates import mean_by_task_type, stderr
from longspan.harness.scoring.grading import GradeOptions, grade
from longspan.harness.scoring.scorers import (
    SCORERS,
    by_sample,
    find_scorer,
)
from longspan.harness.tokens import TRUNCATION_KEY
from tests.harness.scripted import scripted_model

cover_exact_match, letter, numeric, sequence_ratio = (
    SCORERS[name] for name in ("cover_exact_match", "letter", "numeric", "sequence_ratio")
)
SAY = "Therefore, the answer is {}."


def state(completion, stop_reason="stop", metadata=None, store=None):
    output = ModelOutput()
    if completion is not None:
        output = ModelOutput.from_content("mock/m", completion, stop_reason=stop_reason)
    result = TaskState(
        model=ModelName("mock/m"),
        sample_id="s",
        epoch=1,
        input="q",
        messages=[],
        output=output,
        metadata=metadata or {},
    )
    for key, value in (store or {}).items():
        result.store.set(key, value)
    return result


def run(scorer, *args, **kwargs):
    target = kwargs.pop("target", "Karo")
    return asyncio.run(scorer(state(*args, **kwargs), Target(target)))


def test_endings_by_hand():
    assert grade("cover_exact_match", SAY.format("Karo"), ["Karo"]).validity == "answered"
    silent = grade("cover_exact_match", "Karo", ["Karo"])
    assert (silent.value, silent.validity, silent.answer) == (0.0, "no_answer", None)
    cut = grade("cover_exact_match", SAY.format("Karo"), ["Karo"], "max_tokens")
    assert (cut.value, cut.validity, cut.answer) == (0.0, "cut_off", "Karo")
    unknown = grade("cover_exact_match", SAY.format("Karo"), ["Karo"], "unknown")
    assert (unknown.value, unknown.validity) == (1.0, "unknown")


def test_without_the_phrase_the_whole_completion_may_answer():
    free = GradeOptions(require_phrase=False)
    assert grade("letter", "(B)", ["B"], options=free).value == 1.0
    assert grade("numeric", "12 lamps", ["12"], options=free).value == 1.0
    assert grade("letter", "", ["B"], options=free).validity == "no_answer"


def test_the_best_of_several_gold_answers_counts():
    assert grade("cover_exact_match", SAY.format("Roma"), ["Rome", "Roma"]).value == 1.0


def test_an_unknown_measure_is_a_failure_of_the_scorer():
    failed = grade("bleu", "x", ["x"])
    assert failed.value is None and failed.validity == "scorer_failed"
    assert "unknown scorer" in (failed.explanation or "")


@pytest.mark.parametrize("make", SCORERS.values())
def test_an_errored_sample_has_no_score(make):
    score = run(make(), None, metadata={"scorer": "letter"})
    assert math.isnan(score.value) and score.metadata["validity"] == "engine_failed"


def test_a_score_carries_the_truncation_ledger():
    ledger = {"tokens_dropped": 3, "side": "middle"}
    score = run(letter(), SAY.format("B"), target="B", store={TRUNCATION_KEY: ledger})
    forms = {"strict": 1.0, "compat": 0.0}  # the authors want "The correct answer is (B)"
    assert score.metadata == {
        "scorer": "letter",
        "truncation": ledger,
        "validity": "answered",
        **forms,
    }


def test_options_of_a_scorer_reach_the_measure():
    assert run(numeric(tolerance=0.1), SAY.format(105), target="100").value == 1.0
    assert run(cover_exact_match(max_extra_words=0), SAY.format("in Karo")).value == 0.0


def test_an_option_that_a_scorer_does_not_take_is_refused():
    with pytest.raises(SpecError, match="scorer letter has no option 'tolerance'; it has: none"):
        letter(tolerance=0.1)
    with pytest.raises(SpecError, match="scoring must be strict or compat: got 'lenient'"):
        by_sample(scoring="lenient")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (cover_exact_match, {"max_extra_words": "many"}, "must be a whole number.*: got 'many'"),
        (cover_exact_match, {"max_extra_words": -1}, "at least 0: got -1"),
        (cover_exact_match, {"max_extra_words": 1.5}, "a whole number, at least 0: got 1.5"),
        (cover_exact_match, {"max_extra_words": True}, "a whole number, at least 0: got True"),
        (numeric, {"tolerance": None}, "a number, at least 0: got None"),
        (numeric, {"tolerance": float("nan")}, "a number, at least 0: got nan"),
        (numeric, {"tolerance": float("inf")}, "a number, at least 0: got inf"),
        (by_sample, {"require_phrase": "maybe"}, "must be true or false: got 'maybe'"),
        (letter, {"require_phrase": 1}, "must be true or false: got 1"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_when_the_scorer_is_made(make, options, message):
    with pytest.raises(SpecError, match=message):
        make(**options)


def test_the_authors_form_can_be_the_score_and_may_leave_samples_out():
    theirs = letter(scoring="compat")
    assert run(theirs, "The correct answer is Austria.", target="A").value == 1.0
    cut = run(theirs, "The correct answer is (A)", "max_tokens", target="A")
    assert (cut.value, cut.metadata["validity"]) == (1.0, "cut_off")  # they do not look
    empty = run(theirs, "", target="A")
    assert math.isnan(empty.value) and "out of its average" in empty.explanation
    assert run(letter(), "", target="A").value == 0.0
    assert math.isnan(run(numeric(scoring="compat"), SAY.format(1), target="1").value)


def metrics_of(answers, folder, epochs=1):
    samples = [Sample(id=f"s{i}", input="q", target="A") for i in range(len(answers) // epochs)]
    said = iter(answers)
    model = scripted_model(lambda prompt: next(said))
    task = Task(dataset=samples, scorer=letter(), epochs=epochs)
    (log,) = eval(task, model=model, log_dir=str(folder), max_samples=1, display="none")
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def test_the_mean_of_the_authors_form_and_its_number_of_samples_are_metrics(tmp_path):
    austria = "The correct answer is Austria."
    metrics = metrics_of([austria, "", "The correct answer is B", austria], tmp_path)
    assert metrics["mean"] == 0.0 and metrics["compat"] == pytest.approx(2 / 3)
    assert metrics["compat_n"] == 3  # their code leaves the empty one out
    nothing = metrics_of(["", ""], tmp_path)
    assert math.isnan(nothing["compat"]) and nothing["compat_n"] == 0


def test_over_epochs_the_authors_form_is_that_of_the_first(tmp_path):
    answers = ["The correct answer is (A)", "The correct answer is (B)"]
    metrics = metrics_of(answers, tmp_path, epochs=2)
    assert (metrics["mean"], metrics["compat"], metrics["compat_n"]) == (0.5, 1.0, 1)


def test_by_sample_scores_with_the_samples_own_scorer():
    scorer = by_sample()
    assert run(scorer, SAY.format("B"), target="B", metadata={"scorer": "letter"}).value == 1.0
    ratio = run(scorer, "Karx", target="Karo", metadata={"scorer": "sequence_ratio"})
    assert ratio.value == 0.75
    missing = run(scorer, SAY.format("B"), target="B")
    assert math.isnan(missing.value) and missing.metadata["validity"] == "scorer_failed"


def test_a_gold_answer_of_the_wrong_kind_is_no_zero():
    score = run(letter(), SAY.format("B"), target="Paris")
    assert math.isnan(score.value) and score.metadata["validity"] == "scorer_failed"
    assert "not one option letter" in score.explanation


def test_a_very_long_completion_is_scored_all_the_same():
    assert run(sequence_ratio(), "ab" * 300_000, target="Karo").value < 0.01


def test_an_unknown_scorer_is_one_line():
    with pytest.raises(SpecError, match="unknown scorer: bleu; choose one of cover_exact_match"):
        find_scorer("bleu")
    assert find_scorer("longspan/letter") is letter


def scores(values, groups):
    return [
        SampleScore(score=Score(value=value), sample_id=str(i), sample_metadata=group)
        for i, (value, group) in enumerate(zip(values, groups, strict=True))
    ]


def test_the_standard_error_is_clustered_where_every_sample_has_a_group():
    values = [1.0, 1.0, 0.0, 0.0]
    plain = stderr()(scores(values, [None] * 4))
    assert plain == pytest.approx(math.sqrt((4 * 0.25 / 3) / 4))
    worlds = [{"document_group": name} for name in "aabb"]
    # Deviation sums of the two clusters: +1 and -1; sqrt((1 + 1) * 2 / (2 - 1)) / 4 = 0.5.
    assert stderr()(scores(values, worlds)) == pytest.approx(0.5)
    partly = [{"document_group": "a"}] * 3 + [{}]
    assert stderr()(scores(values, partly)) == plain
    assert stderr()(scores(values, [{"document_group": "a"}] * 4)) == plain


def test_means_by_task_type_leave_out_samples_without_one():
    types = [{"task_type": "multi_hop"}, {"task_type": "multi_hop"}, {"task_type": None}, None]
    assert mean_by_task_type()(scores([1.0, 0.0, 1.0, 1.0], types)) == {"multi_hop": 0.5}
    assert mean_by_task_type()(scores([1.0], [None])) == {}


@solver
def reads_in_vain():
    """Calls the model and leaves no output, as a memory agent that is stopped half way."""

    async def solve(state, generate):
        await get_model().generate("chunk")
        await get_model().generate("chunk")
        return state

    return solve


@pytest.mark.parametrize(("limit", "validity"), [(1, "cut_off"), (None, "engine_failed")])
def test_a_sample_that_used_up_its_limit_is_cut_off_and_scores_zero(tmp_path, limit, validity):
    sample = Sample(id="s", input="q", target="B")
    task = Task(dataset=[sample], solver=reads_in_vain(), scorer=letter(), token_limit=limit)
    log = eval(task, model=scripted_model("x"), log_dir=str(tmp_path), display="none")[0]
    score = log.samples[0].scores["letter"]
    assert score.metadata["validity"] == validity
    assert score.value == 0.0 or (limit is None and math.isnan(score.value))
    assert log.results.scores[0].unscored_samples == int(limit is None)
