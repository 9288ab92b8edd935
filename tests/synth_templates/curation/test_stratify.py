from pathlib import Path

import pytest
from inspect_ai.log import EvalSampleSummary
from inspect_ai.model import ModelUsage
from inspect_ai.scorer import Score

from longspan.harness.cli import load_command
from longspan.harness.errors import DataError
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.curation.stratify import count_cost, sample_rates
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset


def attempt(name: str, value: float, validity: str = "answered", **changes) -> EvalSampleSummary:
    score = Score(value=value, metadata={"validity": validity})
    usage = {"m": ModelUsage(input_tokens=100, output_tokens=5, total_tokens=105)}
    content = {
        "id": name,
        "epoch": 1,
        "input": "?",
        "target": "x",
        "scores": {"by_sample": score},
        "model_usage": usage,
    }
    return EvalSampleSummary.model_validate({**content, **changes})


def test_a_rate_is_the_mean_of_what_was_scored():
    rates = sample_rates(
        [
            *(attempt("a", 1.0), attempt("a", 0.0), attempt("a", 0.5)),
            *(attempt("b", 0.0, "judge_failed"), attempt("b", 1.0)),
            *(attempt("c", 1.0, "engine_failed"), attempt("c", 1.0, error="lost", scores=None)),
        ]
    )
    assert rates == {"a": 0.5, "b": 1.0, "c": None}


def test_the_cost_counts_calls_and_tokens_of_all_models():
    other = {"judge": ModelUsage(input_tokens=7, output_tokens=1, total_tokens=8)}
    both = [attempt("a", 1.0), attempt("a", 0.0, turn_count=3, model_usage=other)]
    assert count_cost(both) == {"model_calls": 4, "prompt_tokens": 107, "sampled_tokens": 6}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    pytest.importorskip("transformers")
    plan = {"seed": 3, "tokenizer": "nano", "splits": {"train": {96: 24}, "test": {96: 4}}}
    out = tmp_path_factory.mktemp("stratify") / "set"
    return synthesize(parse_plan(plan, "test"), out, quiet=True)


@pytest.mark.slow
def test_samples_are_drawn_evenly_over_what_the_packaged_policy_can_do(world, tmp_path: Path):
    arguments = {"epochs": 4, "bins": 2, "num_samples": 8, "max_tokens": 24, "quiet": True}
    logs = {"log_dir": tmp_path / "logs"}
    stratify = load_command("stratify")
    made = stratify(world.folder, model="nano", out=tmp_path / "one", **arguments, **logs)
    (step,) = made.manifest["lineage"]
    assert (step["parent"]["hash"], step["measured"], step["drawn"]) == (world.hash, 24, 8)
    hard, easy = step["histogram"]
    num_easy = min(easy, max(4, 8 - hard))  # half of them, as far as both bins have so many
    assert step["histogram_drawn"] == [8 - num_easy, num_easy]
    assert set(step["rates"]) == {row.id for row in made.rows("train")}
    assert made.rows("test") == world.rows("test")
    assert made.manifest["cost"]["model_calls"] >= 24 * 4
    assert made.manifest["cost"]["prompt_tokens"] > 24 * 4 * 50
    assert check_taskset(made) == {}
    assert "Made by stratify from" in (made.folder / "card.md").read_text()
    log_files = {file: file.stat().st_mtime_ns for file in (tmp_path / "logs").rglob("*.eval")}
    again = stratify(world.folder, model="nano", out=tmp_path / "two", **arguments, **logs)
    assert again.hash == made.hash
    assert {file: file.stat().st_mtime_ns for file in log_files} == log_files


def test_a_folder_that_is_taken_is_refused_before_anything_is_measured(world, tmp_path: Path):
    out = tmp_path / "taken"
    out.mkdir()
    (out / "file").touch()
    with pytest.raises(DataError, match="exists already"):
        load_command("stratify")(world.folder, model="nano", num_samples=1, out=out, quiet=True)
    assert list(tmp_path.iterdir()) == [out]
