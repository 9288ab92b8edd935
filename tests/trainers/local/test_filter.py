"""Filter stages: what is kept and why, and a measurement that was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longspan.harness.environment import Environment
from longspan.harness.errors import DataError, RecipeError
from longspan.trainers.local.filter import filter_stage, select
from longspan.trainers.local.stage import StageRun
from longspan.trainers.stages import FilterStage
from tests.trainers.tiny import save_tiny

RATES = {"a": 0.0, "b": 0.1, "c": 0.5, "d": 0.9, "e": 1.0}


def stage(**changes: object) -> FilterStage:
    sampling = {"batch_size": 3, "group_size": 4, "temperature": 1.0, "max_output_tokens": 6}
    content = {"kind": "filter", "name": "some", "sampling": sampling, "lowest": 0.01}
    return FilterStage.model_validate({**content, "tasks": [{"task": "toy/words"}], **changes})


def run(folder: Path, **changes: object) -> StageRun[FilterStage]:
    start = folder.parent / "start"
    if not start.exists():
        save_tiny(start)
    one = stage(**changes)
    return StageRun(one, folder, str(start), sources=one.tasks, quiet=True)


def test_bounds_are_inclusive() -> None:
    assert select(stage(lowest=0.1, highest=0.9), RATES, seed=0) == ["b", "c", "d"]


def test_so_many_are_drawn_evenly_from_the_bins() -> None:
    drawn = select(stage(lowest=0, num_samples=2, num_bins=2), RATES, seed=0)
    assert len(drawn) == 2
    assert sorted(RATES[key] >= 0.5 for key in drawn) == [False, True]


def test_difficulty_is_the_mean_reward_of_the_rollouts(tmp_path: Path) -> None:
    kept = filter_stage(run(tmp_path / "a"))
    rows = [json.loads(line) for line in (tmp_path / "a" / "difficulties.jsonl").open()]
    rates = {row["sample"]: row["mean_reward"] for row in rows[1:]}
    assert len(rates) == 8 and rows[0] == {"versions": {"toy_words": "1"}}
    assert kept == {key for key, rate in rates.items() if rate >= 0.01}
    assert any(0 < rate < 1 for rate in rates.values())
    report = json.loads((tmp_path / "a" / "kept.json").read_text())
    assert report["num_measured"] == sum(report["histogram"]) == 8
    assert report["num_too_hard"] == 8 - len(kept)


def test_an_interrupted_measurement_goes_on_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filter_stage(run(tmp_path / "whole"))
    plain, calls = Environment.rollouts, []

    def stop_at_three(self: Environment, *args: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Environment, "rollouts", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        filter_stage(run(tmp_path / "killed"))
    monkeypatch.undo()
    path = tmp_path / "killed" / "difficulties.jsonl"
    with path.open("a") as file:
        file.write('{"sample": "half a li')
    assert filter_stage(run(tmp_path / "killed")) == whole
    for name in ("difficulties.jsonl", "kept.json"):
        same = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "killed" / name).read_bytes() == same


def test_nothing_kept_says_how_hard_the_samples_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"keeps none of 8 samples: mean rewards \[.*widen"):
        filter_stage(run(tmp_path / "a", lowest=1.0))


def test_tasks_that_changed_and_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    path = folder / "difficulties.jsonl"
    path.write_text('{"versions": {"toy_words": "0"}}\n')
    with pytest.raises(RecipeError, match="the tasks have changed"):
        filter_stage(run(folder))
    path.write_text('{"what": 1}\n')
    with pytest.raises(DataError, match="damaged: .*difficulties.jsonl"):
        filter_stage(run(folder))
