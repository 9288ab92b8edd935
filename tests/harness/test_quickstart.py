"""The quickstart's jobs, its refusal to mix runs, and its summary."""

import json
from pathlib import Path

import pytest
import yaml

from longspan.harness import quickstart as settings
from longspan.harness.errors import DataError
from longspan.harness.quickstart import (
    BASE,
    CEILING,
    LENGTHS,
    RECIPE,
    TRAINED,
    _require_same_run,
    evaluation_job,
    quickstart,
    synthesis_jobs,
    training_job,
    units_of,
)
from longspan.harness.quickstart_summary import summarize, training_cost, write_summary


def row(checkpoint: str, solver: str, windows: int, accuracy: float) -> dict[str, object]:
    return {
        "checkpoint": checkpoint,
        "solver": solver,
        "input_over_window": windows,
        "accuracy": accuracy,
        "interval": [accuracy - 0.1, accuracy + 0.1],
        "num_samples": 50,
        "coverage": 1.0,
    }


def board() -> dict[str, object]:
    difference = {
        "checkpoint": TRAINED,
        "baseline": BASE,
        "solver": "full_context",
        "input_over_window": 1,
        "mean": 0.1,
        "interval": [0.02, 0.18],
        "num_samples": 50,
    }
    rows = [
        row(BASE, "full_context", 1, 0.4),
        row(BASE, "memory_agent", 16, 0.3),
        row(TRAINED, "full_context", 1, 0.5),
        row(CEILING, "full_context", 1, 0.7),
    ]
    totals = {"calls": 200, "input_tokens": 1000, "output_tokens": 100, "seconds": 3.0}
    return {
        "numbers": {"rows": rows, "differences": [difference]},
        "cost": {"totals": totals},
        "notes": ["Not all evaluations were sampled alike."],
    }


def write_metrics(folder, num_steps: int) -> None:
    step = {
        "num_rollouts": 160,
        "prompt_tokens": 3000,
        "sampled_tokens": 1000,
        "rollout_seconds": 1.5,
        "train_seconds": 0.5,
    }
    folder.mkdir(parents=True)
    text = "".join(json.dumps(step) + "\n" for _ in range(num_steps))
    (folder / "metrics.jsonl").write_text(text)


def test_the_summary_has_the_declared_keys_and_the_boards_numbers():
    summary = summarize(board(), seed=3)
    assert summary["seed"] == 3 and "longspan" in summary["versions"]
    assert summary["accuracy"] == {"base": 0.4, "trained": 0.5, "ceiling": 0.7}
    assert summary["difference"] == {"mean": 0.1, "interval": [0.02, 0.18], "num_samples": 50}
    assert [set(one) for one in summary["by_solver_and_length"]] == [
        {"checkpoint", "solver", "input_over_window", "accuracy", "interval", "num_samples"}
    ] * 4


def test_a_board_without_an_evaluation_is_an_error_in_one_line():
    lacking = board()
    lacking["numbers"]["rows"].pop()
    with pytest.raises(DataError, match="no result for nano-ceiling"):
        summarize(lacking, seed=0)


def test_the_written_summary_says_what_was_found_and_what_it_cost(tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "board.json").write_text(json.dumps(board()))
    write_metrics(tmp_path / "training" / "stage", 2)
    text = write_summary(tmp_path, 0, 12.0)
    assert "+10.0 points, paired 95% interval +2.0 to +18.0" in text
    assert "2 steps, 320 rollouts" in text
    assert "Not all evaluations were sampled alike." in text
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["cost"]["training"] == training_cost(tmp_path / "training")
    assert written["cost"]["training"]["rollout_seconds"] == 3.0


def test_a_folder_of_other_settings_is_refused(tmp_path):
    _require_same_run(tmp_path, 0, 1.0)
    _require_same_run(tmp_path, 0, 1.0)
    with pytest.raises(DataError, match="run with other settings"):
        _require_same_run(tmp_path, 1, 1.0)


def test_a_folder_of_other_constants_is_refused(tmp_path, monkeypatch):
    _require_same_run(tmp_path, 0, 1.0)
    monkeypatch.setattr(settings, "AGENT_OPTIONS", {"layout": "chunk_first"})
    with pytest.raises(DataError, match="run with other settings"):
        _require_same_run(tmp_path, 0, 1.0)


def test_a_damaged_run_file_is_an_error_in_one_line(tmp_path):
    (tmp_path / "quickstart.json").write_text('{"seed": 0, "sca')
    with pytest.raises(DataError, match="damaged: .*quickstart.json .*; choose another --out"):
        _require_same_run(tmp_path, 0, 1.0)


def test_an_output_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        quickstart(out=tmp_path / "file")


def test_scale_shrinks_samples_and_steps_but_no_length(tmp_path):
    jobs = synthesis_jobs(tmp_path, seed=1, scale=0.1)
    plans = [yaml.safe_load(job.arguments["plan"].read_text()) for job in jobs]
    assert [list(plan["splits"]["test"]) for plan in plans] == [[n] for n in LENGTHS.values()]
    assert plans[0]["splits"]["test"][LENGTHS[1]] == 80
    worlds = [plan.get("source", {}).get("samples_per_world") for plan in plans]
    assert worlds == [None, 8, 8]  # few long samples come from enough worlds
    recipe = yaml.safe_load(Path(training_job(tmp_path, 1, 0.1).arguments["recipe"]).read_text())
    shipped = yaml.safe_load(RECIPE.read_text())
    assert recipe["stages"][0]["num_steps"] == round(0.1 * shipped["stages"][0]["num_steps"])


def test_at_each_length_all_checkpoints_and_solvers_have_the_same_settings(tmp_path):
    units = [*units_of(BASE), *units_of(CEILING), *units_of(TRAINED)]
    jobs = [evaluation_job(tmp_path, unit, seed=5).arguments for unit in units]
    assert len(units) == 13
    assert len({job["log_dir"] for job in jobs}) == 13
    assert {(job["top_p"], job["seed"]) for job in jobs} == {(0.95, 5)}
    by_length = {(job["input_over_window"], job["temperature"]) for job in jobs}
    assert by_length == {(1, 1.0), (4, 0.0), (16, 0.0)}
    at_1x = {
        (job["solver"], job["epochs"], job["limit"]) for job in jobs if "1x" in job["task"][-3:]
    }
    assert {one for one in at_1x if one[2] > 120} == {
        ("longspan/full_context", 2, 800),
        ("longspan/memory_agent", 1, 400),
    }
    agent = [job["solver_args"] for job in jobs if job["solver"] == "longspan/memory_agent"]
    assert len(agent) == 6 and all(args["chunk_tokens"] == 64 for args in agent)
    assert all(not job["solver_args"] for job in jobs if job["solver"] == "longspan/full_context")
