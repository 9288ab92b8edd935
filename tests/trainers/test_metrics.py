"""Step metrics: means over scored rollouts, failures counted, a file that can be cut back."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from longspan.harness.rollout import Rollout, Turn
from longspan.trainers.aepo import AepoDecision
from longspan.trainers.metrics import MetricsFile, aepo_metrics, alarm, rollout_metrics
from longspan.trainers.progress import step_line


def rollout(kind: str | None, reward: float | None, validity: str, tokens: int = 4) -> Rollout:
    turn = Turn((1,), (2,), (-1.0,), "stop")
    return Rollout("k", kind, "g", "s", 1, (turn,), reward, validity, 0, 0.0, 10, tokens)


ROLLOUTS = [
    rollout("multi_hop", 1.0, "answered"),
    rollout("multi_hop", 0.0, "cut_off", tokens=8),
    rollout("dialogue_memory", 0.5, "answered"),
    rollout("multi_hop", None, "judge_failed", tokens=99),
]


def test_failures_enter_no_mean_by_hand() -> None:
    found = rollout_metrics(ROLLOUTS)
    assert found["reward_mean"] == pytest.approx(1.5 / 3)
    assert found["reward_by_type"] == {"dialogue_memory": 0.5, "multi_hop": 0.5}
    assert found["response_tokens"] == pytest.approx(16 / 3)
    assert (found["num_rollouts"], found["num_invalid"]) == (4, 1)
    assert found["invalid_by_kind"] == {"judge_failed": 1}
    assert found["cut_off_share"] == 0.25
    assert found["sampled_tokens"] == 4 + 8 + 4 + 99


def test_alarm_rings_above_a_tenth_without_score() -> None:
    line = alarm(rollout_metrics(ROLLOUTS))
    assert line is not None
    assert line.startswith("25% of rollouts have no score (judge_failed 1)")
    assert alarm(rollout_metrics(ROLLOUTS[:3])) is None


def test_the_first_error_of_each_kind_is_kept_and_said() -> None:
    errors = ["the judge\nwas silent", "it spoke \x1b[2J"]
    failed = [replace(ROLLOUTS[3], error=error) for error in errors]
    other = replace(failed[0], validity="scorer_failed", error="x" * 1000)
    found = rollout_metrics([*ROLLOUTS[:3], *failed, other])
    assert found["first_error_by_kind"]["judge_failed"] == "the judge was silent"
    assert len(found["first_error_by_kind"]["scorer_failed"]) == 200
    assert (alarm(found) or "").endswith("; the first says: the judge was silent")
    said = rollout_metrics(failed[1:])["first_error_by_kind"]["judge_failed"]
    assert said.isprintable()


def test_alarm_rings_when_no_rollout_takes_part_though_all_have_scores() -> None:
    line = alarm({**rollout_metrics(ROLLOUTS[:3]), "num_trained": 0})
    assert line is not None
    assert line.startswith("no rollout takes part, so the step is skipped")


def test_no_scored_rollout_has_no_mean_and_is_written_as_null(tmp_path: Path) -> None:
    found = rollout_metrics([ROLLOUTS[3]])
    assert math.isnan(found["reward_mean"])
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append({"step": 1, **found, "nested": {"x": math.inf}})
    assert json.loads(file.path.read_text()) == file.rows()[0]
    assert file.rows()[0]["reward_mean"] is None
    assert file.rows()[0]["nested"] == {"x": None}


def test_file_is_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    assert file.size == 0
    file.append({"step": 1})
    kept = file.size
    file.append({"step": 2})
    file.truncate(kept)
    file.append({"step": 2, "again": True})
    assert file.rows() == [{"step": 1}, {"step": 2, "again": True}]


def test_aepo_decision_is_logged() -> None:
    found = aepo_metrics(AepoDecision(True, "above", 0.4, 0.1, 0.3, 2))
    assert found["aepo_masking"] is True
    assert (found["aepo_reason"], found["aepo_masked_steps"]) == ("above", 2)
    assert aepo_metrics(None) == {"aepo_masking": False}


def test_line_of_a_step_shows_what_one_looks_at() -> None:
    row = {
        **rollout_metrics(ROLLOUTS),
        "entropy": 0.25,
        "gradient_norm": 1.5,
        "num_live_groups": 3,
        "num_groups": 4,
        "aepo_masking": True,
        "rollout_seconds": 1.0,
        "train_seconds": 0.5,
    }
    line = step_line(row)
    assert line == (
        "reward 0.500  entropy 0.250  tokens 5.3  live 3/4  grad 1.50  1.5s  masking  invalid 1"
    )
