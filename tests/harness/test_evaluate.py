"""Evaluation of one unit: whole logs are kept, unfinished ones continued, damaged set aside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import Score, match, mean, scorer
from inspect_ai.solver import SolverSpec, solver

from longspan.harness.errors import ModelError, SpecError
from longspan.harness.eval_command import eval_command, summary_line
from longspan.harness.evaluate import (
    EvaluationSettings,
    evaluate,
)
from longspan.harness.generation import GenerationSettings
from longspan.harness.unit import DAMAGED_SUFFIX, FAILED_SUFFIX, local_path
from tests.harness.scripted import scripted_model

KILLED_AFTER = 25
REPOSITORY = Path(__file__).parents[2]


def numbers(count: int = 4, **kwargs) -> Task:
    samples = [Sample(id=str(i), input=f"What is {i}?", target=str(i)) for i in range(count)]
    return Task(**{"dataset": samples, "scorer": match(), "name": "numbers", **kwargs})


@solver
def shouting():
    async def solve(state, generate):
        state.user_prompt.text = state.user_prompt.text.upper()
        return await generate(state)

    return solve


def samples_of(log: EvalLog):
    return read_eval_log(log.location).samples


def test_a_log_says_what_was_evaluated(tmp_path):
    settings = EvaluationSettings(
        generation=GenerationSettings(temperature=0.3, top_p=0.9, max_tokens=5, seed=11), epochs=2
    )
    labels = {"longspan_checkpoint": "base", "longspan_input_over_window": 4, "longspan_step": 7}
    log = evaluate(numbers(), scripted_model("0"), tmp_path, settings, metadata=labels)
    assert log.status == "success" and local_path(log).is_file()
    config = log.plan.config
    assert (config.temperature, config.top_p, config.max_tokens, config.seed) == (0.3, 0.9, 5, 11)
    assert log.eval.config.epochs == 2
    assert log.eval.metadata == {
        **labels,
        "longspan_checkpoint_hash": None,
        "longspan_solver": "generate",
    }
    assert log.results.scores[0].metrics["accuracy"].value == 0.25


def test_a_finished_unit_is_not_run_again(tmp_path):
    model = scripted_model("0")
    first = evaluate(numbers(), model, tmp_path)
    second = evaluate(numbers(), model, tmp_path)
    assert len(model.api.calls) == 4 and first.location == second.location


@pytest.mark.parametrize(
    "change",
    [
        {"settings": EvaluationSettings(generation=GenerationSettings(temperature=0.1))},
        {"settings": EvaluationSettings(limit=2)},
        {"solver": SolverSpec("shouting")},
        {"metadata": {"longspan_step": 8}},
        {"task": numbers(version="2")},
        {"task": numbers(3)},
    ],
)
def test_another_unit_has_another_log(tmp_path, change):
    model = scripted_model("0")
    first = evaluate(numbers(), model, tmp_path)
    other = {"task": numbers(), "model": model, **change}
    second = evaluate(other.pop("task"), other.pop("model"), tmp_path, **other)
    assert first.location != second.location and len(model.api.calls) > 4
    assert local_path(first).is_file() and local_path(second).is_file()


def test_a_solver_takes_the_place_of_the_tasks_own(tmp_path):
    model = scripted_model("0")
    log = evaluate(numbers(), model, tmp_path, solver=SolverSpec("shouting"))
    assert "WHAT IS 0?" in [call.prompt for call in model.api.calls]
    assert log.eval.metadata["longspan_solver"] == "shouting"


def kill_during_evaluation(folder: Path) -> None:
    """Runs an evaluation of 40 samples in a process that is killed in its 25th call."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.harness.scripted import scripted_model\n"
        "from tests.harness.test_evaluate import KILLED_AFTER, numbers\n"
        "from longspan.harness.evaluate import evaluate\n"
        "def script(call):\n"
        "    if len(model.api.calls) == KILLED_AFTER:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return '0'\n"
        "model = scripted_model(script)\n"
        "model.config.max_connections = 8\n"
        "evaluate(numbers(40), model, Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path):
    kill_during_evaluation(tmp_path)
    (unfinished,) = tmp_path.rglob("*.eval")
    assert read_eval_log(str(unfinished), header_only=True).status == "started"
    model = scripted_model("0")
    log = evaluate(numbers(40), model, tmp_path)
    assert 0 < len(model.api.calls) < 40, "samples that were written are not asked again"
    assert sorted(int(one.id) for one in samples_of(log)) == list(range(40))
    assert list(tmp_path.rglob("*.eval")) == [local_path(log)], "the unfinished log is gone"


def test_a_damaged_log_is_set_aside_and_done_again(tmp_path):
    kill_during_evaluation(tmp_path)
    (unfinished,) = tmp_path.rglob("*.eval")
    os.truncate(unfinished, unfinished.stat().st_size // 2)
    model = scripted_model("0")
    log = evaluate(numbers(40), model, tmp_path)
    assert len(model.api.calls) == 40 and len(samples_of(log)) == 40
    assert [path.name for path in tmp_path.rglob(f"*{DAMAGED_SUFFIX}")] == [
        unfinished.name + DAMAGED_SUFFIX
    ]
    assert list(tmp_path.rglob("*.eval")) == [local_path(log)]


def test_failed_samples_are_no_zeros_but_missing_coverage(tmp_path):
    def script(call):
        return "!engine is broken" if "3" in call.prompt else "0"

    log = evaluate(numbers(), scripted_model(script), tmp_path)
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(1 / 3)
    assert "3 of 4 samples scored" in summary_line(log)


def test_an_evaluation_in_which_nothing_is_scored_is_an_error_and_is_not_kept(tmp_path):
    with pytest.raises(ModelError, match="not one of 4 samples.*engine is broken"):
        evaluate(numbers(), scripted_model("!engine is broken"), tmp_path)
    assert not list(tmp_path.rglob("*.eval")) and list(tmp_path.rglob(f"*{FAILED_SUFFIX}"))
    assert evaluate(numbers(), scripted_model("0"), tmp_path).status == "success"


def test_scores_that_are_not_numbers_are_not_scored(tmp_path):
    @scorer(metrics=[mean()])
    def unscored():
        async def score(state, target):
            return Score.unscored(reason="grader_failed")

        return score

    with pytest.raises(ModelError, match="not one of 4 samples"):
        evaluate(numbers(scorer=unscored()), scripted_model("0"), tmp_path)


def test_missing_things_are_found_before_anything_runs(tmp_path):
    with pytest.raises(ModelError, match="cannot use model nowhere/model"):
        evaluate(numbers(), "nowhere/model", tmp_path)
    with pytest.raises(ModelError, match="judge/none"):
        evaluate(numbers(), scripted_model("0"), tmp_path, model_roles={"grader": "judge/none"})
    with pytest.raises(SpecError, match="unknown task"):
        eval_command("nonsense", model="scripted/model", log_dir=tmp_path)
    with pytest.raises(SpecError, match="top_p"):
        eval_command("nonsense", model="scripted/model", top_p=0.0)
    with pytest.raises(SpecError, match="without a solver"):
        eval_command("nonsense", model="scripted/model", solver_args=["a=1"])
    assert list(tmp_path.iterdir()) == []
